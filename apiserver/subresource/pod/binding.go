package pod

import (
	"context"
	"fmt"
	"maps"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/apimachinery/pkg/util/validation/field"
	genericregistry "k8s.io/apiserver/pkg/registry/generic/registry"
	"k8s.io/apiserver/pkg/registry/rest"
	"k8s.io/apiserver/pkg/storage"
	storeerr "k8s.io/apiserver/pkg/storage/errors"
	"k8s.io/apiserver/pkg/util/dryrun"
)

var (
	podResource     = corev1.Resource("pods")
	bindingResource = corev1.Resource("pods/binding")
)

// Binding serves pods/binding: it puts a pod on a node, once.
type Binding struct{ store *genericregistry.Store }

// LegacyBinding serves the older bindings resource, which does the same.
type LegacyBinding struct{ binding *Binding }

var (
	_ rest.NamedCreater                   = &Binding{}
	_ rest.SubresourceObjectMetaPreserver = &Binding{}
	_ rest.Creater                        = &LegacyBinding{}
	_ rest.Scoper                         = &LegacyBinding{}
	_ rest.SingularNameProvider           = &LegacyBinding{}
)

// NewBinding makes the storage of pods/binding over the store of pods.
func NewBinding(store *genericregistry.Store) *Binding { return &Binding{store: store} }

// Legacy returns the storage of bindings.
func (b *Binding) Legacy() *LegacyBinding { return &LegacyBinding{binding: b} }

// New implements rest.Storage.
func (b *Binding) New() runtime.Object { return &corev1.Binding{} }

// Destroy implements rest.Storage.
func (b *Binding) Destroy() {}

// NamespaceScoped implements rest.Scoper.
func (b *Binding) NamespaceScoped() bool { return true }

// PreserveRequestObjectMetaSystemFieldsOnSubresourceCreate keeps the UID and resourceVersion of the
// binding, which are preconditions on the pod.
func (b *Binding) PreserveRequestObjectMetaSystemFieldsOnSubresourceCreate() bool { return true }

// Create implements rest.NamedCreater.
func (b *Binding) Create(ctx context.Context, name string, obj runtime.Object, validate rest.ValidateObjectFunc, options *metav1.CreateOptions) (runtime.Object, error) {
	binding, ok := obj.(*corev1.Binding)
	if !ok {
		return nil, apierrors.NewBadRequest(fmt.Sprintf("not a Binding object: %#v", obj))
	}
	if name != binding.Name {
		return nil, apierrors.NewBadRequest("name in URL does not match name in Binding object")
	}
	if errs := validateBinding(binding); len(errs) > 0 {
		return nil, apierrors.NewInvalid(corev1.SchemeGroupVersion.WithKind("Binding").GroupKind(), name, errs)
	}
	if validate != nil {
		if err := validate(ctx, binding.DeepCopyObject()); err != nil {
			return nil, err
		}
	}
	key, err := b.store.KeyFunc(ctx, name)
	if err != nil {
		return nil, err
	}
	err = b.store.Storage.GuaranteedUpdate(ctx, key, &corev1.Pod{}, false, bindingPreconditions(binding),
		storage.SimpleUpdate(func(obj runtime.Object) (runtime.Object, error) {
			return bind(obj.(*corev1.Pod), binding, metav1.Now())
		}), dryrun.IsDryRun(options.DryRun), nil)
	if err != nil {
		err = interpret(err, name)
		if _, ok := err.(apierrors.APIStatus); !ok {
			err = apierrors.NewConflict(bindingResource, name, err)
		}
		return nil, err
	}
	return &metav1.Status{Status: metav1.StatusSuccess}, nil
}

// interpret makes an error of the storage one of the API.
func interpret(err error, pod string) error {
	return storeerr.InterpretUpdateError(storeerr.InterpretGetError(err, podResource, pod), podResource, pod)
}

func validateBinding(b *corev1.Binding) field.ErrorList {
	var errs field.ErrorList
	target := field.NewPath("target")
	if b.Target.Kind != "" && b.Target.Kind != "Node" {
		errs = append(errs, field.NotSupported(target.Child("kind"), b.Target.Kind, []string{"Node", "<empty>"}))
	}
	if b.Target.Name == "" {
		errs = append(errs, field.Required(target.Child("name"), ""))
	}
	return errs
}

func bindingPreconditions(b *corev1.Binding) *storage.Preconditions {
	p := &storage.Preconditions{}
	if b.UID != "" {
		p.UID = (*types.UID)(&b.UID)
	}
	if b.ResourceVersion != "" {
		p.ResourceVersion = &b.ResourceVersion
	}
	return p
}

// bind puts the pod on the binding's node and gives it the binding's labels and annotations.
func bind(pod *corev1.Pod, b *corev1.Binding, now metav1.Time) (*corev1.Pod, error) {
	if pod.DeletionTimestamp != nil {
		return nil, fmt.Errorf("pod %s is being deleted, cannot be assigned to a host", pod.Name)
	}
	if pod.Spec.NodeName != "" {
		return nil, fmt.Errorf("pod %v is already assigned to node %q", pod.Name, pod.Spec.NodeName)
	}
	if len(pod.Spec.SchedulingGates) != 0 {
		return nil, fmt.Errorf("pod %v has non-empty .spec.schedulingGates", pod.Name)
	}
	pod.Spec.NodeName = b.Target.Name
	if pod.Annotations == nil && len(b.Annotations) > 0 {
		pod.Annotations = map[string]string{}
	}
	maps.Copy(pod.Annotations, b.Annotations)
	if pod.Labels == nil && len(b.Labels) > 0 {
		pod.Labels = map[string]string{}
	}
	maps.Copy(pod.Labels, b.Labels)
	setCondition(&pod.Status, corev1.PodCondition{Type: corev1.PodScheduled, Status: corev1.ConditionTrue}, now)
	return pod, nil
}

// setCondition sets or adds a condition; its transition time moves only with its status.
func setCondition(status *corev1.PodStatus, c corev1.PodCondition, now metav1.Time) {
	c.LastTransitionTime = now
	for i := range status.Conditions {
		old := &status.Conditions[i]
		if old.Type != c.Type {
			continue
		}
		if old.Status == c.Status {
			c.LastTransitionTime = old.LastTransitionTime
		}
		*old = c
		return
	}
	status.Conditions = append(status.Conditions, c)
}

// New implements rest.Storage.
func (l *LegacyBinding) New() runtime.Object { return l.binding.New() }

// Destroy implements rest.Storage.
func (l *LegacyBinding) Destroy() {}

// NamespaceScoped implements rest.Scoper.
func (l *LegacyBinding) NamespaceScoped() bool { return true }

// GetSingularName implements rest.SingularNameProvider.
func (l *LegacyBinding) GetSingularName() string { return "binding" }

// Create implements rest.Creater: the pod is the one that the binding is named after.
func (l *LegacyBinding) Create(ctx context.Context, obj runtime.Object, validate rest.ValidateObjectFunc, options *metav1.CreateOptions) (runtime.Object, error) {
	b, ok := obj.(*corev1.Binding)
	if !ok {
		return nil, apierrors.NewBadRequest(fmt.Sprintf("not a Binding object: %#v", obj))
	}
	return l.binding.Create(ctx, b.Name, obj, validate, options)
}
