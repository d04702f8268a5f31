package cronjob

import (
	"cmp"
	"errors"
	"fmt"
	"maps"
	"slices"
	"time"

	batchv1 "k8s.io/api/batch/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
)

// slack is how long after a scheduled time the next pass is, so that it is not
// just before it.
const slack = 100 * time.Millisecond

// observed is what a pass knows. Nothing of it is changed.
type observed struct {
	cronJob *batchv1.CronJob
	jobs    []*batchv1.Job
	// gone are jobs of the status that there are no longer.
	gone map[types.UID]bool
}

// actions are what a pass does, in this order.
type actions struct {
	// replace are jobs that make room for the one to be created.
	replace []*batchv1.Job
	create  *batchv1.Job
	// at is the time that create is for.
	at time.Time
	// status is the new status, without the job to be created.
	status batchv1.CronJobStatus
	// clean are finished jobs beyond the history's limits.
	clean  []*batchv1.Job
	events []notice
	// after is when the cron job is to be looked at again; zero: on events.
	after time.Duration
}

// notice is an event to be told.
type notice struct{ kind, reason, message string }

type pass struct {
	observed
	now time.Time
	out actions
}

// plan decides what is to be done for a cron job.
func plan(o observed, now time.Time) actions {
	p := &pass{observed: o, now: now}
	p.out.status = *o.cronJob.Status.DeepCopy()
	p.follow()
	p.clean()
	if o.cronJob.DeletionTimestamp == nil {
		p.schedule()
	}
	return p.out
}

// follow brings the status up to what became of the jobs.
func (p *pass) follow() {
	st := &p.out.status
	children := map[types.UID]bool{}
	for _, j := range p.jobs {
		children[j.UID] = true
		p.followJob(j)
	}
	st.Active = slices.DeleteFunc(st.Active, func(ref corev1.ObjectReference) bool {
		missing := !children[ref.UID] && p.gone[ref.UID]
		if missing {
			p.event(corev1.EventTypeNormal, "MissingJob", "Active job went missing: %v", ref.Name)
		}
		return missing
	})
}

func (p *pass) followJob(j *batchv1.Job) {
	st := &p.out.status
	i := slices.IndexFunc(st.Active, func(ref corev1.ObjectReference) bool { return ref.UID == j.UID })
	end := finished(j)
	at, scheduled := scheduledTime(j)
	if scheduled && (st.LastScheduleTime == nil || at.After(st.LastScheduleTime.Time)) {
		st.LastScheduleTime = &metav1.Time{Time: at}
	}
	switch {
	case i < 0 && end == "" && scheduled && j.DeletionTimestamp == nil:
		st.Active = append(st.Active, reference(j))
	case i < 0 && end == "" && !scheduled && j.DeletionTimestamp == nil:
		p.event(corev1.EventTypeWarning, "UnexpectedJob", "Saw a job that the controller did not create or forgot: %s", j.Name)
	case i >= 0 && end != "":
		st.Active = slices.Delete(st.Active, i, i+1)
		p.event(corev1.EventTypeNormal, "SawCompletedJob", "Saw completed job: %s, condition: %v", j.Name, end)
	}
	if end == batchv1.JobComplete && j.Status.CompletionTime != nil &&
		(st.LastSuccessfulTime == nil || j.Status.CompletionTime.After(st.LastSuccessfulTime.Time)) {
		st.LastSuccessfulTime = j.Status.CompletionTime.DeepCopy()
	}
}

// clean removes the oldest finished jobs beyond the history's limits.
func (p *pass) clean() {
	ended := map[bool][]*batchv1.Job{}
	for _, j := range p.jobs {
		if end := finished(j); end != "" && j.DeletionTimestamp == nil {
			ended[end == batchv1.JobComplete] = append(ended[end == batchv1.JobComplete], j)
		}
	}
	for succeeded, limit := range map[bool]*int32{true: p.cronJob.Spec.SuccessfulJobsHistoryLimit, false: p.cronJob.Spec.FailedJobsHistoryLimit} {
		jobs := ended[succeeded]
		if limit == nil || len(jobs) <= int(*limit) {
			continue
		}
		slices.SortFunc(jobs, func(a, b *batchv1.Job) int {
			return cmp.Or(startOf(a).Compare(startOf(b)), cmp.Compare(a.Name, b.Name))
		})
		p.out.clean = append(p.out.clean, jobs[:len(jobs)-int(*limit)]...)
	}
}

func startOf(j *batchv1.Job) time.Time {
	if j.Status.StartTime == nil {
		return time.Time{}
	}
	return j.Status.StartTime.Time
}

// schedule starts the job whose time has come, and says when the next is.
func (p *pass) schedule() {
	spec := &p.cronJob.Spec
	s, err := parse(p.cronJob)
	if zone := (zoneError{}); errors.As(err, &zone) {
		p.event(corev1.EventTypeWarning, "UnknownTimeZone", "%v", err)
		return
	}
	if spec.Suspend != nil && *spec.Suspend {
		return
	}
	if err != nil {
		p.event(corev1.EventTypeWarning, "UnparseableSchedule", "%v", err)
		return
	}
	var last time.Time
	if p.out.status.LastScheduleTime != nil {
		last = p.out.status.LastScheduleTime.Time
	}
	from := earliest(p.cronJob, last, p.now)
	at, many := due(s, from, p.now)
	if many {
		p.event(corev1.EventTypeWarning, "TooManyMissedTimes",
			"too many missed start times. Set or decrease .spec.startingDeadlineSeconds or check clock skew")
	}
	base := from
	if !at.IsZero() {
		base = at
	}
	if next := s.Next(base); !next.IsZero() {
		p.out.after = max(next.Sub(p.now), 0) + slack
	}
	if !at.IsZero() {
		p.start(at)
	}
}

// start starts the job of a scheduled time, if it may.
func (p *pass) start(at time.Time) {
	spec := &p.cronJob.Spec
	if d := spec.StartingDeadlineSeconds; d != nil && at.Add(time.Duration(*d)*time.Second).Before(p.now) {
		p.event(corev1.EventTypeWarning, "MissSchedule", "Missed scheduled time to start a job: %s", at.UTC().Format(time.RFC1123Z))
		return
	}
	if len(p.out.status.Active) > 0 {
		switch spec.ConcurrencyPolicy {
		case batchv1.ForbidConcurrent:
			p.event(corev1.EventTypeNormal, "JobAlreadyActive", "Not starting job because prior execution is running and concurrency policy is Forbid")
			return
		case batchv1.ReplaceConcurrent:
			p.makeRoom()
		}
	}
	p.out.create, p.out.at = newJob(p.cronJob, at), at
}

// makeRoom removes the jobs that run. Those not in the cache yet stay active,
// and are seen to by the next time.
func (p *pass) makeRoom() {
	for _, j := range p.jobs {
		i := slices.IndexFunc(p.out.status.Active, func(ref corev1.ObjectReference) bool { return ref.UID == j.UID })
		if i >= 0 {
			p.out.status.Active = slices.Delete(p.out.status.Active, i, i+1)
			p.out.replace = append(p.out.replace, j)
		}
	}
}

func (p *pass) event(kind, reason, format string, args ...any) {
	p.out.events = append(p.out.events, notice{kind, reason, fmt.Sprintf(format, args...)})
}

// newJob makes the job of a scheduled time.
func newJob(cj *batchv1.CronJob, at time.Time) *batchv1.Job {
	t := &cj.Spec.JobTemplate
	j := &batchv1.Job{
		ObjectMeta: metav1.ObjectMeta{
			Namespace:       cj.Namespace,
			Name:            fmt.Sprintf("%s-%d", cj.Name, at.Unix()/60),
			Labels:          maps.Clone(t.Labels),
			Annotations:     maps.Clone(t.Annotations),
			OwnerReferences: []metav1.OwnerReference{*metav1.NewControllerRef(cj, kind)},
		},
		Spec: *t.Spec.DeepCopy(),
	}
	if j.Annotations == nil {
		j.Annotations = map[string]string{}
	}
	if tz := cj.Spec.TimeZone; tz != nil {
		if zone, err := time.LoadLocation(*tz); err == nil {
			at = at.In(zone)
		}
	}
	j.Annotations[batchv1.CronJobScheduledTimestampAnnotation] = at.Format(time.RFC3339)
	return j
}

// scheduledTime is the time that a job was started for; jobs that users start
// from a cron job have none.
func scheduledTime(j *batchv1.Job) (time.Time, bool) {
	at, err := time.Parse(time.RFC3339, j.Annotations[batchv1.CronJobScheduledTimestampAnnotation])
	return at, err == nil
}

func reference(j *batchv1.Job) corev1.ObjectReference {
	return corev1.ObjectReference{Kind: "Job", APIVersion: batchv1.SchemeGroupVersion.String(),
		Namespace: j.Namespace, Name: j.Name, UID: j.UID, ResourceVersion: j.ResourceVersion}
}

// finished is the condition in which a job ended, or nothing.
func finished(j *batchv1.Job) batchv1.JobConditionType {
	for _, c := range j.Status.Conditions {
		if (c.Type == batchv1.JobComplete || c.Type == batchv1.JobFailed) && c.Status == corev1.ConditionTrue {
			return c.Type
		}
	}
	return ""
}
