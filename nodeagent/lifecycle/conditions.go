package lifecycle

import (
	"fmt"
	"strings"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"coracle.dev/coracle/nodeagent/spec"
)

const (
	reasonPodCompleted    = "PodCompleted"
	reasonPodFailed       = "PodFailed"
	reasonNotInitialized  = "ContainersNotInitialized"
	reasonNotReady        = "ContainersNotReady"
	reasonGatesNotReady   = "ReadinessGatesNotReady"
	reasonUnknownStatuses = "UnknownContainerStatuses"
)

// conditions sets the conditions that the node owns and leaves the others.
func (in *StatusInput) conditions(s *corev1.PodStatus) {
	sandbox, ok := in.Observed.Sandbox()
	hasSandbox := ok && sandbox.Ready && (in.Pod.Spec.HostNetwork || len(sandbox.IPs) > 0)
	ready := in.containersReady(s)
	in.set(s, corev1.PodReadyToStartContainers, verdict{ok: hasSandbox})
	in.set(s, corev1.PodInitialized, in.podInitialized(s))
	in.set(s, corev1.PodReady, in.podReady(s, ready))
	in.set(s, corev1.ContainersReady, ready)
	in.set(s, corev1.PodScheduled, verdict{ok: true})
	in.resizeConditions(s)
}

type verdict struct {
	ok              bool
	reason, message string
}

func (in *StatusInput) set(s *corev1.PodStatus, t corev1.PodConditionType, v verdict) {
	status := corev1.ConditionFalse
	if v.ok {
		status = corev1.ConditionTrue
	}
	for i := range s.Conditions {
		c := &s.Conditions[i]
		if c.Type != t {
			continue
		}
		if c.Status != status {
			c.LastTransitionTime = metav1.NewTime(in.Now)
		}
		c.Status, c.Reason, c.Message, c.ObservedGeneration = status, v.reason, v.message, in.Pod.Generation
		return
	}
	s.Conditions = append(s.Conditions, corev1.PodCondition{
		Type: t, Status: status, Reason: v.reason, Message: v.message,
		LastTransitionTime: metav1.NewTime(in.Now), ObservedGeneration: in.Pod.Generation,
	})
}

func (in *StatusInput) podInitialized(s *corev1.PodStatus) verdict {
	var incomplete, unknown []string
	for i := range in.Pod.Spec.InitContainers {
		c := &in.Pod.Spec.InitContainers[i]
		if i >= len(s.InitContainerStatuses) {
			unknown = append(unknown, c.Name)
			continue
		}
		st := &s.InitContainerStatuses[i]
		done := st.Ready
		if spec.IsSidecar(c) {
			done = st.Started != nil && *st.Started
		}
		if !done {
			incomplete = append(incomplete, c.Name)
		}
	}
	switch {
	case s.Phase == corev1.PodSucceeded:
		return verdict{ok: true, reason: reasonPodCompleted}
	case len(incomplete) > 0 && in.initialized() && in.Termination == nil:
		// Once initialized, a pod stays so while its sandbox lives.
		return verdict{ok: true}
	}
	if m := unready(unknown, incomplete, "incomplete"); m != "" {
		return verdict{reason: reasonNotInitialized, message: m}
	}
	return verdict{ok: true}
}

func (in *StatusInput) containersReady(s *corev1.PodStatus) verdict {
	switch s.Phase {
	case corev1.PodSucceeded:
		return verdict{reason: reasonPodCompleted}
	case corev1.PodFailed:
		return verdict{reason: reasonPodFailed}
	}
	if s.ContainerStatuses == nil {
		return verdict{reason: reasonUnknownStatuses}
	}
	var not []string
	for i := range in.Pod.Spec.InitContainers {
		if spec.IsSidecar(&in.Pod.Spec.InitContainers[i]) && !s.InitContainerStatuses[i].Ready {
			not = append(not, in.Pod.Spec.InitContainers[i].Name)
		}
	}
	for i := range s.ContainerStatuses {
		if !s.ContainerStatuses[i].Ready {
			not = append(not, s.ContainerStatuses[i].Name)
		}
	}
	if m := unready(nil, not, "unready"); m != "" {
		return verdict{reason: reasonNotReady, message: m}
	}
	return verdict{ok: true}
}

func (in *StatusInput) podReady(s *corev1.PodStatus, containers verdict) verdict {
	if !containers.ok {
		return containers
	}
	var not []string
	for _, g := range in.Pod.Spec.ReadinessGates {
		at := -1
		for i := range s.Conditions {
			if s.Conditions[i].Type == g.ConditionType {
				at = i
			}
		}
		switch {
		case at < 0:
			not = append(not, fmt.Sprintf("corresponding condition of pod readiness gate %q does not exist.", string(g.ConditionType)))
		case s.Conditions[at].Status != corev1.ConditionTrue:
			not = append(not, fmt.Sprintf("the status of pod readiness gate %q is not \"True\", but %v", string(g.ConditionType), s.Conditions[at].Status))
		}
	}
	if len(not) > 0 {
		return verdict{reason: reasonGatesNotReady, message: strings.Join(not, ", ")}
	}
	return verdict{ok: true}
}

func unready(unknown, not []string, word string) string {
	var m []string
	if len(unknown) > 0 {
		m = append(m, fmt.Sprintf("containers with unknown status: %s", unknown))
	}
	if len(not) > 0 {
		m = append(m, fmt.Sprintf("containers with %s status: %s", word, not))
	}
	return strings.Join(m, ", ")
}
