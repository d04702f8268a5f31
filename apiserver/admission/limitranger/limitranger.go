// Package limitranger is the admission plugin LimitRanger: pods get the default requests and limits of
// their namespace's limit ranges, and pods and claims outside of the ranges are refused, with every fault
// named at once.
package limitranger

import (
	"context"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/resource"
	"k8s.io/apimachinery/pkg/labels"
	utilerrors "k8s.io/apimachinery/pkg/util/errors"
	"k8s.io/apiserver/pkg/admission"
	"k8s.io/apiserver/pkg/admission/initializer"
	"k8s.io/client-go/informers"
	corelisters "k8s.io/client-go/listers/core/v1"
)

const (
	// Name is the plugin's name in flags.
	Name = "LimitRanger"

	annotation = "kubernetes.io/limit-ranger"
)

// Register makes the plugin known.
func Register(plugins *admission.Plugins) {
	plugins.Register(Name, func(io.Reader) (admission.Interface, error) { return New(), nil })
}

// Plugin implements limit ranges.
type Plugin struct {
	*admission.Handler
	ranges corelisters.LimitRangeLister
}

var (
	_ admission.MutationInterface                  = &Plugin{}
	_ admission.ValidationInterface                = &Plugin{}
	_ initializer.WantsExternalKubeInformerFactory = &Plugin{}
)

// New returns a plugin that needs its informers set.
func New() *Plugin {
	return &Plugin{Handler: admission.NewHandler(admission.Create, admission.Update)}
}

// SetExternalKubeInformerFactory implements initializer.WantsExternalKubeInformerFactory.
func (p *Plugin) SetExternalKubeInformerFactory(f informers.SharedInformerFactory) {
	i := f.Core().V1().LimitRanges()
	p.ranges = i.Lister()
	p.SetReadyFunc(i.Informer().HasSynced)
}

// ValidateInitialization implements admission.InitializationValidator.
func (p *Plugin) ValidateInitialization() error {
	if p.ranges == nil {
		return errors.New("missing lister of limit ranges")
	}
	return nil
}

// Admit implements admission.MutationInterface.
func (p *Plugin) Admit(_ context.Context, a admission.Attributes, _ admission.ObjectInterfaces) error {
	pod, ok := a.GetObject().(*corev1.Pod)
	if !ok || a.GetOperation() != admission.Create || a.GetSubresource() != "" || a.GetResource().GroupResource() != corev1.Resource("pods") {
		return nil
	}
	items, err := p.of(a)
	if err != nil {
		return err
	}
	for _, lr := range items {
		applyDefaults(pod, lr)
	}
	return nil
}

// Validate implements admission.ValidationInterface.
func (p *Plugin) Validate(_ context.Context, a admission.Attributes, _ admission.ObjectInterfaces) error {
	var faults func(*corev1.LimitRange) []error
	switch o := a.GetObject().(type) {
	case *corev1.Pod:
		resize := a.GetOperation() == admission.Update && a.GetSubresource() == "resize"
		if a.GetResource().GroupResource() != corev1.Resource("pods") || !resize && (a.GetOperation() != admission.Create || a.GetSubresource() != "") {
			return nil
		}
		faults = func(lr *corev1.LimitRange) []error { return podFaults(o, lr) }
	case *corev1.PersistentVolumeClaim:
		if a.GetSubresource() != "" {
			return nil
		}
		faults = func(lr *corev1.LimitRange) []error { return claimFaults(o, lr) }
	default:
		return nil
	}
	items, err := p.of(a)
	if err != nil {
		return err
	}
	for _, lr := range items {
		if errs := faults(lr); len(errs) > 0 {
			return admission.NewForbidden(a, utilerrors.NewAggregate(errs))
		}
	}
	return nil
}

func (p *Plugin) of(a admission.Attributes) ([]*corev1.LimitRange, error) {
	if !p.WaitForReady() {
		return nil, admission.NewForbidden(a, errors.New("not yet ready to handle request"))
	}
	items, err := p.ranges.LimitRanges(a.GetNamespace()).List(labels.Everything())
	if err != nil {
		return nil, admission.NewForbidden(a, fmt.Errorf("unable to %s %v at this time because there was an error enforcing limit ranges", a.GetOperation(), a.GetResource()))
	}
	slices.SortFunc(items, func(x, y *corev1.LimitRange) int { return strings.Compare(x.Name, y.Name) })
	return items, nil
}

// applyDefaults fills in what containers leave open, and notes in the pod what it set.
func applyDefaults(pod *corev1.Pod, lr *corev1.LimitRange) {
	requests, limits := corev1.ResourceList{}, corev1.ResourceList{}
	for _, item := range lr.Spec.Limits {
		if item.Type != corev1.LimitTypeContainer {
			continue
		}
		for k, v := range item.DefaultRequest {
			requests[k] = v
		}
		for k, v := range item.Default {
			limits[k] = v
		}
	}
	var notes []string
	apply := func(kind string, containers []corev1.Container) {
		for i := range containers {
			c := &containers[i]
			if set := fill(&c.Resources.Requests, requests); len(set) > 0 {
				notes = append(notes, fmt.Sprintf("%s request for %s %s", strings.Join(set, ", "), kind, c.Name))
			}
			if set := fill(&c.Resources.Limits, limits); len(set) > 0 {
				notes = append(notes, fmt.Sprintf("%s limit for %s %s", strings.Join(set, ", "), kind, c.Name))
			}
		}
	}
	apply("container", pod.Spec.Containers)
	apply("init container", pod.Spec.InitContainers)
	if len(notes) == 0 {
		return
	}
	if pod.Annotations == nil {
		pod.Annotations = map[string]string{}
	}
	pod.Annotations[annotation] = "LimitRanger plugin set: " + strings.Join(notes, "; ")
}

func fill(list *corev1.ResourceList, defaults corev1.ResourceList) []string {
	var set []string
	for name, q := range defaults {
		if _, ok := (*list)[name]; ok {
			continue
		}
		if *list == nil {
			*list = corev1.ResourceList{}
		}
		(*list)[name] = q.DeepCopy()
		set = append(set, string(name))
	}
	slices.Sort(set)
	return set
}

func claimFaults(claim *corev1.PersistentVolumeClaim, lr *corev1.LimitRange) []error {
	var errs []error
	for _, item := range lr.Spec.Limits {
		if item.Type != corev1.LimitTypePersistentVolumeClaim {
			continue
		}
		// A claim has no limits; its request is checked against both ends.
		r := claim.Spec.Resources.Requests
		for _, name := range names(item.Min) {
			errs = append(errs, atLeast(string(item.Type), name, item.Min[name], r, nil))
		}
		for _, name := range names(item.Max) {
			limit := item.Max[name]
			if q, ok := r[name]; ok && q.Cmp(limit) > 0 {
				errs = append(errs, fmt.Errorf("maximum %s usage per %s is %s, but request is %s", name, item.Type, limit.String(), q.String()))
			}
		}
	}
	return compact(errs)
}

func podFaults(pod *corev1.Pod, lr *corev1.LimitRange) []error {
	var errs []error
	for _, item := range lr.Spec.Limits {
		switch item.Type {
		case corev1.LimitTypeContainer:
			for _, c := range slices.Concat(pod.Spec.Containers, pod.Spec.InitContainers) {
				errs = append(errs, itemFaults(&item, c.Resources.Requests, c.Resources.Limits)...)
			}
		case corev1.LimitTypePod:
			errs = append(errs, itemFaults(&item,
				total(pod, func(c *corev1.Container) corev1.ResourceList { return c.Resources.Requests }),
				total(pod, func(c *corev1.Container) corev1.ResourceList { return c.Resources.Limits }))...)
		}
	}
	return compact(errs)
}

// itemFaults checks requests and limits against one item of a range.
func itemFaults(item *corev1.LimitRangeItem, requests, limits corev1.ResourceList) []error {
	var errs []error
	kind := string(item.Type)
	for _, name := range names(item.Min) {
		errs = append(errs, atLeast(kind, name, item.Min[name], requests, limits))
	}
	for _, name := range names(item.Max) {
		errs = append(errs, atMost(kind, name, item.Max[name], requests, limits))
	}
	for _, name := range names(item.MaxLimitRequestRatio) {
		errs = append(errs, ratio(kind, name, item.MaxLimitRequestRatio[name], requests, limits))
	}
	return errs
}

func atLeast(kind string, name corev1.ResourceName, least resource.Quantity, requests, limits corev1.ResourceList) error {
	q, ok := requests[name]
	if !ok {
		return fmt.Errorf("minimum %s usage per %s is %s.  No request is specified", name, kind, least.String())
	}
	if q.Cmp(least) < 0 {
		return fmt.Errorf("minimum %s usage per %s is %s, but request is %s", name, kind, least.String(), q.String())
	}
	if l, ok := limits[name]; ok && l.Cmp(least) < 0 {
		return fmt.Errorf("minimum %s usage per %s is %s, but limit is %s", name, kind, least.String(), l.String())
	}
	return nil
}

func atMost(kind string, name corev1.ResourceName, most resource.Quantity, requests, limits corev1.ResourceList) error {
	l, ok := limits[name]
	if !ok {
		return fmt.Errorf("maximum %s usage per %s is %s.  No limit is specified", name, kind, most.String())
	}
	if l.Cmp(most) > 0 {
		return fmt.Errorf("maximum %s usage per %s is %s, but limit is %s", name, kind, most.String(), l.String())
	}
	if q, ok := requests[name]; ok && q.Cmp(most) > 0 {
		return fmt.Errorf("maximum %s usage per %s is %s, but request is %s", name, kind, most.String(), q.String())
	}
	return nil
}

func ratio(kind string, name corev1.ResourceName, most resource.Quantity, requests, limits corev1.ResourceList) error {
	q, l := requests[name], limits[name]
	if q.IsZero() {
		return fmt.Errorf("%s max limit to request ratio per %s is %s, but no request is specified or request is 0", name, kind, most.String())
	}
	if l.IsZero() {
		return fmt.Errorf("%s max limit to request ratio per %s is %s, but no limit is specified or limit is 0", name, kind, most.String())
	}
	if got := l.AsApproximateFloat64() / q.AsApproximateFloat64(); got > most.AsApproximateFloat64() {
		return fmt.Errorf("%s max limit to request ratio per %s is %s, but provided ratio is %f", name, kind, most.String(), got)
	}
	return nil
}

// total is what the pod uses at most: the sum of its containers, or of an init container that needs more
// while it runs alone. Containers that leave a resource open do not count for it.
func total(pod *corev1.Pod, of func(*corev1.Container) corev1.ResourceList) corev1.ResourceList {
	sum := corev1.ResourceList{}
	add := func(list corev1.ResourceList) {
		for name, q := range list {
			have := sum[name]
			have.Add(q)
			sum[name] = have
		}
	}
	for i := range pod.Spec.Containers {
		add(of(&pod.Spec.Containers[i]))
	}
	sidecar := func(c *corev1.Container) bool {
		return c.RestartPolicy != nil && *c.RestartPolicy == corev1.ContainerRestartPolicyAlways
	}
	for i := range pod.Spec.InitContainers {
		if c := &pod.Spec.InitContainers[i]; sidecar(c) {
			add(of(c))
		}
	}
	for i := range pod.Spec.InitContainers {
		c := &pod.Spec.InitContainers[i]
		if sidecar(c) {
			continue
		}
		for name, q := range of(c) {
			if have, ok := sum[name]; !ok || have.Cmp(q) < 0 {
				sum[name] = q
			}
		}
	}
	return sum
}

func names(list corev1.ResourceList) []corev1.ResourceName {
	out := make([]corev1.ResourceName, 0, len(list))
	for name := range list {
		out = append(out, name)
	}
	slices.Sort(out)
	return out
}

func compact(errs []error) []error {
	return slices.DeleteFunc(errs, func(err error) bool { return err == nil })
}
