package clustertest_test

import (
	"fmt"
	"testing"
	"time"

	batchv1 "k8s.io/api/batch/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	clocktesting "k8s.io/utils/clock/testing"

	"coracle.dev/coracle/cluster/clustertest"
	"coracle.dev/coracle/nodeagent/simulate"
)

// TestTimeIsTheTests lets a day pass in a moment.
func TestTimeIsTheTests(t *testing.T) {
	clock := clocktesting.NewFakeClock(time.Now())
	cs := clientset(t, clustertest.New(t, clustertest.WithClock(clock)))
	job := &batchv1.Job{ObjectMeta: metav1.ObjectMeta{Name: "slow"}, Spec: batchv1.JobSpec{
		TTLSecondsAfterFinished: new(int32(3600)), Template: template("slow", map[string]string{simulate.FinishAfter: "20h"}),
	}}
	job.Spec.Template.Spec.RestartPolicy = corev1.RestartPolicyNever
	jobs := cs.BatchV1().Jobs("default")
	if _, err := jobs.Create(t.Context(), job, metav1.CreateOptions{}); err != nil {
		t.Fatal(err)
	}
	w, err := jobs.Watch(t.Context(), metav1.ListOptions{FieldSelector: "metadata.name=slow", TimeoutSeconds: new(int64(60))})
	if err != nil {
		t.Fatal(err)
	}
	defer w.Stop()
	eventually(t, cs.BatchV1().RESTClient(), "jobs", "slow", &batchv1.Job{}, func(j *batchv1.Job) error {
		if j.Status.Ready == nil || *j.Status.Ready != 1 || j.Status.Succeeded != 0 {
			return fmt.Errorf("its status is %+v", j.Status)
		}
		return nil
	})
	clock.Step(20 * time.Hour)
	eventually(t, cs.BatchV1().RESTClient(), "jobs", "slow", &batchv1.Job{}, func(j *batchv1.Job) error {
		if j.Status.CompletionTime == nil {
			return fmt.Errorf("its status is %+v", j.Status)
		}
		if took := j.Status.CompletionTime.Sub(j.Status.StartTime.Time).Round(time.Minute); took != 20*time.Hour {
			t.Errorf("it took %v, want 20h", took)
		}
		return nil
	})
	// The controller may not have seen the end yet when the clock moves first, and then comes back later.
	tick := time.NewTicker(100 * time.Millisecond)
	defer tick.Stop()
	for {
		select {
		case e, open := <-w.ResultChan():
			if !open {
				t.Fatal("the job is still there an hour after its end")
			}
			if e.Type == "DELETED" {
				return
			}
		case <-tick.C:
			clock.Step(time.Hour)
		}
	}
}
