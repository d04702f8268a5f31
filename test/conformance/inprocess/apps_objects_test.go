package inprocess

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"testing"

	appsv1 "k8s.io/api/apps/v1"
	batchv1 "k8s.io/api/batch/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
)

// The annotations by which pods on simulated nodes say what they do.
const (
	simReady  = "simulation.coracle.dev/ready"
	simFinish = "simulation.coracle.dev/finish-after"
	simExit   = "simulation.coracle.dev/exit-code"
)

func templateOf(app string, annotations ...string) corev1.PodTemplateSpec {
	return corev1.PodTemplateSpec{
		ObjectMeta: metav1.ObjectMeta{Labels: map[string]string{"app": app}, Annotations: pairs(annotations)},
		Spec:       corev1.PodSpec{TerminationGracePeriodSeconds: new(int64(1)), Containers: []corev1.Container{{Name: "main", Image: "app:1"}}},
	}
}

func selectorOf(app string) *metav1.LabelSelector {
	return &metav1.LabelSelector{MatchLabels: map[string]string{"app": app}}
}

func deployment(name string, n int32) *appsv1.Deployment {
	return &appsv1.Deployment{ObjectMeta: metav1.ObjectMeta{Name: name}, Spec: appsv1.DeploymentSpec{Replicas: &n, Selector: selectorOf(name), Template: templateOf(name)}}
}

func replicaSet(name string, n int32) *appsv1.ReplicaSet {
	return &appsv1.ReplicaSet{ObjectMeta: metav1.ObjectMeta{Name: name}, Spec: appsv1.ReplicaSetSpec{Replicas: &n, Selector: selectorOf(name), Template: templateOf(name)}}
}

func replicationController(name string, n int32) *corev1.ReplicationController {
	return &corev1.ReplicationController{ObjectMeta: metav1.ObjectMeta{Name: name}, Spec: corev1.ReplicationControllerSpec{Replicas: &n, Selector: map[string]string{"app": name}, Template: new(templateOf(name))}}
}

func statefulSet(name string, n int32) *appsv1.StatefulSet {
	return &appsv1.StatefulSet{ObjectMeta: metav1.ObjectMeta{Name: name}, Spec: appsv1.StatefulSetSpec{Replicas: &n, ServiceName: name, Selector: selectorOf(name), Template: templateOf(name)}}
}

func daemonSet(name string) *appsv1.DaemonSet {
	return &appsv1.DaemonSet{ObjectMeta: metav1.ObjectMeta{Name: name}, Spec: appsv1.DaemonSetSpec{Selector: selectorOf(name), Template: templateOf(name)}}
}

func job(name string, parallelism, completions int32, annotations ...string) *batchv1.Job {
	j := &batchv1.Job{ObjectMeta: metav1.ObjectMeta{Name: name}, Spec: batchv1.JobSpec{Parallelism: &parallelism, Completions: &completions, Template: templateOf(name, annotations...)}}
	j.Spec.Template.Spec.RestartPolicy = corev1.RestartPolicyNever
	return j
}

// pods lists those of an app that are not being deleted, by name.
func (e *env) pods(ctx context.Context, ns, app string) (map[string]corev1.Pod, error) {
	list, err := e.CoreV1().Pods(ns).List(ctx, metav1.ListOptions{LabelSelector: "app=" + app})
	if err != nil {
		return nil, err
	}
	found := map[string]corev1.Pod{}
	for _, p := range list.Items {
		if p.DeletionTimestamp == nil {
			found[p.Name] = p
		}
	}
	return found, nil
}

// awaitPods waits until an app has just n pods, all ready, and returns them.
func (e *env) awaitPods(t *testing.T, ns, app string, n int) map[string]corev1.Pod {
	t.Helper()
	var pods map[string]corev1.Pod
	eventually(t, fmt.Sprintf("%s has %d ready pods", app, n), func(ctx context.Context) (err error) {
		if pods, err = e.pods(ctx, ns, app); err != nil {
			return err
		}
		if len(pods) != n {
			return fmt.Errorf("it has %v", slices.Sorted(maps.Keys(pods)))
		}
		for name, p := range pods {
			if !readyPod(&p) {
				return fmt.Errorf("%s is not ready", name)
			}
		}
		return nil
	})
	return pods
}

func readyPod(p *corev1.Pod) bool {
	return slices.ContainsFunc(p.Status.Conditions, func(c corev1.PodCondition) bool {
		return c.Type == corev1.PodReady && c.Status == corev1.ConditionTrue
	})
}

// setReady makes a simulated pod ready or not.
func (e *env) setReady(t *testing.T, ns, pod string, is bool) {
	t.Helper()
	patch := fmt.Sprintf(`{"metadata":{"annotations":{%q:"%v"}}}`, simReady, is)
	must(e.CoreV1().Pods(ns).Patch(t.Context(), pod, types.MergePatchType, []byte(patch), metav1.PatchOptions{}))(t)
	eventually(t, fmt.Sprintf("%s is ready: %v", pod, is), func(ctx context.Context) error {
		p, err := e.CoreV1().Pods(ns).Get(ctx, pod, metav1.GetOptions{})
		if err == nil && readyPod(p) != is {
			err = errors.New("it is not so")
		}
		return err
	})
}

// awaitJob waits for a condition of a job.
func (e *env) awaitJob(t *testing.T, ns, name string, kind batchv1.JobConditionType) *batchv1.Job {
	t.Helper()
	var j *batchv1.Job
	eventually(t, fmt.Sprintf("job %s is %s", name, kind), func(ctx context.Context) (err error) {
		if j, err = e.BatchV1().Jobs(ns).Get(ctx, name, metav1.GetOptions{}); err != nil {
			return err
		}
		if slices.ContainsFunc(j.Status.Conditions, func(c batchv1.JobCondition) bool { return c.Type == kind && c.Status == corev1.ConditionTrue }) {
			return nil
		}
		return fmt.Errorf("its status is %+v", j.Status)
	})
	return j
}

func names(pods map[string]corev1.Pod) string {
	return strings.Join(slices.Sorted(maps.Keys(pods)), " ")
}
