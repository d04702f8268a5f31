// Package batch declares the resources of the batch group: jobs and cron jobs.
//
// Defaults, validation and columns are those of Kubernetes v1.37.
package batch

import (
	"strconv"

	batchv1 "k8s.io/api/batch/v1"
	"k8s.io/apimachinery/pkg/fields"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/util/validation/field"

	"coracle.dev/coracle/apis/pod"
	"coracle.dev/coracle/apis/resource"
)

var v1 = batchv1.SchemeGroupVersion

// Resources lists the resources of the group, in discovery order.
func Resources() []*resource.Descriptor {
	return []*resource.Descriptor{cronJobs.Describe(), jobs.Describe()}
}

var cronJobs = resource.Resource[*batchv1.CronJob]{
	Version: v1, Kind: "CronJob", Plural: "cronjobs", ShortNames: []string{"cj"}, Categories: []string{"all"},
	New:            func() *batchv1.CronJob { return &batchv1.CronJob{} },
	NewList:        func() runtime.Object { return &batchv1.CronJobList{} },
	Spec:           func(o *batchv1.CronJob) any { return &o.Spec },
	Status:         func(o *batchv1.CronJob) any { return &o.Status },
	Default:        defaultCronJob,
	Columns:        cronJobColumns,
	Validate:       validateCronJob,
	ValidateUpdate: validateCronJobUpdate,
	Warnings: func(o *batchv1.CronJob) []string {
		return pod.TemplateWarnings(&o.Spec.JobTemplate.Spec.Template, field.NewPath("spec", "jobTemplate", "spec", "template"))
	},
}

var jobs = resource.Resource[*batchv1.Job]{
	Version: v1, Kind: "Job", Plural: "jobs", Categories: []string{"all"},
	New:     func() *batchv1.Job { return &batchv1.Job{} },
	NewList: func() runtime.Object { return &batchv1.JobList{} },
	Spec:    func(o *batchv1.Job) any { return &o.Spec },
	Status:  func(o *batchv1.Job) any { return &o.Status },
	Fields: func(o *batchv1.Job) fields.Set {
		return fields.Set{"status.successful": strconv.Itoa(int(o.Status.Succeeded))}
	},
	FieldNames:           []string{"status.successful"},
	Default:              defaultJob,
	PrepareForCreate:     prepareJob,
	Columns:              jobColumns,
	Validate:             validateJob,
	ValidateUpdate:       validateJobUpdate,
	ValidateStatusUpdate: validateJobStatus,
	Warnings: func(o *batchv1.Job) []string {
		return pod.TemplateWarnings(&o.Spec.Template, field.NewPath("spec", "template"))
	},
}
