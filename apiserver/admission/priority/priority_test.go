package priority

import (
	"strings"
	"testing"

	corev1 "k8s.io/api/core/v1"
	schedulingv1 "k8s.io/api/scheduling/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apiserver/pkg/admission"
	"k8s.io/client-go/informers"
	"k8s.io/client-go/kubernetes/fake"
)

// plugin knows classes by its cache, and late only by the storage.
func plugin(t *testing.T, classes ...*schedulingv1.PriorityClass) *Plugin {
	t.Helper()
	client := fake.NewClientset(&schedulingv1.PriorityClass{ObjectMeta: metav1.ObjectMeta{Name: "late"}, Value: 7})
	f := informers.NewSharedInformerFactory(client, 0)
	p := New()
	p.SetExternalKubeClientSet(client)
	p.SetExternalKubeInformerFactory(f)
	p.SetReadyFunc(func() bool { return true })
	for _, c := range classes {
		if err := f.Scheduling().V1().PriorityClasses().Informer().GetStore().Add(c); err != nil {
			t.Fatal(err)
		}
	}
	return p
}

func class(name string, value int32, standard bool) *schedulingv1.PriorityClass {
	return &schedulingv1.PriorityClass{ObjectMeta: metav1.ObjectMeta{Name: name}, Value: value, GlobalDefault: standard}
}

func TestPriorities(t *testing.T) {
	never := corev1.PreemptNever
	meek := class("meek", 3, false)
	meek.PreemptionPolicy = &never
	of := func(class string, priority ...int32) *corev1.Pod {
		pod := &corev1.Pod{Spec: corev1.PodSpec{PriorityClassName: class}}
		for i := range priority {
			pod.Spec.Priority = &priority[i]
		}
		return pod
	}
	preempting := of("meek")
	lower := corev1.PreemptLowerPriority
	preempting.Spec.PreemptionPolicy = &lower
	for name, c := range map[string]struct {
		pod      *corev1.Pod
		classes  []*schedulingv1.PriorityClass
		class    string
		priority int32
		policy   corev1.PreemptionPolicy
		err      string
	}{
		"none":                   {pod: of(""), policy: lower},
		"the default":            {pod: of(""), classes: []*schedulingv1.PriorityClass{class("high", 9, true), class("low", 5, true)}, class: "low", priority: 5, policy: lower},
		"named":                  {pod: of("meek"), classes: []*schedulingv1.PriorityClass{meek}, class: "meek", priority: 3, policy: never},
		"late":                   {pod: of("late"), class: "late", priority: 7, policy: lower},
		"missing":                {pod: of("missing"), err: "no PriorityClass with name missing was found"},
		"named, and its value":   {pod: of("late", 7), class: "late", priority: 7, policy: lower},
		"named, another value":   {pod: of("late", 8), err: "the integer value of priority (8) must not be provided in pod spec; priority admission controller computed 7"},
		"named, another policy":  {pod: preempting, classes: []*schedulingv1.PriorityClass{meek}, err: "the string value of PreemptionPolicy (PreemptLowerPriority) must not be provided"},
		"a value without a name": {pod: of("", 8), err: "the integer value of priority (8) must not be provided"},
	} {
		a := admission.NewAttributesRecord(c.pod, nil, corev1.SchemeGroupVersion.WithKind("Pod"), "ns", "p",
			corev1.SchemeGroupVersion.WithResource("pods"), "", admission.Create, nil, false, nil)
		err := plugin(t, c.classes...).Admit(t.Context(), a, nil)
		if (err != nil) != (c.err != "") || err != nil && !strings.Contains(err.Error(), c.err) {
			t.Errorf("%s: %v, want %q", name, err, c.err)
		}
		if s := c.pod.Spec; err == nil && (s.PriorityClassName != c.class || *s.Priority != c.priority || *s.PreemptionPolicy != c.policy) {
			t.Errorf("%s: %s, %d, %s", name, s.PriorityClassName, *s.Priority, *s.PreemptionPolicy)
		}
	}
}

func TestOneDefault(t *testing.T) {
	for name, c := range map[string]struct {
		now  *schedulingv1.PriorityClass
		want string
	}{
		"the same":     {class("first", 1, true), ""},
		"another":      {class("second", 1, true), "PriorityClass first is already marked as default. Only one default can exist"},
		"no default":   {class("second", 1, false), ""},
		"the system's": {class("system-x", 1, true), ""},
	} {
		a := admission.NewAttributesRecord(c.now, nil, schedulingv1.SchemeGroupVersion.WithKind("PriorityClass"), "", c.now.Name,
			schedulingv1.SchemeGroupVersion.WithResource("priorityclasses"), "", admission.Create, nil, false, nil)
		err := plugin(t, class("first", 1, true)).Validate(t.Context(), a, nil)
		if (err != nil) != (c.want != "") || err != nil && !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: %v, want %q", name, err, c.want)
		}
	}
}

func TestSystemClassesAreMade(t *testing.T) {
	client := fake.NewClientset()
	for range 2 {
		if err := Ensure(t.Context(), client); err != nil {
			t.Fatal(err)
		}
	}
	list, err := client.SchedulingV1().PriorityClasses().List(t.Context(), metav1.ListOptions{})
	if err != nil || len(list.Items) != 2 {
		t.Errorf("%v, %v", list, err)
	}
}
