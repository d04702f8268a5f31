package nodeagent

import (
	"strings"
	"testing"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	runtimev1 "k8s.io/cri-api/pkg/apis/runtime/v1"
)

func amounts(cpu, memory string) corev1.ResourceRequirements {
	list := corev1.ResourceList{corev1.ResourceCPU: resource.MustParse(cpu), corev1.ResourceMemory: resource.MustParse(memory)}
	return corev1.ResourceRequirements{Requests: list, Limits: list.DeepCopy()}
}

func sized(cpu, memory string, policy ...corev1.ContainerResizePolicy) func(*corev1.Pod) {
	return func(p *corev1.Pod) {
		p.Spec.Containers[0].Resources, p.Spec.Containers[0].ResizePolicy = amounts(cpu, memory), policy
	}
}

func (w *world) resize(name, cpu, memory string) {
	w.t.Helper()
	eventually(w.t, "the resize is taken", func() bool {
		p, err := w.client.CoreV1().Pods("default").Get(w.ctx, name, metav1.GetOptions{})
		if err != nil {
			return false
		}
		p.Spec.Containers[0].Resources = amounts(cpu, memory)
		_, err = w.client.CoreV1().Pods("default").UpdateResize(w.ctx, name, p, metav1.UpdateOptions{})
		return err == nil
	})
}

// has tells whether the container has these resources and no change is under way.
func has(cpu, memory string) func(*corev1.Pod) bool {
	want := amounts(cpu, memory)
	return func(p *corev1.Pod) bool {
		if p == nil || len(p.Status.ContainerStatuses) == 0 || p.Status.ContainerStatuses[0].Resources == nil {
			return false
		}
		got := p.Status.ContainerStatuses[0].Resources
		return got.Limits.Cpu().Cmp(*want.Limits.Cpu()) == 0 && got.Limits.Memory().Cmp(*want.Limits.Memory()) == 0 &&
			p.Status.ContainerStatuses[0].AllocatedResources.Cpu().Cmp(*want.Requests.Cpu()) == 0 &&
			condition(p, corev1.PodResizeInProgress).Type == "" && condition(p, corev1.PodResizePending).Type == "" && ready(p)
	}
}

// wantRuntime compares with what the runtime gives the container.
func (w *world) wantRuntime(p *corev1.Pod, quota, memory int64) {
	w.t.Helper()
	id := strings.TrimPrefix(p.Status.ContainerStatuses[0].ContainerID, "containerd://")
	s, err := w.runtime(w.t).ContainerStatus(w.ctx, &runtimev1.ContainerStatusRequest{ContainerId: id})
	if err != nil {
		w.t.Fatal(err)
	}
	if r := s.GetStatus().GetResources().GetLinux(); r.GetCpuQuota() != quota || r.GetMemoryLimitInBytes() != memory {
		w.t.Errorf("the runtime gives %v; want a quota of %d and %d bytes", r, quota, memory)
	}
}

func resizeInPlace(t *testing.T, w *world) {
	w.create(appPod("grows", sized("50m", "64Mi")))
	first := w.until("grows", "ready", has("50m", "64Mi"))
	w.wantRuntime(first, 5000, 64<<20)
	w.resize("grows", "100m", "96Mi")
	p := w.until("grows", "larger", has("100m", "96Mi"))
	w.wantRuntime(p, 10000, 96<<20)
	w.resize("grows", "20m", "32Mi")
	p = w.until("grows", "smaller", has("20m", "32Mi"))
	w.wantRuntime(p, 2000, 32<<20)
	if s := p.Status.ContainerStatuses[0]; s.RestartCount != 0 || s.ContainerID != first.Status.ContainerStatuses[0].ContainerID {
		t.Errorf("the container was restarted: %+v", s)
	}
	eventually(t, "the events of both", func() bool {
		started, completed := 0, 0
		for _, e := range w.events("grows") {
			if strings.HasPrefix(e, "ResizeStarted: ") {
				started++
			}
			if strings.HasPrefix(e, "ResizeCompleted: Pod resize completed: {") {
				completed++
			}
		}
		return started == 2 && completed == 2
	})
}

func resizeWithRestart(t *testing.T, w *world) {
	w.create(appPod("anew", sized("50m", "64Mi", corev1.ContainerResizePolicy{ResourceName: corev1.ResourceMemory, RestartPolicy: corev1.RestartContainer},
		corev1.ContainerResizePolicy{ResourceName: corev1.ResourceCPU, RestartPolicy: corev1.NotRequired}), func(p *corev1.Pod) {
		p.Spec.TerminationGracePeriodSeconds = new(int64(1))
	}))
	w.until("anew", "ready", has("50m", "64Mi"))
	w.resize("anew", "60m", "64Mi")
	if p := w.until("anew", "with more CPU", has("60m", "64Mi")); p.Status.ContainerStatuses[0].RestartCount != 0 {
		t.Errorf("the container was restarted for its CPU")
	}
	w.resize("anew", "60m", "80Mi")
	p := w.until("anew", "with more memory", has("60m", "80Mi"))
	w.wantRuntime(p, 6000, 80<<20)
	if p.Status.ContainerStatuses[0].RestartCount != 1 {
		t.Errorf("%d restarts, want 1", p.Status.ContainerStatuses[0].RestartCount)
	}
	w.wantEvent("anew", "Killing: Container anew resize requires restart, will be restarted")
}

func resizeThatDoesNotFit(t *testing.T, w *world) {
	w.create(appPod("greedy", sized("50m", "64Mi")))
	w.until("greedy", "ready", has("50m", "64Mi"))
	w.resize("greedy", "1000", "64Mi")
	p := w.until("greedy", "refused", func(p *corev1.Pod) bool { return condition(p, corev1.PodResizePending).Type != "" })
	c := condition(p, corev1.PodResizePending)
	if c.Reason != corev1.PodReasonInfeasible || !strings.HasPrefix(c.Message, "Node didn't have enough capacity: cpu, requested: 1000000, capacity: ") {
		t.Errorf("condition %+v", c)
	}
	if got := p.Status.ContainerStatuses[0].AllocatedResources.Cpu().String(); got != "50m" {
		t.Errorf("%s of CPU allocated", got)
	}
	w.resize("greedy", "50m", "64Mi")
	w.until("greedy", "as it was", has("50m", "64Mi"))
}
