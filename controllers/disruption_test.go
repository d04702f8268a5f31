package controllers_test

import (
	"errors"
	"fmt"
	"strings"
	"testing"

	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	policyv1 "k8s.io/api/policy/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/util/intstr"
	"sigs.k8s.io/controller-runtime/pkg/client"
)

func budget(name, app string, least, most *intstr.IntOrString) *policyv1.PodDisruptionBudget {
	return &policyv1.PodDisruptionBudget{
		ObjectMeta: metav1.ObjectMeta{Namespace: "test", Name: name},
		Spec:       policyv1.PodDisruptionBudgetSpec{MinAvailable: least, MaxUnavailable: most, Selector: &metav1.LabelSelector{MatchLabels: map[string]string{"app": app}}},
	}
}

func (e *env) waitBudget(name string, healthy, desired, allowed int32) {
	e.t.Helper()
	e.eventually(fmt.Sprintf("budget %s allows %d disruptions", name, allowed), func() error {
		b := &policyv1.PodDisruptionBudget{}
		e.get(name, b)
		return errors.Join(expect("observedGeneration", b.Status.ObservedGeneration, b.Generation), expect("healthy", b.Status.CurrentHealthy, healthy),
			expect("desired", b.Status.DesiredHealthy, desired), expect("allowed", b.Status.DisruptionsAllowed, allowed),
			expect("disrupted pods", len(b.Status.DisruptedPods), 0))
	}, &policyv1.PodDisruptionBudgetList{})
}

func (e *env) evict(p *corev1.Pod) error {
	return e.SubResource("eviction").Create(e.t.Context(), p, &policyv1.Eviction{ObjectMeta: metav1.ObjectMeta{Namespace: p.Namespace, Name: p.Name}})
}

func TestDisruption(t *testing.T) {
	e := start(t, "disruption-controller", "deployment-controller", "replicaset-controller", "statefulset-controller")
	e.kubelet()
	e.create(deployment("web", 3))
	e.create(budget("most", "web", nil, new(intstr.FromInt32(1))))
	e.waitBudget("most", 3, 2, 1)

	t.Run("evictions are granted while the budget lasts", func(t *testing.T) {
		pods := e.pods("app", "web")
		if err := e.evict(&pods[0]); err != nil {
			t.Fatalf("evicting the first: %v", err)
		}
		e.waitBudget("most", 3, 2, 1)
		e.patch(&appsv1.Deployment{ObjectMeta: metav1.ObjectMeta{Namespace: e.ns, Name: "web"}}, `{"spec":{"replicas":4}}`)
		e.waitBudget("most", 4, 3, 1)
	})
	t.Run("a budget blocks until it is changed", func(t *testing.T) {
		e.patch(budget("most", "web", nil, nil), `{"spec":{"maxUnavailable":0}}`)
		e.waitBudget("most", 4, 4, 0)
		p := e.pods("app", "web")[0]
		err := e.evict(&p)
		if !apierrors.IsTooManyRequests(err) || !strings.Contains(fmt.Sprint(err.(apierrors.APIStatus).Status().Details.Causes), "needs 4 healthy pods and has 4 currently") {
			t.Fatalf("evicting gives %v", err)
		}
		e.patch(budget("most", "web", nil, nil), `{"spec":{"maxUnavailable":"30%"}}`)
		e.waitBudget("most", 4, 2, 2)
		if err := e.evict(&p); err != nil {
			t.Fatalf("evicting: %v", err)
		}
		e.waitBudget("most", 4, 2, 2)
	})
	t.Run("a share of a stateful set", func(t *testing.T) {
		e.create(statefulSet("db", 2))
		e.create(budget("db", "db", new(intstr.FromString("50%")), nil))
		e.waitBudget("db", 2, 1, 1)
	})
	t.Run("pods of no owner count for a number, and not for a share", func(t *testing.T) {
		e.create(&corev1.Pod{ObjectMeta: metav1.ObjectMeta{Namespace: e.ns, Name: "lone", Labels: map[string]string{"app": "lone"}}, Spec: template().Spec})
		e.create(budget("number", "lone", new(intstr.FromInt32(0)), nil))
		e.waitBudget("number", 1, 0, 1)
		e.create(budget("share", "lone", new(intstr.FromString("50%")), nil))
		e.eventually("it is told that the pod has no owner", func() error { return e.told("share", "UnmanagedPods") }, &corev1.EventList{})
		e.waitBudget("share", 1, 0, 0)
	})
	t.Run("pods of an owner without a scale", func(t *testing.T) {
		node := &corev1.Node{}
		if err := e.Get(t.Context(), client.ObjectKey{Name: "node"}, node); err != nil {
			t.Fatal(err)
		}
		e.create(&corev1.Pod{ObjectMeta: metav1.ObjectMeta{Namespace: e.ns, Name: "mirror", Labels: map[string]string{"app": "mirror"},
			OwnerReferences: []metav1.OwnerReference{*metav1.NewControllerRef(node, corev1.SchemeGroupVersion.WithKind("Node"))}}, Spec: template().Spec})
		e.create(budget("unscaled", "mirror", nil, new(intstr.FromInt32(1))))
		e.eventually("the budget says that it cannot tell", func() error {
			b := &policyv1.PodDisruptionBudget{}
			e.get("unscaled", b)
			for _, c := range b.Status.Conditions {
				if c.Reason == policyv1.SyncFailedReason && c.Status == metav1.ConditionFalse {
					return nil
				}
			}
			return fmt.Errorf("conditions are %v", b.Status.Conditions)
		}, &policyv1.PodDisruptionBudgetList{})
	})
}
