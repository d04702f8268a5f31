// Package ownerreference is the admission plugin OwnerReferencesPermissionEnforcement: who changes the
// owners of an object must be allowed to delete it, since that is what the garbage collector may do then;
// and who makes it hold up the deletion of an owner must be allowed to set the owner's finalizers.
package ownerreference

import (
	"context"
	"errors"
	"fmt"
	"io"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/equality"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/apiserver/pkg/admission"
	"k8s.io/apiserver/pkg/admission/initializer"
	"k8s.io/apiserver/pkg/authorization/authorizer"
)

// Name is the plugin's name in flags.
const Name = "OwnerReferencesPermissionEnforcement"

// Register makes the plugin known.
func Register(plugins *admission.Plugins) {
	plugins.Register(Name, func(io.Reader) (admission.Interface, error) { return New(), nil })
}

// Plugin implements the checks.
type Plugin struct {
	*admission.Handler
	authorizer authorizer.UnconditionalAuthorizer
	mapper     meta.RESTMapper
}

var (
	_ admission.ValidationInterface            = &Plugin{}
	_ initializer.WantsUnconditionalAuthorizer = &Plugin{}
	_ initializer.WantsRESTMapper              = &Plugin{}
)

// New returns a plugin that needs its authorizer and mapper set.
func New() *Plugin {
	return &Plugin{Handler: admission.NewHandler(admission.Create, admission.Update)}
}

// SetUnconditionalAuthorizer implements initializer.WantsUnconditionalAuthorizer.
func (p *Plugin) SetUnconditionalAuthorizer(a authorizer.UnconditionalAuthorizer) { p.authorizer = a }

// SetRESTMapper implements initializer.WantsRESTMapper.
func (p *Plugin) SetRESTMapper(m meta.RESTMapper) { p.mapper = m }

// ValidateInitialization implements admission.InitializationValidator.
func (p *Plugin) ValidateInitialization() error {
	if p.authorizer == nil || p.mapper == nil {
		return errors.New("the plugin needs an authorizer and a mapper of kinds")
	}
	return nil
}

// Validate implements admission.ValidationInterface.
func (p *Plugin) Validate(ctx context.Context, a admission.Attributes, _ admission.ObjectInterfaces) error {
	// Node agents report the status of pods that they may not delete.
	if a.GetResource().GroupResource() == corev1.Resource("pods") && a.GetSubresource() == "status" {
		return nil
	}
	now, old := owners(a.GetObject()), owners(a.GetOldObject())
	if equality.Semantic.DeepEqual(now, old) {
		return nil
	}
	// Who makes an object may say whose it is.
	if a.GetOperation() != admission.Create {
		allowed, why := p.may(ctx, authorizer.AttributesRecord{
			User: a.GetUserInfo(), Verb: "delete", Namespace: a.GetNamespace(), Name: a.GetName(), ResourceRequest: true,
			APIGroup: a.GetResource().Group, APIVersion: a.GetResource().Version, Resource: a.GetResource().Resource,
		})
		if !allowed {
			return admission.NewForbidden(a, fmt.Errorf("cannot set an ownerRef on a resource you can't delete: %s", why))
		}
	}
	for _, ref := range newlyBlocking(now, old) {
		if err := p.mayFinalize(ctx, a, ref); err != nil {
			return admission.NewForbidden(a, err)
		}
	}
	return nil
}

func (p *Plugin) may(ctx context.Context, attributes authorizer.AttributesRecord) (bool, string) {
	decision, reason, err := p.authorizer.Authorize(ctx, attributes)
	return decision == authorizer.DecisionAllow, fmt.Sprintf("%v, %v", reason, err)
}

// mayFinalize checks that the user may set finalizers on the owner, whatever resource its kind may be.
func (p *Plugin) mayFinalize(ctx context.Context, a admission.Attributes, ref metav1.OwnerReference) error {
	gv, err := schema.ParseGroupVersion(ref.APIVersion)
	if err != nil {
		return fmt.Errorf("cannot set blockOwnerDeletion: %w", err)
	}
	mappings, err := p.mapper.RESTMappings(schema.GroupKind{Group: gv.Group, Kind: ref.Kind}, gv.Version)
	if err != nil {
		return fmt.Errorf("cannot set blockOwnerDeletion in this case because cannot find RESTMapping for APIVersion %s Kind %s: %w", ref.APIVersion, ref.Kind, err)
	}
	for _, m := range mappings {
		attributes := authorizer.AttributesRecord{
			User: a.GetUserInfo(), Verb: "update", Name: ref.Name, ResourceRequest: true,
			APIGroup: m.Resource.Group, APIVersion: m.Resource.Version, Resource: m.Resource.Resource, Subresource: "finalizers",
		}
		if m.Scope.Name() == meta.RESTScopeNameNamespace {
			attributes.Namespace = a.GetNamespace()
		}
		if allowed, why := p.may(ctx, attributes); !allowed {
			return fmt.Errorf("cannot set blockOwnerDeletion if an ownerReference refers to a resource you can't set finalizers on: %s", why)
		}
	}
	return nil
}

func owners(obj runtime.Object) []metav1.OwnerReference {
	if obj == nil {
		return nil
	}
	m, err := meta.Accessor(obj)
	if err != nil {
		return nil // it can have none
	}
	return m.GetOwnerReferences()
}

// newlyBlocking are the references that hold up their owner's deletion, and did not before.
func newlyBlocking(now, old []metav1.OwnerReference) []metav1.OwnerReference {
	blocking := func(r metav1.OwnerReference) bool { return r.BlockOwnerDeletion != nil && *r.BlockOwnerDeletion }
	had := map[types.UID]bool{}
	for _, r := range old {
		had[r.UID] = had[r.UID] || blocking(r)
	}
	var out []metav1.OwnerReference
	for _, r := range now {
		if blocking(r) && !had[r.UID] {
			out = append(out, r)
		}
	}
	return out
}
