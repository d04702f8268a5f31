package controllers_test

import (
	"fmt"
	"testing"

	"github.com/google/go-cmp/cmp"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"
)

func TestQuotaIsCounted(t *testing.T) {
	e := start(t, "resourcequota-controller")
	p := func(name string, change func(*corev1.PodSpec)) *corev1.Pod {
		p := &corev1.Pod{ObjectMeta: metav1.ObjectMeta{Namespace: e.ns, Name: name}, Spec: template().Spec}
		p.Spec.Containers[0].Resources.Requests = corev1.ResourceList{corev1.ResourceCPU: resource.MustParse("250m")}
		if change != nil {
			change(&p.Spec)
		}
		e.create(p)
		return p
	}
	first := p("first", nil)
	p("second", nil)
	p("brief", func(s *corev1.PodSpec) { s.ActiveDeadlineSeconds = new(int64(60)) })
	e.create(configMap("plain"))
	quota := func(name string, scopes []corev1.ResourceQuotaScope, hard ...string) {
		q := &corev1.ResourceQuota{ObjectMeta: metav1.ObjectMeta{Namespace: e.ns, Name: name}, Spec: corev1.ResourceQuotaSpec{Scopes: scopes, Hard: corev1.ResourceList{}}}
		for i := 0; i < len(hard); i += 2 {
			q.Spec.Hard[corev1.ResourceName(hard[i])] = resource.MustParse(hard[i+1])
		}
		e.create(q)
	}
	await := func(name string, want map[string]string) {
		t.Helper()
		e.eventually("quota "+name+" is counted", func() error {
			q := &corev1.ResourceQuota{}
			e.get(name, q)
			got := map[string]string{}
			for name, amount := range q.Status.Used {
				got[string(name)] = amount.String()
			}
			if d := cmp.Diff(want, got); d != "" {
				return fmt.Errorf("(-want +got):\n%s", d)
			}
			return nil
		}, &corev1.ResourceQuotaList{})
	}
	quota("all", nil, "pods", "10", "requests.cpu", "4", "configmaps", "5", "count/configmaps", "5", "count/deployments.apps", "3",
		"count/nothings.example.com", "1", "services.nodeports", "2")
	quota("terminating", []corev1.ResourceQuotaScope{corev1.ResourceQuotaScopeTerminating}, "pods", "2")
	await("all", map[string]string{"pods": "3", "requests.cpu": "750m", "configmaps": "1", "count/configmaps": "1",
		"count/deployments.apps": "0", "services.nodeports": "0"})
	await("terminating", map[string]string{"pods": "1"})
	e.finish(first)
	e.delete(configMap("plain"))
	e.delete(&corev1.Pod{ObjectMeta: metav1.ObjectMeta{Namespace: e.ns, Name: "brief"}}, client.GracePeriodSeconds(0))
	await("all", map[string]string{"pods": "1", "requests.cpu": "250m", "configmaps": "0", "count/configmaps": "0",
		"count/deployments.apps": "0", "services.nodeports": "0"})
	await("terminating", map[string]string{"pods": "0"})
	q := &corev1.ResourceQuota{ObjectMeta: metav1.ObjectMeta{Namespace: e.ns, Name: "all"}}
	e.patch(q, `{"spec":{"hard":{"pods":"7","requests.cpu":null}}}`)
	e.eventually("the quota says what is specified", func() error {
		e.get("all", q)
		if _, has := q.Status.Used["requests.cpu"]; has {
			return fmt.Errorf("it uses %v", q.Status.Used)
		}
		return expect("hard", q.Status.Hard.Pods().String(), "7")
	}, &corev1.ResourceQuotaList{})
}
