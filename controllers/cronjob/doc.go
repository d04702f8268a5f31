// Package cronjob starts the Jobs of CronJobs at their times.
//
// It watches CronJobs and Jobs. It owns the Jobs whose controller is a CronJob,
// and writes the status of CronJobs. A Job is named after the minute that it is
// for.
//
// Invariants: there is at most one Job for each scheduled time, however often
// the controller dies: a Job exists before its time is noted in the status, its
// name is determined by its time, and a time is noted before a Job that had it
// is cleaned away. With the policy Forbid no Job is started while one that was
// started by schedule has not finished.
//
// Differences from Kubernetes 1.37: a Job that was started by schedule and is
// missing from the status, since the controller died in between, is taken up
// there; Kubernetes only tells of it in an event. Times without a time zone are
// those of this process' zone, as with Kubernetes.
package cronjob
