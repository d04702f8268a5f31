package inprocess

import (
	"context"
	"fmt"
	"testing"

	batchv1 "k8s.io/api/batch/v1"
	corev1 "k8s.io/api/core/v1"
	policyv1 "k8s.io/api/policy/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
)

func TestJobs(t *testing.T) {
	e := cluster(t)
	background := metav1.DeleteOptions{PropagationPolicy: new(metav1.DeletePropagationBackground)}
	parallel(t, []subtest{
		{"adopts orphans and releases pods", func(t *testing.T) {
			ns := e.settled(t)
			must(e.BatchV1().Jobs(ns).Create(t.Context(), job("sum", 2, 2, simFinish, "never"), metav1.CreateOptions{}))(t)
			pods := e.awaitPods(t, ns, "sum", 2)
			for name := range pods {
				must(e.CoreV1().Pods(ns).Patch(t.Context(), name, types.MergePatchType, []byte(`{"metadata":{"ownerReferences":null}}`), metav1.PatchOptions{}))(t)
				owned := func(want int) func(context.Context) error {
					return func(ctx context.Context) error {
						p, err := e.CoreV1().Pods(ns).Get(ctx, name, metav1.GetOptions{})
						if err == nil && len(p.OwnerReferences) != want {
							err = fmt.Errorf("its owners are %v", p.OwnerReferences)
						}
						return err
					}
				}
				eventually(t, "the orphan is adopted", owned(1))
				must(e.CoreV1().Pods(ns).Patch(t.Context(), name, types.MergePatchType, []byte(`{"metadata":{"labels":null}}`), metav1.PatchOptions{}))(t)
				eventually(t, "the pod without its labels is released", owned(0))
				break
			}
		}},
		{"evictions are ignored by policy", func(t *testing.T) {
			ns := e.settled(t)
			j := job("sum", 2, 2, simFinish, "5s")
			j.Spec.CompletionMode, j.Spec.BackoffLimit = new(batchv1.IndexedCompletion), new(int32(0))
			j.Spec.PodFailurePolicy = &batchv1.PodFailurePolicy{Rules: []batchv1.PodFailurePolicyRule{{Action: batchv1.PodFailurePolicyActionIgnore,
				OnPodConditions: []batchv1.PodFailurePolicyOnPodConditionsPattern{{Type: corev1.DisruptionTarget}}}}}
			must(e.BatchV1().Jobs(ns).Create(t.Context(), j, metav1.CreateOptions{}))(t)
			for name := range e.awaitPods(t, ns, "sum", 2) {
				if err := e.CoreV1().Pods(ns).EvictV1(t.Context(), &policyv1.Eviction{ObjectMeta: metav1.ObjectMeta{Name: name}}); err != nil {
					t.Fatal(err)
				}
			}
			if j := e.awaitJob(t, ns, "sum", batchv1.JobComplete); j.Status.Failed != 0 || j.Status.CompletedIndexes != "0,1" {
				t.Errorf("its status is %+v", j.Status)
			}
		}},
		{"status", func(t *testing.T) {
			ns := e.settled(t)
			api := e.BatchV1().Jobs(ns)
			must(api.Create(t.Context(), job("sum", 1, 1, simFinish, "never"), metav1.CreateOptions{}))(t)
			e.awaitPods(t, ns, "sum", 1)
			patched := must(api.Patch(t.Context(), "sum", types.MergePatchType, []byte(`{"metadata":{"annotations":{"patched":"yes"}},"status":{"conditions":[{"type":"Tested","status":"True"}]}}`), metav1.PatchOptions{}, "status"))(t)
			if patched.Annotations["patched"] != "yes" {
				t.Errorf("after a patch of the status its annotations are %v", patched.Annotations)
			}
			eventually(t, "the status is updated", func(ctx context.Context) error {
				j := must(api.Get(ctx, "sum", metav1.GetOptions{}))(t)
				j.Status.Conditions = append(j.Status.Conditions, batchv1.JobCondition{Type: "Again", Status: corev1.ConditionTrue})
				_, err := api.UpdateStatus(ctx, j, metav1.UpdateOptions{})
				return err
			})
			var read batchv1.Job
			if err := e.BatchV1().RESTClient().Get().Namespace(ns).Resource("jobs").Name("sum").SubResource("status").Do(t.Context()).Into(&read); err != nil {
				t.Fatal(err)
			}
			found := map[batchv1.JobConditionType]bool{}
			for _, c := range read.Status.Conditions {
				found[c.Type] = true
			}
			if !found["Tested"] || !found["Again"] {
				t.Errorf("the conditions are %v", read.Status.Conditions)
			}
		}},
		{"CronJob status", func(t *testing.T) {
			ns := e.settled(t)
			api := e.BatchV1().CronJobs(ns)
			cj := &batchv1.CronJob{ObjectMeta: metav1.ObjectMeta{Name: "rare"}, Spec: batchv1.CronJobSpec{Schedule: "0 0 29 2 *", JobTemplate: batchv1.JobTemplateSpec{Spec: job("sum", 1, 1).Spec}}}
			must(api.Create(t.Context(), cj, metav1.CreateOptions{}))(t)
			patched := must(api.Patch(t.Context(), "rare", types.MergePatchType, []byte(`{"status":{"lastScheduleTime":"2024-02-29T00:00:00Z"}}`), metav1.PatchOptions{}, "status"))(t)
			if patched.Status.LastScheduleTime.UTC().Year() != 2024 {
				t.Errorf("after a patch the status is %+v", patched.Status)
			}
			eventually(t, "the status is updated", func(ctx context.Context) error {
				cj := must(api.Get(ctx, "rare", metav1.GetOptions{}))(t)
				cj.Status.LastSuccessfulTime = cj.Status.LastScheduleTime
				_, err := api.UpdateStatus(ctx, cj, metav1.UpdateOptions{})
				return err
			})
			if cj := must(api.Get(t.Context(), "rare", metav1.GetOptions{}))(t); cj.Status.LastSuccessfulTime == nil || cj.Status.LastScheduleTime == nil {
				t.Errorf("after an update the status is %+v", cj.Status)
			}
		}},
		{"indexed", func(t *testing.T) {
			ns := e.settled(t)
			j := job("sum", 2, 4)
			j.Spec.CompletionMode = new(batchv1.IndexedCompletion)
			must(e.BatchV1().Jobs(ns).Create(t.Context(), j, metav1.CreateOptions{}))(t)
			if j := e.awaitJob(t, ns, "sum", batchv1.JobComplete); j.Status.CompletedIndexes != "0-3" || j.Status.Succeeded != 4 {
				t.Errorf("its status is %+v", j.Status)
			}
			seen := map[string]bool{}
			for name, p := range must(e.pods(t.Context(), ns, "sum"))(t) {
				index := p.Annotations[batchv1.JobCompletionIndexAnnotation]
				seen[index] = true
				if p.Spec.Hostname != "sum-"+index || p.Spec.Containers[0].Env[0].Name != "JOB_COMPLETION_INDEX" {
					t.Errorf("pod %s has host name %s and environment %v", name, p.Spec.Hostname, p.Spec.Containers[0].Env)
				}
			}
			if len(seen) != 4 {
				t.Errorf("the indexes are %v", seen)
			}
		}},
		{"deleted with its pods", func(t *testing.T) {
			ns := e.settled(t)
			must(e.BatchV1().Jobs(ns).Create(t.Context(), job("sum", 2, 4, simFinish, "never"), metav1.CreateOptions{}))(t)
			e.awaitPods(t, ns, "sum", 2)
			if err := e.BatchV1().Jobs(ns).Delete(t.Context(), "sum", metav1.DeleteOptions{PropagationPolicy: new(metav1.DeletePropagationForeground)}); err != nil {
				t.Fatal(err)
			}
			eventually(t, "job and pods are gone", func(ctx context.Context) error {
				list, err := e.CoreV1().Pods(ns).List(ctx, metav1.ListOptions{})
				if err != nil || len(list.Items) > 0 {
					return fmt.Errorf("%d pods are left: %w", len(list.Items), err)
				}
				if _, err := e.BatchV1().Jobs(ns).Get(ctx, "sum", metav1.GetOptions{}); !apierrors.IsNotFound(err) {
					return fmt.Errorf("getting the job: %w", err)
				}
				return nil
			})
		}},
		{"lifecycle", func(t *testing.T) {
			ns := e.settled(t)
			api := e.BatchV1().Jobs(ns)
			j := job("sum", 1, 1)
			j.Spec.Suspend, j.Labels = new(true), map[string]string{"lifecycle": ns}
			must(api.Create(t.Context(), j, metav1.CreateOptions{}))(t)
			patched := must(api.Patch(t.Context(), "sum", types.StrategicMergePatchType, []byte(`{"metadata":{"labels":{"patched":"yes"}}}`), metav1.PatchOptions{}))(t)
			if patched.Labels["patched"] != "yes" {
				t.Errorf("after a patch its labels are %v", patched.Labels)
			}
			eventually(t, "the job is replaced", func(ctx context.Context) error {
				j := must(api.Get(ctx, "sum", metav1.GetOptions{}))(t)
				j.Annotations, j.Spec.Suspend = map[string]string{"updated": "yes"}, new(false)
				updated, err := api.Update(ctx, j, metav1.UpdateOptions{})
				if err == nil && updated.Annotations["updated"] != "yes" {
					t.Errorf("after an update its annotations are %v", updated.Annotations)
				}
				return err
			})
			e.awaitJob(t, ns, "sum", batchv1.JobComplete)
			mine := metav1.ListOptions{LabelSelector: "lifecycle=" + ns}
			if n := len(must(e.BatchV1().Jobs("").List(t.Context(), mine))(t).Items); n != 1 {
				t.Errorf("%d jobs are listed", n)
			}
			if err := api.DeleteCollection(t.Context(), background, mine); err != nil {
				t.Fatal(err)
			}
			if n := len(must(e.BatchV1().Jobs("").List(t.Context(), mine))(t).Items); n != 0 {
				t.Errorf("%d jobs are left", n)
			}
		}},
		{"containers that fail are restarted in place", func(t *testing.T) {
			ns := e.settled(t)
			j := job("sum", 2, 4, simExit, "1,0")
			j.Spec.Template.Spec.RestartPolicy = corev1.RestartPolicyOnFailure
			must(e.BatchV1().Jobs(ns).Create(t.Context(), j, metav1.CreateOptions{}))(t)
			if j := e.awaitJob(t, ns, "sum", batchv1.JobComplete); j.Status.Succeeded != 4 || j.Status.Failed != 0 {
				t.Errorf("its status is %+v", j.Status)
			}
		}},
	})
}
