package toleration

import (
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apiserver/pkg/admission"
	"k8s.io/client-go/informers"
	"k8s.io/client-go/kubernetes/fake"
)

func attributes(pod, old *corev1.Pod, namespace string) admission.Attributes {
	kind, resource := corev1.SchemeGroupVersion.WithKind("Pod"), corev1.SchemeGroupVersion.WithResource("pods")
	if old == nil {
		return admission.NewAttributesRecord(pod, nil, kind, namespace, "p", resource, "", admission.Create, nil, false, nil)
	}
	return admission.NewAttributesRecord(pod, old, kind, namespace, "p", resource, "", admission.Update, nil, false, nil)
}

func tolerating(list ...corev1.Toleration) *corev1.Pod {
	return &corev1.Pod{Spec: corev1.PodSpec{Tolerations: list}}
}

func exists(key string, effect corev1.TaintEffect) corev1.Toleration {
	return corev1.Toleration{Key: key, Operator: corev1.TolerationOpExists, Effect: effect}
}

func equal(key, value string) corev1.Toleration {
	return corev1.Toleration{Key: key, Operator: corev1.TolerationOpEqual, Value: value}
}

func TestDefaultSeconds(t *testing.T) {
	own := exists(corev1.TaintNodeNotReady, "")
	pod := tolerating(own)
	if err := New().Admit(t.Context(), attributes(pod, nil, "x"), nil); err != nil {
		t.Fatal(err)
	}
	seconds := defaultSeconds
	unreachable := exists(corev1.TaintNodeUnreachable, corev1.TaintEffectNoExecute)
	unreachable.TolerationSeconds = &seconds
	if diff := cmp.Diff([]corev1.Toleration{own, unreachable}, pod.Spec.Tolerations); diff != "" {
		t.Errorf("tolerations (-want +got):\n%s", diff)
	}
}

func TestExtendedResources(t *testing.T) {
	requests := func(names ...corev1.ResourceName) corev1.ResourceRequirements {
		r := corev1.ResourceRequirements{Requests: corev1.ResourceList{}}
		for _, n := range names {
			r.Requests[n] = resource.MustParse("1")
		}
		return r
	}
	pod := tolerating(exists("example.com/fpga", ""))
	pod.Spec.InitContainers = []corev1.Container{{Resources: requests("example.com/nic")}}
	pod.Spec.Containers = []corev1.Container{{Resources: requests("cpu", "kubernetes.io/x", "requests.example.com/x", "example.com/gpu", "example.com/fpga")}}
	want := []corev1.Toleration{exists("example.com/fpga", ""), exists("example.com/gpu", ""), exists("example.com/nic", "")}
	for range 2 { // the second time nothing is missing
		if err := newExtended().Admit(t.Context(), attributes(pod, nil, "x"), nil); err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(want, pod.Spec.Tolerations); diff != "" {
			t.Errorf("tolerations (-want +got):\n%s", diff)
		}
	}
}

const restrictionText = `apiVersion: podtolerationrestriction.admission.k8s.io/v1alpha1
kind: Configuration
default: [{key: cluster, operator: Exists}]
whitelist: [{key: cluster, operator: Exists}, {key: node.kubernetes.io/memory-pressure, operator: Exists}]
`

func restricted(t *testing.T) *restriction {
	t.Helper()
	ns := func(name, defaults, allowed string) *corev1.Namespace {
		return &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: name, Annotations: map[string]string{defaultsAnnotation: defaults, allowedAnnotation: allowed}}}
	}
	client := fake.NewClientset(&corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: "plain"}},
		ns("own", `[{"key":"own","operator":"Equal","value":"a"}]`, `[{"key":"own","operator":"Exists"},{"key":"node.kubernetes.io/memory-pressure","operator":"Exists"}]`),
		ns("free", "", ""), ns("faulty", "nonsense", ""))
	c, err := readRestriction(strings.NewReader(restrictionText))
	if err != nil {
		t.Fatal(err)
	}
	p := newRestriction(c)
	p.SetExternalKubeClientSet(client)
	p.SetExternalKubeInformerFactory(informers.NewSharedInformerFactory(client, 0))
	p.SetReadyFunc(func() bool { return true })
	return p
}

func TestRestriction(t *testing.T) {
	p := restricted(t)
	burstable := tolerating()
	burstable.Spec.Containers = []corev1.Container{{Resources: corev1.ResourceRequirements{Requests: corev1.ResourceList{"cpu": resource.MustParse("1")}}}}
	pressure := exists(corev1.TaintNodeMemoryPressure, corev1.TaintEffectNoSchedule)
	for _, c := range []struct {
		name, namespace string
		pod, old        *corev1.Pod
		want            []corev1.Toleration
		err             string
	}{
		{name: "defaults of the cluster", namespace: "plain", pod: tolerating(), want: []corev1.Toleration{exists("cluster", "")}},
		{name: "not allowed by the cluster", namespace: "plain", pod: tolerating(equal("x", "y")), err: "conflict with its cluster whitelist"},
		{name: "covered by a default", namespace: "plain", pod: tolerating(equal("cluster", "x")), want: []corev1.Toleration{exists("cluster", "")}},
		{name: "defaults of the namespace", namespace: "own", pod: tolerating(), want: []corev1.Toleration{equal("own", "a")}},
		{name: "allowed by the namespace", namespace: "own", pod: tolerating(equal("own", "b")), want: []corev1.Toleration{equal("own", "b"), equal("own", "a")}},
		{name: "not allowed by the namespace", namespace: "own", pod: tolerating(exists("", "")), err: "conflict with its namespace whitelist"},
		{name: "with requests", namespace: "own", pod: burstable, want: []corev1.Toleration{equal("own", "a"), pressure}},
		{name: "nothing said", namespace: "free", pod: tolerating(exists("", "")), want: []corev1.Toleration{exists("", "")}},
		{name: "faulty annotation", namespace: "faulty", pod: tolerating(), err: "reading annotation " + defaultsAnnotation},
		{name: "no namespace", namespace: "missing", pod: tolerating(), err: "not found"},
		{name: "update", namespace: "plain", pod: tolerating(equal("x", "y")), old: tolerating(), err: "conflict with its cluster whitelist"},
		{name: "update of something else", namespace: "plain", pod: tolerating(equal("x", "y")), old: tolerating(equal("x", "y")), want: []corev1.Toleration{equal("x", "y")}},
	} {
		err := p.Admit(t.Context(), attributes(c.pod, c.old, c.namespace), nil)
		if (err != nil) != (c.err != "") || err != nil && !strings.Contains(err.Error(), c.err) {
			t.Errorf("%s: %v, want %q", c.name, err, c.err)
		}
		if diff := cmp.Diff(c.want, c.pod.Spec.Tolerations); err == nil && diff != "" {
			t.Errorf("%s: tolerations (-want +got):\n%s", c.name, diff)
		}
	}
}

func TestCovers(t *testing.T) {
	lasting := func(n int64) corev1.Toleration {
		t := exists("a", corev1.TaintEffectNoExecute)
		t.TolerationSeconds = &n
		return t
	}
	for _, c := range []struct {
		all, t corev1.Toleration
		want   bool
	}{
		{exists("a", ""), equal("a", "b"), true},
		{equal("a", "b"), exists("a", ""), false},
		{exists("", ""), equal("a", "b"), true},
		{exists("a", ""), exists("b", ""), false},
		{equal("a", "b"), equal("a", "b"), true},
		{equal("a", "b"), equal("a", "c"), false},
		{exists("a", corev1.TaintEffectNoSchedule), exists("a", ""), false},
		{exists("a", ""), exists("a", corev1.TaintEffectNoSchedule), true},
		{lasting(10), lasting(5), true},
		{lasting(10), lasting(20), false},
		{lasting(10), exists("a", corev1.TaintEffectNoExecute), false},
	} {
		if got := covers(c.all, c.t); got != c.want {
			t.Errorf("%+v covers %+v: %v", c.all, c.t, got)
		}
	}
}

func TestRestrictionConfiguration(t *testing.T) {
	for text, want := range map[string]string{
		"kind: Configuration":           "use podtolerationrestriction.admission.k8s.io/v1alpha1 Configuration",
		restrictionText + "colour: red": `unknown field "colour"`,
	} {
		if _, err := readRestriction(strings.NewReader(text)); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v, want %s", text, err, want)
		}
	}
}
