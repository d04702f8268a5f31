package pod_test

import (
	"context"
	"fmt"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	corev1 "k8s.io/api/core/v1"
	policyv1 "k8s.io/api/policy/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/apimachinery/pkg/util/intstr"
	"k8s.io/client-go/kubernetes"
	corev1client "k8s.io/client-go/kubernetes/typed/core/v1"

	"coracle.dev/coracle/apiserver/apiservertest"
)

func pod(name string) *corev1.Pod {
	return &corev1.Pod{
		ObjectMeta: metav1.ObjectMeta{Name: name, Labels: map[string]string{"app": "web"}},
		Spec:       corev1.PodSpec{Containers: []corev1.Container{{Name: "c", Image: "x"}}},
	}
}

type pods struct {
	*testing.T
	corev1client.PodInterface
	client kubernetes.Interface
}

func (p pods) must(err error) {
	p.Helper()
	if err != nil {
		p.Fatal(err)
	}
}

func (p pods) create(o *corev1.Pod) *corev1.Pod {
	p.Helper()
	out, err := p.Create(p.Context(), o, metav1.CreateOptions{})
	p.must(err)
	return out
}

func (p pods) get(name string) *corev1.Pod {
	p.Helper()
	out, err := p.Get(p.Context(), name, metav1.GetOptions{})
	p.must(err)
	return out
}

// run makes a pod that runs on a node and is ready.
func (p pods) run(name string) *corev1.Pod {
	p.Helper()
	o := pod(name)
	o.Spec.NodeName = "n"
	o = p.create(o)
	o.Status.Phase = corev1.PodRunning
	o.Status.Conditions = []corev1.PodCondition{{Type: corev1.PodReady, Status: corev1.ConditionTrue}}
	out, err := p.UpdateStatus(p.Context(), o, metav1.UpdateOptions{})
	p.must(err)
	return out
}

func TestPods(t *testing.T) {
	cfg, _ := apiservertest.Start(t)
	client, err := kubernetes.NewForConfig(cfg)
	if err != nil {
		t.Fatal(err)
	}
	for name, test := range map[string]func(pods){
		"binding": testBinding, "deletion": testDeletion, "eviction": testEviction,
		"ephemeral containers": testEphemeralContainers, "resize": testResize,
	} {
		t.Run(name, func(t *testing.T) { test(pods{t, client.CoreV1().Pods("default"), client}) })
	}
}

func testBinding(p pods) {
	p.create(pod("free"))
	binding := func(name string) *corev1.Binding {
		return &corev1.Binding{
			ObjectMeta: metav1.ObjectMeta{Name: name, Annotations: map[string]string{"by": "test"}},
			Target:     corev1.ObjectReference{Kind: "Node", Name: "n"},
		}
	}
	wrong := binding("free")
	wrong.UID = "other"
	if err := p.Bind(p.Context(), wrong, metav1.CreateOptions{}); !apierrors.IsConflict(err) {
		p.Errorf("binding another pod of the name: %v", err)
	}
	none := binding("free")
	none.Target.Name = ""
	if err := p.Bind(p.Context(), none, metav1.CreateOptions{}); !apierrors.IsInvalid(err) {
		p.Errorf("binding to no node: %v", err)
	}
	p.must(p.Bind(p.Context(), binding("free"), metav1.CreateOptions{}))
	got := p.get("free")
	if got.Spec.NodeName != "n" || got.Annotations["by"] != "test" || len(got.Status.Conditions) != 1 || got.Status.Conditions[0].Type != corev1.PodScheduled {
		p.Errorf("after binding: %q %v %v", got.Spec.NodeName, got.Annotations, got.Status.Conditions)
	}
	err := p.Bind(p.Context(), binding("free"), metav1.CreateOptions{})
	if !apierrors.IsConflict(err) || !strings.Contains(err.Error(), `pod free is already assigned to node "n"`) {
		p.Errorf("binding twice: %v", err)
	}
	if err := p.Bind(p.Context(), binding("missing"), metav1.CreateOptions{}); !apierrors.IsNotFound(err) {
		p.Errorf("binding a pod that is not there: %v", err)
	}
	gated := pod("gated")
	gated.Spec.SchedulingGates = []corev1.PodSchedulingGate{{Name: "example.com/wait"}}
	p.create(gated)
	if err := p.Bind(p.Context(), binding("gated"), metav1.CreateOptions{}); !apierrors.IsConflict(err) {
		p.Errorf("binding a gated pod: %v", err)
	}
}

func testDeletion(p pods) {
	p.create(pod("pending"))
	p.must(p.Delete(p.Context(), "pending", metav1.DeleteOptions{}))
	if _, err := p.Get(p.Context(), "pending", metav1.GetOptions{}); !apierrors.IsNotFound(err) {
		p.Errorf("a pod without a node is still there: %v", err)
	}
	p.run("running")
	p.must(p.Delete(p.Context(), "running", metav1.DeleteOptions{}))
	got := p.get("running")
	if got.DeletionTimestamp == nil || got.DeletionGracePeriodSeconds == nil || *got.DeletionGracePeriodSeconds != 30 {
		p.Errorf("a running pod after its deletion: %v %v", got.DeletionTimestamp, got.DeletionGracePeriodSeconds)
	}
	zero := int64(0)
	p.must(p.Delete(p.Context(), "running", metav1.DeleteOptions{GracePeriodSeconds: &zero}))
	if _, err := p.Get(p.Context(), "running", metav1.GetOptions{}); !apierrors.IsNotFound(err) {
		p.Errorf("a pod whose end was confirmed is still there: %v", err)
	}
}

// evict does not try again when it is told to come back later, as clients do by themselves.
func (p pods) evict(name string, options *metav1.DeleteOptions) error {
	return p.client.CoreV1().RESTClient().Post().Namespace("default").Resource("pods").Name(name).SubResource("eviction").
		Body(&policyv1.Eviction{ObjectMeta: metav1.ObjectMeta{Name: name}, DeleteOptions: options}).
		MaxRetries(0).Do(p.Context()).Error()
}

func testEviction(p pods) {
	ctx := p.Context()
	for i := range 3 {
		p.run(fmt.Sprintf("e%d", i))
	}
	one := intstr.FromInt32(1)
	budgets := p.client.PolicyV1().PodDisruptionBudgets("default")
	b, err := budgets.Create(ctx, &policyv1.PodDisruptionBudget{
		ObjectMeta: metav1.ObjectMeta{Name: "b"},
		Spec:       policyv1.PodDisruptionBudgetSpec{MaxUnavailable: &one, Selector: &metav1.LabelSelector{MatchLabels: map[string]string{"app": "web"}}},
	}, metav1.CreateOptions{})
	p.must(err)
	err = p.evict("e0", nil)
	if !apierrors.IsTooManyRequests(err) || len(err.(apierrors.APIStatus).Status().Details.Causes) == 0 {
		p.Errorf("before the budget was counted: %v", err)
	}
	b.Status = policyv1.PodDisruptionBudgetStatus{ObservedGeneration: b.Generation, DisruptionsAllowed: 1, CurrentHealthy: 3, DesiredHealthy: 2, ExpectedPods: 3}
	_, err = budgets.UpdateStatus(ctx, b, metav1.UpdateOptions{})
	p.must(err)
	p.must(p.evict("e0", &metav1.DeleteOptions{DryRun: []string{"All"}}))
	p.must(p.evict("e0", nil))
	got := p.get("e0")
	if got.DeletionTimestamp == nil || !hasCondition(got, corev1.DisruptionTarget) {
		p.Errorf("the evicted pod: %v %v", got.DeletionTimestamp, got.Status.Conditions)
	}
	b, err = budgets.Get(ctx, "b", metav1.GetOptions{})
	p.must(err)
	if _, ok := b.Status.DisruptedPods["e0"]; b.Status.DisruptionsAllowed != 0 || !ok {
		p.Errorf("the budget after an eviction: %+v", b.Status)
	}
	err = p.evict("e1", nil)
	want := "The disruption budget b needs 2 healthy pods and has 3 currently"
	if !apierrors.IsTooManyRequests(err) || err.(apierrors.APIStatus).Status().Details.Causes[0].Message != want {
		p.Errorf("beyond the budget: %v, want %s", err, want)
	}
	// Who is being deleted already takes nothing of the budget; nor does an unhealthy pod while enough
	// others are healthy.
	p.must(p.evict("e0", nil))
	e1 := p.get("e1")
	e1.Status.Conditions = nil
	_, err = p.UpdateStatus(ctx, e1, metav1.UpdateOptions{})
	p.must(err)
	p.must(p.evict("e1", nil))
	_, err = budgets.Create(ctx, &policyv1.PodDisruptionBudget{
		ObjectMeta: metav1.ObjectMeta{Name: "b2"}, Spec: policyv1.PodDisruptionBudgetSpec{MaxUnavailable: &one, Selector: &metav1.LabelSelector{}},
	}, metav1.CreateOptions{})
	p.must(err)
	if err := p.evict("e2", nil); !apierrors.IsInternalError(err) && (err == nil || !strings.Contains(err.Error(), "more than one PodDisruptionBudget")) {
		p.Errorf("with two budgets: %v", err)
	}
	p.must(budgets.DeleteCollection(ctx, metav1.DeleteOptions{}, metav1.ListOptions{}))
}

func hasCondition(p *corev1.Pod, kind corev1.PodConditionType) bool {
	for _, c := range p.Status.Conditions {
		if c.Type == kind {
			return true
		}
	}
	return false
}

func testEphemeralContainers(p pods) {
	o := p.run("debugged")
	o.Spec.EphemeralContainers = []corev1.EphemeralContainer{{EphemeralContainerCommon: corev1.EphemeralContainerCommon{Name: "debug", Image: "y"}}}
	o.Labels["sneaked"] = "in"
	got, err := p.UpdateEphemeralContainers(p.Context(), "debugged", o, metav1.UpdateOptions{})
	p.must(err)
	if len(got.Spec.EphemeralContainers) != 1 || got.Labels["sneaked"] != "" || got.Generation != o.Generation+1 {
		p.Errorf("containers %v, labels %v, generation %d", got.Spec.EphemeralContainers, got.Labels, got.Generation)
	}
	got.Spec.EphemeralContainers[0].Image = "z"
	if _, err := p.UpdateEphemeralContainers(p.Context(), "debugged", got, metav1.UpdateOptions{}); !apierrors.IsInvalid(err) {
		p.Errorf("changing one: %v", err)
	}
	got.Spec.EphemeralContainers = nil
	if _, err := p.UpdateEphemeralContainers(p.Context(), "debugged", got, metav1.UpdateOptions{}); !apierrors.IsInvalid(err) {
		p.Errorf("removing one: %v", err)
	}
}

func testResize(p pods) {
	o := pod("resized")
	o.Spec.Containers[0].Resources.Requests = corev1.ResourceList{"cpu": resource.MustParse("100m"), "memory": resource.MustParse("64Mi")}
	p.create(o)
	patch := func(text string) (*corev1.Pod, error) {
		return p.Patch(context.WithoutCancel(p.Context()), "resized", types.StrategicMergePatchType, []byte(text), metav1.PatchOptions{}, "resize")
	}
	got, err := patch(`{"spec":{"containers":[{"name":"c","image":"sneaked","resources":{"requests":{"cpu":"200m"}}}]}}`)
	p.must(err)
	cpu := got.Spec.Containers[0].Resources.Requests["cpu"]
	if diff := cmp.Diff([]string{"200m", "x"}, []string{cpu.String(), got.Spec.Containers[0].Image}); diff != "" {
		p.Errorf("cpu and image (-want +got):\n%s", diff)
	}
	for _, text := range []string{
		`{"spec":{"containers":[{"name":"c","resources":{"requests":{"cpu":null}}}]}}`,
		`{"spec":{"containers":[{"name":"c","resources":{"requests":{"cpu":null,"memory":null}}}]}}`,
		`{"spec":{"containers":[{"name":"c","resources":{"requests":{"example.com/gpu":"1"},"limits":{"example.com/gpu":"1"}}}]}}`,
	} {
		if _, err := patch(text); !apierrors.IsInvalid(err) {
			p.Errorf("%s: %v", text, err)
		}
	}
}
