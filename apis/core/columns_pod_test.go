package core

import (
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"coracle.dev/coracle/apis/resource"
)

var noon = metav1.Date(2026, 1, 1, 12, 0, 0, 0, time.UTC)

func waiting(name, reason string) corev1.ContainerStatus {
	return corev1.ContainerStatus{Name: name, State: corev1.ContainerState{Waiting: &corev1.ContainerStateWaiting{Reason: reason}}}
}

func running(name string, ready bool) corev1.ContainerStatus {
	return corev1.ContainerStatus{Name: name, Ready: ready, Started: new(true), State: corev1.ContainerState{Running: &corev1.ContainerStateRunning{}}}
}

func ended(name, reason string, code, signal int32) corev1.ContainerStatus {
	return corev1.ContainerStatus{Name: name, State: corev1.ContainerState{Terminated: &corev1.ContainerStateTerminated{Reason: reason, ExitCode: code, Signal: signal}}}
}

func restarted(s corev1.ContainerStatus, n int32, at metav1.Time) corev1.ContainerStatus {
	s.RestartCount = n
	s.LastTerminationState.Terminated = &corev1.ContainerStateTerminated{FinishedAt: at}
	return s
}

func podWith(phase corev1.PodPhase, init, containers []corev1.ContainerStatus, edit ...func(*corev1.Pod)) *corev1.Pod {
	p := &corev1.Pod{Status: corev1.PodStatus{Phase: phase, InitContainerStatuses: init, ContainerStatuses: containers}}
	for _, s := range init {
		p.Spec.InitContainers = append(p.Spec.InitContainers, corev1.Container{Name: s.Name})
	}
	for _, s := range containers {
		p.Spec.Containers = append(p.Spec.Containers, corev1.Container{Name: s.Name})
	}
	for _, f := range edit {
		f(p)
	}
	return p
}

func sidecar(i int) func(*corev1.Pod) {
	return func(p *corev1.Pod) { p.Spec.InitContainers[i].RestartPolicy = new(corev1.ContainerRestartPolicyAlways) }
}

func isTrue(kind corev1.PodConditionType) func(*corev1.Pod) {
	return func(p *corev1.Pod) {
		p.Status.Conditions = append(p.Status.Conditions, corev1.PodCondition{Type: kind, Status: corev1.ConditionTrue})
	}
}

func deleted(p *corev1.Pod) { p.DeletionTimestamp = &noon }

type statuses = []corev1.ContainerStatus

func TestPodRow(t *testing.T) {
	for name, c := range map[string]struct {
		pod           *corev1.Pod
		ready, status string
		restarts      any
	}{
		"pending":              {podWith(corev1.PodPending, nil, statuses{{Name: "a"}}), "0/1", "Pending", "0"},
		"creating":             {podWith(corev1.PodPending, nil, statuses{waiting("a", "ContainerCreating")}), "0/1", "ContainerCreating", "0"},
		"running":              {podWith(corev1.PodRunning, nil, statuses{running("a", true), running("b", false)}), "1/2", "Running", "0"},
		"crash loop":           {podWith(corev1.PodRunning, nil, statuses{restarted(waiting("a", "CrashLoopBackOff"), 3, noon)}), "0/1", "CrashLoopBackOff", resource.Aged{Format: "3 (%s ago)", Since: noon}},
		"restarted, no time":   {podWith(corev1.PodRunning, nil, statuses{restarted(running("a", true), 2, metav1.Time{})}), "1/1", "Running", "2"},
		"completed":            {podWith(corev1.PodSucceeded, nil, statuses{ended("a", "Completed", 0, 0)}), "0/1", "Completed", "0"},
		"error":                {podWith(corev1.PodFailed, nil, statuses{ended("a", "Error", 1, 0)}), "0/1", "Error", "0"},
		"exit code":            {podWith(corev1.PodFailed, nil, statuses{ended("a", "", 7, 0)}), "0/1", "ExitCode:7", "0"},
		"signal":               {podWith(corev1.PodFailed, nil, statuses{ended("a", "", 137, 9)}), "0/1", "Signal:9", "0"},
		"first of the bad":     {podWith(corev1.PodRunning, nil, statuses{waiting("a", "ImagePullBackOff"), waiting("b", "ContainerCreating")}), "0/2", "ImagePullBackOff", "0"},
		"one completed, ready": {podWith(corev1.PodRunning, nil, statuses{ended("a", "Completed", 0, 0), running("b", true)}, isTrue(corev1.PodReady)), "1/2", "Running", "0"},
		"one completed":        {podWith(corev1.PodRunning, nil, statuses{ended("a", "Completed", 0, 0), running("b", true)}), "1/2", "NotReady", "0"},
		"init first of two":    {podWith(corev1.PodPending, statuses{running("i", false), waiting("j", "PodInitializing")}, statuses{waiting("a", "PodInitializing")}), "0/1", "Init:0/2", "0"},
		"init second of two":   {podWith(corev1.PodPending, statuses{ended("i", "Completed", 0, 0), waiting("j", "PodInitializing")}, statuses{waiting("a", "PodInitializing")}), "0/1", "Init:1/2", "0"},
		"init done":            {podWith(corev1.PodPending, statuses{ended("i", "Completed", 0, 0)}, statuses{waiting("a", "PodInitializing")}), "0/1", "PodInitializing", "0"},
		"init error":           {podWith(corev1.PodPending, statuses{ended("i", "Error", 1, 0)}, statuses{waiting("a", "PodInitializing")}), "0/1", "Init:Error", "0"},
		"init exit code":       {podWith(corev1.PodPending, statuses{ended("i", "", 3, 0)}, statuses{{Name: "a"}}), "0/1", "Init:ExitCode:3", "0"},
		"init signal":          {podWith(corev1.PodPending, statuses{ended("i", "", 0, 9)}, statuses{{Name: "a"}}), "0/1", "Pending", "0"},
		"init killed":          {podWith(corev1.PodPending, statuses{ended("i", "", 137, 9)}, statuses{{Name: "a"}}), "0/1", "Init:Signal:9", "0"},
		"init crash loop":      {podWith(corev1.PodPending, statuses{restarted(waiting("i", "CrashLoopBackOff"), 1, noon)}, statuses{{Name: "a"}}), "0/1", "Init:CrashLoopBackOff", resource.Aged{Format: "1 (%s ago)", Since: noon}},
		"init restarts forgotten": {podWith(corev1.PodRunning, statuses{restarted(ended("i", "Completed", 0, 0), 4, noon)}, statuses{running("a", true)}),
			"1/1", "Running", "0"},
		"sidecar": {podWith(corev1.PodRunning, statuses{restarted(running("s", true), 1, noon)}, statuses{running("a", true)}, sidecar(0)),
			"2/2", "Running", resource.Aged{Format: "1 (%s ago)", Since: noon}},
		"sidecar restarts later": {podWith(corev1.PodRunning, statuses{waiting("s", "CrashLoopBackOff")}, statuses{running("a", true)}, sidecar(0), isTrue(corev1.PodInitialized)),
			"1/2", "Init:CrashLoopBackOff", "0"},
		"terminating":       {podWith(corev1.PodRunning, nil, statuses{running("a", true)}, deleted), "1/1", "Terminating", "0"},
		"deleted when over": {podWith(corev1.PodSucceeded, nil, statuses{ended("a", "Completed", 0, 0)}, deleted), "0/1", "Completed", "0"},
		"node lost":         {podWith(corev1.PodRunning, nil, statuses{running("a", true)}, deleted, func(p *corev1.Pod) { p.Status.Reason = "NodeLost" }), "1/1", "Unknown", "0"},
		"evicted":           {podWith(corev1.PodFailed, nil, nil, func(p *corev1.Pod) { p.Status.Reason = "Evicted" }), "0/0", "Evicted", "0"},
		"gated": {podWith(corev1.PodPending, nil, nil, func(p *corev1.Pod) {
			p.Status.Conditions = []corev1.PodCondition{{Type: corev1.PodScheduled, Reason: "SchedulingGated"}}
		}), "0/0", "SchedulingGated", "0"},
	} {
		got := map[string]any{}
		for _, column := range podColumns {
			got[column.Name] = column.Value(c.pod)
		}
		if diff := cmp.Diff([]any{c.ready, c.status, c.restarts}, []any{got["Ready"], got["Status"], got["Restarts"]}); diff != "" {
			t.Errorf("%s (-want +got):\n%s", name, diff)
		}
	}
}
