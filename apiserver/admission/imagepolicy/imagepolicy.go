// Package imagepolicy is the admission plugin ImagePolicyWebhook: another server decides which images pods
// may run.
//
// It is asked by an ImageReview about the images of containers when a pod is made or changed, and gets the
// pod's annotations whose key is under image-policy.k8s.io. Answers are remembered. When it does not
// answer, pods are refused, or admitted if the configuration says so; an audit annotation tells which.
//
//	imagePolicy: {kubeConfigFile: /path, allowTTL: 50, denyTTL: 50, retryBackoff: 500, defaultAllow: true}
package imagepolicy

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"
	"time"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/api/imagepolicy/v1alpha1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/runtime/serializer"
	"k8s.io/apimachinery/pkg/util/cache"
	"k8s.io/apiserver/pkg/admission"
	"k8s.io/apiserver/pkg/util/webhook"
	"k8s.io/client-go/rest"
	"k8s.io/klog/v2"
)

const (
	// Name is the plugin's name in flags.
	Name = "ImagePolicyWebhook"

	annotationGroup = ".image-policy.k8s.io/"
	auditPrefix     = "imagepolicywebhook.image-policy.k8s.io/"
	failedOpen      = auditPrefix + "failed-open"

	remembered = 1024
)

// Register makes the plugin known.
func Register(plugins *admission.Plugins) {
	plugins.Register(Name, func(r io.Reader) (admission.Interface, error) {
		s, err := read(r)
		if err != nil {
			return nil, err
		}
		return newPlugin(s)
	})
}

// plugin implements the policy.
type plugin struct {
	*admission.Handler
	settings
	webhook *webhook.GenericWebhook
	answers *cache.LRUExpireCache
}

var _ admission.ValidationInterface = &plugin{}

func newPlugin(s settings) (*plugin, error) {
	config, err := webhook.LoadKubeconfig(s.kubeconfig, nil)
	if err != nil {
		return nil, fmt.Errorf("reading imagePolicy.kubeConfigFile: %w", err)
	}
	scheme := runtime.NewScheme()
	if err := v1alpha1.AddToScheme(scheme); err != nil {
		return nil, err
	}
	w, err := webhook.NewGenericWebhook(scheme, serializer.NewCodecFactory(scheme), config,
		[]schema.GroupVersion{v1alpha1.SchemeGroupVersion}, webhook.DefaultRetryBackoffWithInitialDelay(s.backoff))
	if err != nil {
		return nil, fmt.Errorf("setting up the webhook of image policies: %w", err)
	}
	return &plugin{
		Handler:  admission.NewHandler(admission.Create, admission.Update),
		settings: s, webhook: w, answers: cache.NewLRUExpireCache(remembered),
	}, nil
}

// Validate implements admission.ValidationInterface.
func (p *plugin) Validate(ctx context.Context, a admission.Attributes, _ admission.ObjectInterfaces) error {
	pod, ok := a.GetObject().(*corev1.Pod)
	if !ok || a.GetResource().GroupResource() != corev1.Resource("pods") {
		return nil
	}
	review := &v1alpha1.ImageReview{Spec: v1alpha1.ImageReviewSpec{Namespace: a.GetNamespace(), Annotations: annotations(pod)}}
	switch a.GetSubresource() {
	case "":
		for _, c := range slices.Concat(pod.Spec.Containers, pod.Spec.InitContainers) {
			review.Spec.Containers = append(review.Spec.Containers, v1alpha1.ImageReviewContainerSpec{Image: c.Image})
		}
	case "ephemeralcontainers":
		for _, c := range pod.Spec.EphemeralContainers {
			review.Spec.Containers = append(review.Spec.Containers, v1alpha1.ImageReviewContainerSpec{Image: c.Image})
		}
	default:
		return nil
	}
	if err := p.review(ctx, a, review); err != nil {
		return admission.NewForbidden(a, err)
	}
	return nil
}

func annotations(pod *corev1.Pod) map[string]string {
	var out map[string]string
	for k, v := range pod.Annotations {
		if strings.Contains(k, annotationGroup) {
			if out == nil {
				out = map[string]string{}
			}
			out[k] = v
		}
	}
	return out
}

// review returns why the images are refused, or nil.
func (p *plugin) review(ctx context.Context, a admission.Attributes, review *v1alpha1.ImageReview) error {
	key, err := json.Marshal(review.Spec)
	if err != nil {
		return err
	}
	if answer, ok := p.answers.Get(string(key)); ok {
		review.Status = answer.(v1alpha1.ImageReviewStatus)
	} else {
		result := p.webhook.WithExponentialBackoff(ctx, func() rest.Result {
			return p.webhook.RestClient.Post().Body(review).Do(ctx)
		})
		if err := result.Error(); err != nil {
			return p.unanswered(ctx, a, err)
		}
		if err := result.Into(review); err != nil {
			return p.unanswered(ctx, a, err)
		}
		p.answers.Add(string(key), review.Status, p.ttl(review.Status))
	}
	for k, v := range review.Status.AuditAnnotations {
		annotate(ctx, a, auditPrefix+k, v)
	}
	switch {
	case review.Status.Allowed:
		return nil
	case review.Status.Reason != "":
		return fmt.Errorf("image policy webhook backend denied one or more images: %s", review.Status.Reason)
	}
	return errors.New("one or more images rejected by webhook backend")
}

func (p *plugin) ttl(s v1alpha1.ImageReviewStatus) time.Duration {
	if s.Allowed {
		return p.allowTTL
	}
	return p.denyTTL
}

func (p *plugin) unanswered(ctx context.Context, a admission.Attributes, err error) error {
	klog.FromContext(ctx).Error(err, "Asking about images", "allow", p.defaultAllow)
	if !p.defaultAllow {
		return fmt.Errorf("asking about images: %w", err)
	}
	annotate(ctx, a, failedOpen, "true")
	return nil
}

func annotate(ctx context.Context, a admission.Attributes, key, value string) {
	if err := a.AddAnnotation(key, value); err != nil {
		klog.FromContext(ctx).Error(err, "Annotating the audit event", "key", key)
	}
}
