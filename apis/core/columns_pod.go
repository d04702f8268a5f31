package core

import (
	"fmt"
	"strconv"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/labels"

	"coracle.dev/coracle/apis/pod"
	"coracle.dev/coracle/apis/resource"
)

var podColumns = []resource.Column[*corev1.Pod]{
	resource.Name[*corev1.Pod](),
	resource.Text("Ready", func(p *corev1.Pod) any {
		s := summarize(p)
		return fmt.Sprintf("%d/%d", s.ready, s.total)
	}),
	resource.Text("Status", func(p *corev1.Pod) any { return summarize(p).reason }),
	resource.Text("Restarts", func(p *corev1.Pod) any { return summarize(p).restartText() }),
	resource.Age[*corev1.Pod](),
	resource.Text("IP", func(p *corev1.Pod) any {
		if len(p.Status.PodIPs) > 0 {
			return resource.OrNone(p.Status.PodIPs[0].IP)
		}
		return resource.None
	}).Wide(),
	resource.Text("Node", func(p *corev1.Pod) any { return resource.OrNone(p.Spec.NodeName) }).Wide(),
	resource.Text("Nominated Node", func(p *corev1.Pod) any { return resource.OrNone(p.Status.NominatedNodeName) }).Wide(),
	resource.Text("Readiness Gates", func(p *corev1.Pod) any { return readinessGates(p) }).Wide(),
}

// podSummary is what a pod's row says of its containers together.
type podSummary struct {
	ready, total int
	reason       string
	restarts     int
	// restarted is the end of the container's run before the last, zero if that is not known.
	restarted metav1.Time
}

// summarize condenses the states of all containers into one line, as kubectl users know it: the
// reason of the first init container that holds the pod up, else that of the first container that
// does not run.
func summarize(p *corev1.Pod) podSummary {
	s := podSummary{reason: phaseReason(p), total: len(p.Spec.Containers)}
	sidecars := map[string]bool{}
	for i := range p.Spec.InitContainers {
		if c := &p.Spec.InitContainers[i]; pod.IsSidecar(c) {
			sidecars[c.Name] = true
			s.total++
		}
	}
	var sidecarRuns podSummary
	initializing := s.addInit(p, sidecars, &sidecarRuns)
	if !initializing || conditionTrue(p, corev1.PodInitialized) {
		// Restarts of containers that have done their work no longer count.
		s.restarts, s.restarted = sidecarRuns.restarts, sidecarRuns.restarted
		s.addContainers(p)
	}
	terminal := p.Status.Phase == corev1.PodSucceeded || p.Status.Phase == corev1.PodFailed
	switch {
	case p.DeletionTimestamp == nil:
	case p.Status.Reason == "NodeLost":
		s.reason = string(corev1.PodUnknown)
	case !terminal:
		s.reason = "Terminating"
	}
	return s
}

func phaseReason(p *corev1.Pod) string {
	for _, c := range p.Status.Conditions {
		if c.Type == corev1.PodScheduled && c.Reason == corev1.PodReasonSchedulingGated {
			return corev1.PodReasonSchedulingGated
		}
	}
	return resource.Or(p.Status.Reason, string(p.Status.Phase))
}

// addInit takes in the init containers and tells whether one of them is still to finish.
func (s *podSummary) addInit(p *corev1.Pod, sidecars map[string]bool, sidecarRuns *podSummary) bool {
	for i := range p.Status.InitContainerStatuses {
		c := &p.Status.InitContainerStatuses[i]
		s.addRestarts(c)
		if sidecars[c.Name] {
			sidecarRuns.addRestarts(c)
		}
		ended, waiting := c.State.Terminated, c.State.Waiting
		switch {
		case ended != nil && ended.ExitCode == 0:
			continue
		case sidecars[c.Name] && c.Started != nil && *c.Started:
			if c.Ready {
				s.ready++
			}
			continue
		case ended != nil:
			s.reason = "Init:" + terminationReason(ended)
		case waiting != nil && waiting.Reason != "" && waiting.Reason != "PodInitializing":
			s.reason = "Init:" + waiting.Reason
		default:
			s.reason = fmt.Sprintf("Init:%d/%d", i, len(p.Spec.InitContainers))
		}
		return true
	}
	return false
}

func (s *podSummary) addContainers(p *corev1.Pod) {
	running := false
	for i := len(p.Status.ContainerStatuses) - 1; i >= 0; i-- {
		c := &p.Status.ContainerStatuses[i]
		s.addRestarts(c)
		switch {
		case c.State.Waiting != nil && c.State.Waiting.Reason != "":
			s.reason = c.State.Waiting.Reason
		case c.State.Terminated != nil:
			s.reason = terminationReason(c.State.Terminated)
		case c.Ready && c.State.Running != nil:
			running = true
			s.ready++
		}
	}
	// A container that has finished does not hide those that go on.
	if s.reason == "Completed" && running {
		s.reason = "NotReady"
		if conditionTrue(p, corev1.PodReady) {
			s.reason = string(corev1.PodRunning)
		}
	}
}

func (s *podSummary) addRestarts(c *corev1.ContainerStatus) {
	s.restarts += int(c.RestartCount)
	if last := c.LastTerminationState.Terminated; last != nil && s.restarted.Before(&last.FinishedAt) {
		s.restarted = last.FinishedAt
	}
}

func (s podSummary) restartText() any {
	if s.restarts == 0 || s.restarted.IsZero() {
		return strconv.Itoa(s.restarts)
	}
	return resource.Aged{Format: strconv.Itoa(s.restarts) + " (%s ago)", Since: s.restarted}
}

func terminationReason(t *corev1.ContainerStateTerminated) string {
	switch {
	case t.Reason != "":
		return t.Reason
	case t.Signal != 0:
		return fmt.Sprintf("Signal:%d", t.Signal)
	default:
		return fmt.Sprintf("ExitCode:%d", t.ExitCode)
	}
}

func conditionTrue(p *corev1.Pod, kind corev1.PodConditionType) bool {
	for _, c := range p.Status.Conditions {
		if c.Type == kind {
			return c.Status == corev1.ConditionTrue
		}
	}
	return false
}

func readinessGates(p *corev1.Pod) string {
	if len(p.Spec.ReadinessGates) == 0 {
		return resource.None
	}
	met := 0
	for _, gate := range p.Spec.ReadinessGates {
		if conditionTrue(p, gate.ConditionType) {
			met++
		}
	}
	return fmt.Sprintf("%d/%d", met, len(p.Spec.ReadinessGates))
}

var podTemplateColumns = []resource.Column[*corev1.PodTemplate]{
	resource.Name[*corev1.PodTemplate](),
	shown(pod.ContainerColumns(podTemplateSpec)[0]),
	shown(pod.ContainerColumns(podTemplateSpec)[1]),
	resource.Text("Pod Labels", func(t *corev1.PodTemplate) any { return labels.FormatLabels(t.Template.Labels) }),
}

func podTemplateSpec(t *corev1.PodTemplate) *corev1.PodSpec { return &t.Template.Spec }

// shown undoes Wide.
func shown[T any](c resource.Column[T]) resource.Column[T] {
	c.Priority = 0
	return c
}

var replicationControllerColumns = append([]resource.Column[*corev1.ReplicationController]{
	resource.Name[*corev1.ReplicationController](),
	resource.Number("Desired", func(o *corev1.ReplicationController) int32 { return orZero(o.Spec.Replicas) }),
	resource.Number("Current", func(o *corev1.ReplicationController) int32 { return o.Status.Replicas }),
	resource.Number("Ready", func(o *corev1.ReplicationController) int32 { return o.Status.ReadyReplicas }),
	resource.Age[*corev1.ReplicationController](),
}, append(pod.ContainerColumns(func(o *corev1.ReplicationController) *corev1.PodSpec {
	if o.Spec.Template == nil {
		return nil
	}
	return &o.Spec.Template.Spec
}), resource.Text("Selector", func(o *corev1.ReplicationController) any {
	return labels.FormatLabels(o.Spec.Selector)
}).Wide())...)
