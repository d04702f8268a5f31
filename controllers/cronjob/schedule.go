package cronjob

import (
	"fmt"
	"strings"
	"time"
	_ "time/tzdata" // time zones also where the system has none

	"github.com/robfig/cron/v3"
	batchv1 "k8s.io/api/batch/v1"
)

// manyMissed is how many missed times are worth telling.
const manyMissed = 100

// zoneError tells that a time zone is not known here.
type zoneError struct{ error }

// parse reads the schedule of a cron job.
func parse(cj *batchv1.CronJob) (cron.Schedule, error) {
	text := cj.Spec.Schedule
	if tz := cj.Spec.TimeZone; tz != nil && !zoned(text) {
		if _, err := time.LoadLocation(*tz); err != nil {
			return nil, zoneError{fmt.Errorf("invalid timeZone: %q: %w", *tz, err)}
		}
		text = "TZ=" + *tz + " " + text
	}
	s, err := cron.ParseStandard(text)
	if err != nil {
		return nil, fmt.Errorf("unparseable schedule: %q : %w", cj.Spec.Schedule, err)
	}
	return s, nil
}

// zoned tells whether a schedule names its zone itself, which is accepted from
// objects of old, though no longer allowed.
func zoned(schedule string) bool { return strings.Contains(schedule, "TZ") }

// earliest is the time after which a cron job's next Job is due.
func earliest(cj *batchv1.CronJob, last, now time.Time) time.Time {
	at := cj.CreationTimestamp.Time
	if !last.IsZero() {
		at = last
	}
	if d := cj.Spec.StartingDeadlineSeconds; d != nil {
		if bound := now.Add(-time.Duration(*d) * time.Second); bound.After(at) {
			at = bound
		}
	}
	return at
}

// due finds the latest time of the schedule after from and not after now; zero
// if there is none. many tells that a great number of earlier ones was missed.
func due(s cron.Schedule, from, now time.Time) (at time.Time, many bool) {
	if every, ok := s.(cron.ConstantDelaySchedule); ok {
		return dueEvery(every, from, now)
	}
	for n := 0; ; n++ {
		next := s.Next(from)
		if next.IsZero() || next.After(now) {
			return at, n > manyMissed
		}
		at, from = next, next
		if n == manyMissed {
			// Go on from where the last ones are, rather than through them all.
			from = later(from, before(s, now))
		}
	}
}

func dueEvery(s cron.ConstantDelaySchedule, from, now time.Time) (time.Time, bool) {
	first := s.Next(from)
	if first.After(now) || s.Delay <= 0 {
		return time.Time{}, false
	}
	n := now.Sub(first) / s.Delay
	return first.Add(n * s.Delay), n > manyMissed
}

// before finds a time shortly before the last time of the schedule until now.
func before(s cron.Schedule, now time.Time) time.Time {
	for span := time.Minute; span < 20*365*24*time.Hour; span *= 2 {
		if next := s.Next(now.Add(-span)); !next.IsZero() && !next.After(now) {
			return now.Add(-span)
		}
	}
	return time.Time{}
}

func later(a, b time.Time) time.Time {
	if b.After(a) {
		return b
	}
	return a
}
