package main

import (
	"context"
	"errors"
	"fmt"
	"time"

	corev1 "k8s.io/api/core/v1"
	schedulingv1 "k8s.io/api/scheduling/v1"
	"k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
)

const (
	schedulingNodes = 5000
	schedulingPods  = 2000
	preemptingPods  = 500
)

// workloads are the kinds of pods whose scheduling is measured. All pods of one have the label app with its name.
var workloads = []struct {
	name   string
	change func(*corev1.PodSpec, *metav1.LabelSelector)
}{
	{"plain", func(*corev1.PodSpec, *metav1.LabelSelector) {}},
	{"spread", func(s *corev1.PodSpec, own *metav1.LabelSelector) {
		s.TopologySpreadConstraints = []corev1.TopologySpreadConstraint{{MaxSkew: 5, TopologyKey: corev1.LabelTopologyZone, WhenUnsatisfiable: corev1.DoNotSchedule, LabelSelector: own}}
	}},
	{"affinity", func(s *corev1.PodSpec, own *metav1.LabelSelector) {
		s.Affinity = &corev1.Affinity{PodAffinity: &corev1.PodAffinity{RequiredDuringSchedulingIgnoredDuringExecution: []corev1.PodAffinityTerm{
			{TopologyKey: corev1.LabelTopologyZone, LabelSelector: own}}}}
	}},
	{"anti-affinity", func(s *corev1.PodSpec, own *metav1.LabelSelector) {
		s.Affinity = &corev1.Affinity{PodAntiAffinity: &corev1.PodAntiAffinity{RequiredDuringSchedulingIgnoredDuringExecution: []corev1.PodAffinityTerm{
			{TopologyKey: corev1.LabelHostname, LabelSelector: own}}}}
	}},
}

// measureScheduling tells how many pods a second are created and bound to 5,000 nodes, and how many make room for
// themselves.
func measureScheduling(ctx context.Context, e *env) ([]result, error) {
	ctx, cancel := context.WithTimeout(ctx, 10*time.Minute)
	defer cancel()
	s, err := e.newStage(ctx, schedulingNodes, "--cpu", "32", "--memory", "256Gi", "--zones", "a,b,c")
	if err != nil {
		return nil, err
	}
	defer s.stop()
	var results []result
	for _, w := range workloads {
		took, err := s.place(ctx, w.name, schedulingPods, func(p *corev1.Pod) {
			w.change(&p.Spec, &metav1.LabelSelector{MatchLabels: p.Labels})
			p.Spec.Containers[0].Resources.Requests = corev1.ResourceList{corev1.ResourceCPU: resource.MustParse("10m")}
		})
		if err != nil {
			return results, fmt.Errorf("placing pods (%s): %w", w.name, err)
		}
		results = append(results, rate("Scheduling, 5,000 nodes, pods: "+w.name, schedulingPods, took))
	}
	took, err := s.preempt(ctx)
	if err != nil {
		return results, fmt.Errorf("preempting: %w", err)
	}
	return append(results, rate("Scheduling, 5,000 full nodes, by preemption", preemptingPods, took)), nil
}

func rate(measure string, count int, took time.Duration) result {
	return result{measure, "83/s (Deployment, 1,000 nodes)", "250/s", fmt.Sprintf("%.0f/s", float64(count)/took.Seconds())}
}

// place creates pods and waits until all are bound.
func (s *stage) place(ctx context.Context, name string, count int, change func(*corev1.Pod)) (time.Duration, error) {
	w, err := watchPods(ctx, s.cs, metav1.NamespaceDefault, metav1.ListOptions{LabelSelector: "app=" + name})
	if err != nil {
		return 0, err
	}
	defer w.Stop()
	begin := time.Now()
	created := make(chan error, 1)
	go func() {
		created <- inParallel(16, count, func(_, i int) error {
			p := &corev1.Pod{ObjectMeta: metav1.ObjectMeta{Name: fmt.Sprintf("%s-%d", name, i), Labels: map[string]string{"app": name}}}
			p.Spec.Containers = []corev1.Container{{Name: "main", Image: "none"}}
			p.Spec.TerminationGracePeriodSeconds = new(int64)
			change(p)
			_, err := s.cs.CoreV1().Pods(metav1.NamespaceDefault).Create(ctx, p, metav1.CreateOptions{})
			return err
		})
	}()
	bound := map[types.UID]bool{}
	for len(bound) < count {
		select {
		case e, open := <-w.ResultChan():
			if !open {
				return 0, errors.New("the watch ended")
			}
			if p, is := e.Object.(*corev1.Pod); is && p.Spec.NodeName != "" {
				bound[p.UID] = true
			}
		case err := <-created:
			if err != nil {
				return 0, err
			}
			created = nil
		case <-ctx.Done():
			return 0, ctx.Err()
		}
	}
	return time.Since(begin), nil
}

// preempt fills each node with a pod that asks for most of it, and places more important ones.
func (s *stage) preempt(ctx context.Context) (time.Duration, error) {
	most := func(p *corev1.Pod) {
		p.Spec.Containers[0].Resources.Requests = corev1.ResourceList{corev1.ResourceCPU: resource.MustParse("30")}
	}
	high := &schedulingv1.PriorityClass{ObjectMeta: metav1.ObjectMeta{Name: "bench-high"}, Value: 1000}
	if _, err := s.cs.SchedulingV1().PriorityClasses().Create(ctx, high, metav1.CreateOptions{}); err != nil {
		return 0, err
	}
	if _, err := s.place(ctx, "filler", schedulingNodes, most); err != nil {
		return 0, err
	}
	return s.place(ctx, "important", preemptingPods, func(p *corev1.Pod) {
		most(p)
		p.Spec.PriorityClassName = high.Name
	})
}
