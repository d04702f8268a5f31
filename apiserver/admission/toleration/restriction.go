package toleration

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"slices"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/equality"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apiserver/pkg/admission"
	"sigs.k8s.io/yaml"

	"coracle.dev/coracle/apiserver/admission/namespace"
)

const (
	// RestrictionName is the name of PodTolerationRestriction in flags.
	RestrictionName = "PodTolerationRestriction"

	defaultsAnnotation = "scheduler.alpha.kubernetes.io/defaultTolerations"
	allowedAnnotation  = "scheduler.alpha.kubernetes.io/tolerationsWhitelist"

	configGroup = "podtolerationrestriction.admission.k8s.io/v1alpha1"
)

// restrictionConfig is what counts in namespaces that say nothing.
type restrictionConfig struct {
	APIVersion string              `json:"apiVersion"`
	Kind       string              `json:"kind"`
	Default    []corev1.Toleration `json:"default,omitempty"`
	Whitelist  []corev1.Toleration `json:"whitelist,omitempty"`
}

// restriction is the plugin PodTolerationRestriction: pods get the tolerations that their namespace gives
// by an annotation, and may have no others than those that it allows by another.
type restriction struct {
	*namespace.Source
	config restrictionConfig
}

var (
	_ admission.MutationInterface   = &restriction{}
	_ admission.ValidationInterface = &restriction{}
)

func newRestriction(c restrictionConfig) *restriction {
	return &restriction{Source: namespace.NewSource(admission.Create, admission.Update), config: c}
}

func registerRestriction(plugins *admission.Plugins) {
	plugins.Register(RestrictionName, func(r io.Reader) (admission.Interface, error) {
		c, err := readRestriction(r)
		return newRestriction(c), err
	})
}

func readRestriction(r io.Reader) (c restrictionConfig, _ error) {
	if r == nil {
		return c, nil
	}
	data, err := io.ReadAll(r)
	if err != nil {
		return c, fmt.Errorf("reading configuration: %w", err)
	}
	if err := yaml.UnmarshalStrict(data, &c); err != nil {
		return c, fmt.Errorf("reading configuration: %w", err)
	}
	if c.APIVersion != configGroup || c.Kind != "Configuration" {
		return c, fmt.Errorf("reading configuration: %s %s is unknown: use %s Configuration", c.APIVersion, c.Kind, configGroup)
	}
	return c, nil
}

// Admit implements admission.MutationInterface.
func (p *restriction) Admit(ctx context.Context, a admission.Attributes, o admission.ObjectInterfaces) error {
	pod, ok := podOf(a)
	if !ok || unchanged(a, pod) {
		return nil
	}
	var more []corev1.Toleration
	if a.GetOperation() == admission.Create {
		defaults, set, err := p.annotated(ctx, a, defaultsAnnotation)
		if err != nil {
			return err
		}
		if !set {
			defaults = p.config.Default
		}
		more = slices.Clone(defaults)
	}
	if !bestEffort(pod) {
		more = append(more, corev1.Toleration{Key: corev1.TaintNodeMemoryPressure, Operator: corev1.TolerationOpExists, Effect: corev1.TaintEffectNoSchedule})
	}
	if len(more) > 0 {
		pod.Spec.Tolerations = merge(slices.Concat(pod.Spec.Tolerations, more))
	}
	return p.Validate(ctx, a, o)
}

// Validate implements admission.ValidationInterface.
func (p *restriction) Validate(ctx context.Context, a admission.Attributes, _ admission.ObjectInterfaces) error {
	pod, ok := podOf(a)
	if !ok || unchanged(a, pod) || len(pod.Spec.Tolerations) == 0 {
		return nil
	}
	scope := "namespace"
	allowed, set, err := p.annotated(ctx, a, allowedAnnotation)
	if err != nil {
		return err
	}
	if !set {
		allowed, scope = p.config.Whitelist, "cluster"
	}
	if len(allowed) == 0 {
		return nil
	}
	for _, t := range pod.Spec.Tolerations {
		if !slices.ContainsFunc(allowed, func(o corev1.Toleration) bool { return covers(o, t) }) {
			return admission.NewForbidden(a, fmt.Errorf("pod tolerations (possibly merged with namespace default tolerations) conflict with its %s whitelist", scope))
		}
	}
	return nil
}

// unchanged: an update that leaves the tolerations alone is none of the plugin's business.
func unchanged(a admission.Attributes, pod *corev1.Pod) bool {
	old, ok := a.GetOldObject().(*corev1.Pod)
	return ok && equality.Semantic.DeepEqual(old.Spec.Tolerations, pod.Spec.Tolerations)
}

// annotated reads tolerations of the namespace; an annotation that is there but empty allows or gives
// none in particular.
func (p *restriction) annotated(ctx context.Context, a admission.Attributes, key string) (_ []corev1.Toleration, set bool, _ error) {
	ns, err := p.Get(ctx, a.GetNamespace())
	if err != nil {
		if apierrors.IsNotFound(err) {
			return nil, false, err
		}
		return nil, false, admission.NewForbidden(a, err)
	}
	text, ok := ns.Annotations[key]
	if !ok {
		return nil, false, nil
	}
	var tolerations []corev1.Toleration
	if text == "" {
		return nil, true, nil
	}
	if err := json.Unmarshal([]byte(text), &tolerations); err != nil {
		return nil, true, admission.NewForbidden(a, errors.Join(fmt.Errorf("reading annotation %s of namespace %s", key, ns.Name), err))
	}
	return tolerations, true, nil
}

// merge leaves out those tolerations that others cover; of equals the first stays.
func merge(all []corev1.Toleration) []corev1.Toleration {
	var out []corev1.Toleration
	for i, t := range all {
		redundant := false
		for j, o := range all {
			if i != j && covers(o, t) && (j < i || !covers(t, o)) {
				redundant = true
				break
			}
		}
		if !redundant {
			out = append(out, t)
		}
	}
	return out
}

// covers reports whether every taint that t tolerates, all tolerates too, for as long.
func covers(all, t corev1.Toleration) bool {
	if equality.Semantic.DeepEqual(all, t) {
		return true
	}
	if t.Key != all.Key && !(all.Key == "" && all.Operator == corev1.TolerationOpExists) {
		return false
	}
	if t.Effect != all.Effect && all.Effect != "" {
		return false
	}
	if all.Effect == corev1.TaintEffectNoExecute && all.TolerationSeconds != nil &&
		(t.TolerationSeconds == nil || *t.TolerationSeconds > *all.TolerationSeconds) {
		return false
	}
	switch all.Operator {
	case corev1.TolerationOpExists:
		return true
	case corev1.TolerationOpEqual, "":
		return t.Operator != corev1.TolerationOpExists && t.Value == all.Value
	}
	return false
}

// bestEffort: no container asks for cpu or memory.
func bestEffort(pod *corev1.Pod) bool {
	for _, c := range slices.Concat(pod.Spec.InitContainers, pod.Spec.Containers) {
		for _, list := range []corev1.ResourceList{c.Resources.Requests, c.Resources.Limits} {
			if !list.Cpu().IsZero() || !list.Memory().IsZero() {
				return false
			}
		}
	}
	return true
}
