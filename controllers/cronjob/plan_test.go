package cronjob

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	batchv1 "k8s.io/api/batch/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
)

// at is a time of one day.
func at(clock string) time.Time {
	t, err := time.Parse("2006-01-02 15:04:05", "2026-01-02 "+clock)
	if err != nil {
		panic(err)
	}
	return t
}

func cronJob(schedule string, change ...func(*batchv1.CronJob)) *batchv1.CronJob {
	cj := &batchv1.CronJob{
		ObjectMeta: metav1.ObjectMeta{Namespace: "ns", Name: "cj", UID: "cj", CreationTimestamp: metav1.NewTime(at("10:00:30"))},
		Spec: batchv1.CronJobSpec{Schedule: schedule, TimeZone: new("UTC"), ConcurrencyPolicy: batchv1.AllowConcurrent,
			SuccessfulJobsHistoryLimit: new(int32(2)), FailedJobsHistoryLimit: new(int32(1))},
	}
	for _, f := range change {
		f(cj)
	}
	return cj
}

func last(clock string) func(*batchv1.CronJob) {
	return func(cj *batchv1.CronJob) { cj.Status.LastScheduleTime = &metav1.Time{Time: at(clock)} }
}
func policy(p batchv1.ConcurrencyPolicy) func(*batchv1.CronJob) {
	return func(cj *batchv1.CronJob) { cj.Spec.ConcurrencyPolicy = p }
}
func deadline(s int64) func(*batchv1.CronJob) {
	return func(cj *batchv1.CronJob) { cj.Spec.StartingDeadlineSeconds = &s }
}
func active(names ...string) func(*batchv1.CronJob) {
	return func(cj *batchv1.CronJob) {
		for _, n := range names {
			cj.Status.Active = append(cj.Status.Active, reference(job(n, "")))
		}
	}
}
func zone(tz string) func(*batchv1.CronJob) {
	return func(cj *batchv1.CronJob) { cj.Spec.TimeZone = &tz }
}

// job makes a job that was started by schedule at "HH:MM", and ended in the
// given condition, or not.
func job(clock string, end batchv1.JobConditionType) *batchv1.Job {
	j := newJob(cronJob("* * * * *"), at(clock+":00"))
	j.Name, j.UID = clock, types.UID(clock)
	j.Status.StartTime = &metav1.Time{Time: at(clock + ":00")}
	if end != "" {
		j.Status.Conditions = []batchv1.JobCondition{{Type: end, Status: corev1.ConditionTrue}}
		if end == batchv1.JobComplete {
			j.Status.CompletionTime = &metav1.Time{Time: at(clock + ":20")}
		}
	}
	return j
}

// summary is what a plan does, as "+name -replaced ~cleaned [active] !Reason".
func summary(a actions) string {
	var words []string
	for _, j := range a.replace {
		words = append(words, "-"+j.Name)
	}
	if a.create != nil {
		words = append(words, "+"+a.at.Format("15:04:05"))
	}
	for _, j := range a.clean {
		words = append(words, "~"+j.Name)
	}
	for _, ref := range a.status.Active {
		words = append(words, "["+ref.Name+"]")
	}
	for _, e := range a.events {
		words = append(words, "!"+e.reason)
	}
	return strings.Join(words, " ")
}

func TestPlan(t *testing.T) {
	const complete, failed = batchv1.JobComplete, batchv1.JobFailed
	for _, tc := range []struct {
		name    string
		cronJob *batchv1.CronJob
		jobs    []*batchv1.Job
		now     string
		want    string
		after   time.Duration
	}{
		{"not due", cronJob("*/5 * * * *"), nil, "10:03:00", "", 2*time.Minute + slack},
		{"due", cronJob("*/5 * * * *"), nil, "10:05:00", "+10:05:00", 5*time.Minute + slack},
		{"due, a little late", cronJob("*/5 * * * *", last("10:00:00")), nil, "10:06:00", "+10:05:00", 4*time.Minute + slack},
		{"done", cronJob("*/5 * * * *", last("10:05:00")), nil, "10:06:00", "", 4*time.Minute + slack},
		{"done, though only the job says so", cronJob("*/5 * * * *"), []*batchv1.Job{job("10:05", "")}, "10:06:00", "[10:05]", 4*time.Minute + slack},
		{"the latest of those missed", cronJob("* * * * *"), nil, "11:00:05", "+11:00:00", 55*time.Second + slack},
		{"too many missed", cronJob("* * * * *"), nil, "23:00:05", "+23:00:00 !TooManyMissedTimes", 55*time.Second + slack},
		{"not too many within the deadline", cronJob("* * * * *", deadline(100)), nil, "23:00:05", "+23:00:00", 55*time.Second + slack},
		{"every so often", cronJob("@every 90s"), nil, "10:02:00", "+10:02:00", 90*time.Second + slack},
		{"in another zone", cronJob("0 12 * * *", zone("Europe/Berlin")), nil, "11:00:00", "+11:00:00", 24*time.Hour + slack},
		{"in an unknown zone", cronJob("0 12 * * *", zone("Nowhere/Land")), nil, "11:00:00", "!UnknownTimeZone", 0},
		{"past the deadline", cronJob("0 * * * *", deadline(10)), nil, "11:00:30", "", 59*time.Minute + 30*time.Second + slack},
		{"not readable", cronJob("never"), nil, "11:00:00", "!UnparseableSchedule", 0},
		{"suspended", cronJob("* * * * *", func(cj *batchv1.CronJob) { cj.Spec.Suspend = new(true) }), nil, "11:00:00", "", 0},
		{"allows another", cronJob("*/5 * * * *", last("10:05:00"), active("10:05")), []*batchv1.Job{job("10:05", "")}, "10:10:00", "+10:10:00 [10:05]", 5*time.Minute + slack},
		{"forbids another", cronJob("*/5 * * * *", last("10:05:00"), active("10:05"), policy(batchv1.ForbidConcurrent)), []*batchv1.Job{job("10:05", "")}, "10:10:00", "[10:05] !JobAlreadyActive", 5*time.Minute + slack},
		{"forbids another, though only the job says so", cronJob("*/5 * * * *", policy(batchv1.ForbidConcurrent)), []*batchv1.Job{job("10:05", "")}, "10:10:00", "[10:05] !JobAlreadyActive", 5*time.Minute + slack},
		{"replaces it", cronJob("*/5 * * * *", last("10:05:00"), active("10:05"), policy(batchv1.ReplaceConcurrent)), []*batchv1.Job{job("10:05", "")}, "10:10:00", "-10:05 +10:10:00", 5*time.Minute + slack},
		{"one completes", cronJob("0 0 * * *", active("10:05")), []*batchv1.Job{job("10:05", complete)}, "10:06:00", "!SawCompletedJob", 13*time.Hour + 54*time.Minute + slack},
		{"one is gone", cronJob("0 0 * * *", active("10:05")), nil, "10:06:00", "!MissingJob", 13*time.Hour + 54*time.Minute + slack},
		{"cleans up", cronJob("0 0 * * *"), []*batchv1.Job{job("10:04", complete), job("10:01", complete), job("10:02", complete), job("10:03", failed), job("10:05", failed)},
			"10:06:00", "~10:01 ~10:03", 13*time.Hour + 54*time.Minute + slack},
	} {
		t.Run(tc.name, func(t *testing.T) {
			o := observed{cronJob: tc.cronJob, jobs: tc.jobs, gone: map[types.UID]bool{}}
			if len(tc.jobs) == 0 {
				o.gone["10:05"] = true
			}
			a := plan(o, at(tc.now))
			got := strings.Fields(summary(a))
			if diff := cmp.Diff(strings.Fields(tc.want), got, cmp.Transformer("set", func(words []string) map[string]bool {
				set := map[string]bool{}
				for _, w := range words {
					set[w] = true
				}
				return set
			})); diff != "" {
				t.Errorf("does %v (-want +got):\n%s", got, diff)
			}
			if a.after != tc.after {
				t.Errorf("looks again after %v, not %v", a.after, tc.after)
			}
		})
	}
}

func TestFollow(t *testing.T) {
	o := observed{cronJob: cronJob("0 0 * * *", active("10:05")), jobs: []*batchv1.Job{job("10:05", batchv1.JobComplete)}}
	st := plan(o, at("10:06:00")).status
	if st.LastSuccessfulTime == nil || !st.LastSuccessfulTime.Equal(&metav1.Time{Time: at("10:05:20")}) || !st.LastScheduleTime.Equal(&metav1.Time{Time: at("10:05:00")}) {
		t.Errorf("status is %+v", st)
	}
	manual := job("10:05", "")
	manual.Annotations = nil
	o.cronJob, o.jobs = cronJob("0 0 * * *"), []*batchv1.Job{manual}
	if got := summary(plan(o, at("10:06:00"))); got != "!UnexpectedJob" {
		t.Errorf("of a job that a user started: %s", got)
	}
}

func TestNewJob(t *testing.T) {
	cj := cronJob("0 0 * * *", zone("Asia/Kolkata"))
	cj.Spec.JobTemplate.Labels = map[string]string{"a": "b"}
	cj.Spec.JobTemplate.Annotations = map[string]string{"c": "d"}
	j := newJob(cj, at("10:05:00"))
	if j.Name != fmt.Sprint("cj-", at("10:05:00").Unix()/60) || j.Labels["a"] != "b" || !metav1.IsControlledBy(j, cj) {
		t.Errorf("job is %+v", j.ObjectMeta)
	}
	if diff := cmp.Diff(map[string]string{"c": "d", "batch.kubernetes.io/cronjob-scheduled-timestamp": "2026-01-02T15:35:00+05:30"}, j.Annotations); diff != "" {
		t.Errorf("annotations (-want +got):\n%s", diff)
	}
	if cj.Spec.JobTemplate.Annotations["batch.kubernetes.io/cronjob-scheduled-timestamp"] != "" {
		t.Error("the template was changed")
	}
}
