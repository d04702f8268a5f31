package inprocess

import (
	"context"
	"testing"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

// requesting is a pod with requests, and limits of the same amounts.
func requesting(name string, kv ...string) *corev1.Pod {
	p := pod(name)
	p.Spec.Containers[0].Resources = corev1.ResourceRequirements{Requests: amounts(kv...), Limits: amounts(kv...)}
	p.Spec.TerminationGracePeriodSeconds = new(int64(0))
	return p
}

func (e *env) quotaPod(t *testing.T) {
	ns := e.settled(t)
	pods := e.CoreV1().Pods(ns)
	e.quota(t, ns, "q", amounts("pods", "5", "requests.cpu", "1", "requests.memory", "500Mi", "requests.ephemeral-storage", "50Gi", "requests.example.com/dongle", "3"))
	created := must(pods.Create(t.Context(), requesting("first", "cpu", "500m", "memory", "252Mi", "ephemeral-storage", "30Gi", "example.com/dongle", "2"), metav1.CreateOptions{}))(t)
	e.uses(t, ns, "q", "pods", "1", "requests.cpu", "500m", "requests.memory", "252Mi", "requests.ephemeral-storage", "30Gi", "requests.example.com/dongle", "2")
	second := func(want string, kv ...string) {
		t.Helper()
		eventually(t, "it is refused by "+want, func(ctx context.Context) error { // once admission has seen the quota
			_, err := pods.Create(ctx, requesting("second", kv...), dry)
			return lacks(err, want)
		})
	}
	second(`pods "second" is forbidden: exceeded quota: q, requested: requests.cpu=600m, used: requests.cpu=500m, limited: requests.cpu=1`,
		"cpu", "600m", "memory", "100Mi", "ephemeral-storage", "1Gi", "example.com/dongle", "1")
	second("requested: requests.example.com/dongle=2, used: requests.example.com/dongle=2, limited: requests.example.com/dongle=3",
		"cpu", "100m", "memory", "100Mi", "ephemeral-storage", "1Gi", "example.com/dongle", "2")
	second("failed quota: q: must specify")
	changed := created.DeepCopy()
	changed.ResourceVersion = ""
	changed.Spec.Containers[0].Resources = requesting("first", "cpu", "100m", "memory", "100Mi", "ephemeral-storage", "1Gi").Spec.Containers[0].Resources
	if _, err := pods.Update(t.Context(), changed, metav1.UpdateOptions{}); err == nil {
		t.Error("an update of a pod's requests is accepted")
	}
	e.uses(t, ns, "q", "pods", "1", "requests.cpu", "500m", "requests.memory", "252Mi")
	must(0, pods.Delete(t.Context(), "first", metav1.DeleteOptions{}))(t)
	e.uses(t, ns, "q", "pods", "0", "requests.cpu", "0", "requests.memory", "0", "requests.ephemeral-storage", "0", "requests.example.com/dongle", "0")
}

func (e *env) quotaBestEffort(t *testing.T) {
	ns := e.settled(t)
	pods := e.CoreV1().Pods(ns)
	e.quota(t, ns, "best", amounts("pods", "5"), corev1.ResourceQuotaScopeBestEffort)
	e.quota(t, ns, "not", amounts("pods", "5"), corev1.ResourceQuotaScopeNotBestEffort)
	for _, test := range []struct {
		pod            *corev1.Pod
		counted, other string
	}{{requesting("a"), "best", "not"}, {requesting("b", "cpu", "100m", "memory", "100Mi"), "not", "best"}} {
		must(pods.Create(t.Context(), test.pod, metav1.CreateOptions{}))(t)
		e.uses(t, ns, test.counted, "pods", "1")
		e.uses(t, ns, test.other, "pods", "0")
		must(0, pods.Delete(t.Context(), test.pod.Name, metav1.DeleteOptions{}))(t)
		e.uses(t, ns, test.counted, "pods", "0")
	}
}

func (e *env) quotaTerminating(t *testing.T) {
	ns := e.settled(t)
	pods := e.CoreV1().Pods(ns)
	hard := amounts("pods", "5", "requests.cpu", "1", "requests.memory", "500Mi", "limits.cpu", "2", "limits.memory", "1Gi")
	e.quota(t, ns, "terminating", hard, corev1.ResourceQuotaScopeTerminating)
	e.quota(t, ns, "not", hard, corev1.ResourceQuotaScopeNotTerminating)
	ending := requesting("b", "cpu", "500m", "memory", "200Mi")
	ending.Spec.ActiveDeadlineSeconds = new(int64(3600))
	for _, test := range []struct {
		pod            *corev1.Pod
		counted, other string
	}{{requesting("a", "cpu", "500m", "memory", "200Mi"), "not", "terminating"}, {ending, "terminating", "not"}} {
		must(pods.Create(t.Context(), test.pod, metav1.CreateOptions{}))(t)
		e.uses(t, ns, test.counted, "pods", "1", "requests.cpu", "500m", "requests.memory", "200Mi", "limits.cpu", "500m", "limits.memory", "200Mi")
		e.uses(t, ns, test.other, "pods", "0", "requests.cpu", "0", "limits.memory", "0")
		must(0, pods.Delete(t.Context(), test.pod.Name, metav1.DeleteOptions{}))(t)
		e.uses(t, ns, test.counted, "pods", "0", "requests.cpu", "0", "limits.memory", "0")
	}
}
