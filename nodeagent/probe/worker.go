package probe

import (
	"context"
	"time"

	corev1 "k8s.io/api/core/v1"
)

// retries of a probe that could not be carried out at all.
const retries = 3

type worker struct {
	kind     Kind
	spec     *corev1.Probe
	target   Target
	runner   Runner
	observer Observer
	report   func(Result) bool

	last    Result
	repeats int // how often in a row last was seen
}

// run probes until the context ends or the result is final.
func (w *worker) run(ctx context.Context, standing Result) {
	first := time.Until(w.target.StartedAt.Add(seconds(w.spec.InitialDelaySeconds, 0)))
	timer := time.NewTimer(max(first, 0))
	defer timer.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-timer.C:
		}
		begun := time.Now()
		result, done := w.once(ctx, standing)
		if done || ctx.Err() != nil {
			return
		}
		standing = result
		// A fixed rhythm: the time that a probe takes is part of its period.
		timer.Reset(max(seconds(w.spec.PeriodSeconds, 10)-time.Since(begun), 0))
	}
}

// once probes, reports, and tells the standing result and whether this probe
// has done its work.
func (w *worker) once(ctx context.Context, standing Result) (Result, bool) {
	result, message := w.probe(ctx)
	if ctx.Err() != nil {
		return standing, true
	}
	if result != Success {
		w.observer.Unhealthy(w.target, w.kind, result, message)
	}
	if result == Unknown {
		return standing, false
	}
	if result == w.last {
		w.repeats++
	} else {
		w.last, w.repeats = result, 1
	}
	threshold := count(w.spec.SuccessThreshold, 1)
	if result == Failure {
		threshold = count(w.spec.FailureThreshold, 3)
	}
	if w.repeats < threshold {
		return standing, false
	}
	w.report(result)
	final := (w.kind != Readiness && result == Failure) || (w.kind == Startup && result == Success)
	return result, final
}

func (w *worker) probe(ctx context.Context) (Result, string) {
	ctx, cancel := context.WithTimeout(ctx, retries*(seconds(w.spec.TimeoutSeconds, 1)+10*time.Second))
	defer cancel()
	for attempt := 1; ; attempt++ {
		result, message, err := w.runner.Run(ctx, w.spec, w.target)
		if err == nil {
			return result, message
		}
		if attempt == retries || ctx.Err() != nil {
			return Unknown, err.Error()
		}
	}
}

func seconds(n int32, unset int32) time.Duration {
	if n == 0 {
		n = unset
	}
	return time.Duration(n) * time.Second
}

func count(n int32, unset int) int {
	if n == 0 {
		return unset
	}
	return int(n)
}
