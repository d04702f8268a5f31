// Package podsecurity is the admission plugin PodSecurity: pods, and what makes pods, are held to the Pod
// Security Standards that the labels of their namespace name.
//
// The decisions are k8s.io/pod-security-admission's; this package hands it requests and turns its answers
// into admission's. It is configured by a PodSecurityConfiguration.
package podsecurity

import (
	"context"
	"errors"
	"fmt"
	"io"
	"maps"
	"slices"
	"sync"

	admissionv1 "k8s.io/api/admission/v1"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apiserver/pkg/admission"
	"k8s.io/apiserver/pkg/admission/initializer"
	"k8s.io/apiserver/pkg/audit"
	"k8s.io/apiserver/pkg/warning"
	"k8s.io/client-go/informers"
	"k8s.io/client-go/kubernetes"
	corelisters "k8s.io/client-go/listers/core/v1"
	"k8s.io/component-base/metrics/legacyregistry"
	podsecurity "k8s.io/pod-security-admission/admission"
	"k8s.io/pod-security-admission/admission/api/load"
	"k8s.io/pod-security-admission/api"
	"k8s.io/pod-security-admission/metrics"
	"k8s.io/pod-security-admission/policy"
)

// Name is the plugin's name in flags.
const Name = "PodSecurity"

// auditPrefix is before the keys of annotations in the audit log.
const auditPrefix = "pod-security.kubernetes.io/"

// Register makes the plugin known.
func Register(plugins *admission.Plugins) {
	plugins.Register(Name, func(config io.Reader) (admission.Interface, error) { return New(config) })
}

// Plugin holds pods to their namespace's standard.
type Plugin struct {
	*admission.Handler
	delegate   *podsecurity.Admission
	client     kubernetes.Interface
	namespaces corelisters.NamespaceLister
}

var (
	_ admission.ValidationInterface                = &Plugin{}
	_ initializer.WantsExternalKubeInformerFactory = &Plugin{}
	_ initializer.WantsExternalKubeClientSet       = &Plugin{}
)

// recorder is shared by all servers of the process, as their metrics are.
var recorder = sync.OnceValue(func() *metrics.PrometheusRecorder {
	r := metrics.NewPrometheusRecorder(api.GetAPIVersion())
	r.MustRegister(legacyregistry.MustRegister)
	return r
})

// New returns a plugin that needs its client and informers set. A nil configuration lets everything pass
// in namespaces without labels.
func New(config io.Reader) (*Plugin, error) {
	c, err := load.LoadFromReader(config)
	if err != nil {
		return nil, fmt.Errorf("reading configuration of %s: %w", Name, err)
	}
	evaluator, err := policy.NewEvaluator(policy.DefaultChecks(), nil)
	if err != nil {
		return nil, fmt.Errorf("making checks of %s: %w", Name, err)
	}
	return &Plugin{
		Handler: admission.NewHandler(admission.Create, admission.Update),
		delegate: &podsecurity.Admission{
			Configuration: c, Evaluator: evaluator, Metrics: recorder(), PodSpecExtractor: podsecurity.DefaultPodSpecExtractor{},
		},
	}, nil
}

// SetExternalKubeClientSet implements initializer.WantsExternalKubeClientSet.
func (p *Plugin) SetExternalKubeClientSet(c kubernetes.Interface) { p.client = c }

// SetExternalKubeInformerFactory implements initializer.WantsExternalKubeInformerFactory.
func (p *Plugin) SetExternalKubeInformerFactory(f informers.SharedInformerFactory) {
	i := f.Core().V1().Namespaces()
	p.namespaces = i.Lister()
	p.SetReadyFunc(i.Informer().HasSynced)
}

// ValidateInitialization implements admission.InitializationValidator.
func (p *Plugin) ValidateInitialization() error {
	if p.client == nil || p.namespaces == nil {
		return errors.New("missing client or lister of namespaces")
	}
	p.delegate.NamespaceGetter = podsecurity.NamespaceGetterFromListerAndClient(p.namespaces, p.client)
	p.delegate.PodLister = podsecurity.PodListerFromClient(p.client)
	if err := p.delegate.CompleteConfiguration(); err != nil {
		return fmt.Errorf("completing configuration: %w", err)
	}
	if err := p.delegate.ValidateConfiguration(); err != nil {
		return fmt.Errorf("checking configuration: %w", err)
	}
	return nil
}

// Validate implements admission.ValidationInterface.
func (p *Plugin) Validate(ctx context.Context, a admission.Attributes, _ admission.ObjectInterfaces) error {
	gr := a.GetResource().GroupResource()
	if gr != corev1.Resource("namespaces") && !p.delegate.PodSpecExtractor.HasPodSpec(gr) {
		return nil
	}
	if !p.WaitForReady() {
		return admission.NewForbidden(a, errors.New("not yet ready to handle request"))
	}
	result := p.delegate.Validate(ctx, attributes{a})
	for _, w := range result.Warnings {
		warning.AddWarning(ctx, "", w)
	}
	for _, key := range slices.Sorted(maps.Keys(result.AuditAnnotations)) {
		audit.AddAuditAnnotation(ctx, auditPrefix+key, result.AuditAnnotations[key])
	}
	if result.Allowed {
		return nil
	}
	return refusal(a, result)
}

// refusal is a forbidden error that says what the library says, as far as it says something.
func refusal(a admission.Attributes, r *admissionv1.AdmissionResponse) error {
	out := admission.NewForbidden(a, errors.New("Not allowed by PodSecurity")).(*apierrors.StatusError) //nolint:staticcheck // the wording is Kubernetes'
	if r.Result == nil {
		return out
	}
	if r.Result.Message != "" {
		out.ErrStatus.Message = r.Result.Message
	}
	if r.Result.Reason != "" {
		out.ErrStatus.Reason = r.Result.Reason
	}
	if r.Result.Code != 0 {
		out.ErrStatus.Code = r.Result.Code
	}
	if d := r.Result.Details; d != nil {
		out.ErrStatus.Details = d.DeepCopy()
	}
	return out
}

// attributes is a request as the library wants it. Built-in objects are in their v1 form already.
type attributes struct{ admission.Attributes }

var _ api.Attributes = attributes{}

// GetOperation implements api.Attributes.
func (a attributes) GetOperation() admissionv1.Operation {
	return admissionv1.Operation(a.Attributes.GetOperation())
}

// GetObject implements api.Attributes.
func (a attributes) GetObject() (runtime.Object, error) { return a.Attributes.GetObject(), nil }

// GetOldObject implements api.Attributes.
func (a attributes) GetOldObject() (runtime.Object, error) { return a.Attributes.GetOldObject(), nil }

// GetUserName implements api.Attributes.
func (a attributes) GetUserName() string {
	if u := a.GetUserInfo(); u != nil {
		return u.GetName()
	}
	return ""
}

// GetKind implements api.Attributes.
func (a attributes) GetKind() schema.GroupVersionKind { return a.Attributes.GetKind() }
