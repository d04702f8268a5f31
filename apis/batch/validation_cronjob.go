package batch

import (
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"

	batchv1 "k8s.io/api/batch/v1"
	"k8s.io/apimachinery/pkg/util/validation/field"

	"coracle.dev/coracle/apis/resource"
)

// maxCronJobName leaves room in a job's name for the time of its run.
const maxCronJobName = 52

func validateCronJob(c *batchv1.CronJob) field.ErrorList {
	var errs field.ErrorList
	if len(c.Name) > maxCronJobName {
		errs = append(errs, field.Invalid(field.NewPath("metadata", "name"), c.Name, "must be no more than 52 characters"))
	}
	return append(errs, checkCronJob(c)...)
}

func validateCronJobUpdate(c, _ *batchv1.CronJob) field.ErrorList { return checkCronJob(c) }

func checkCronJob(c *batchv1.CronJob) field.ErrorList {
	s := &c.Spec
	errs := checkSchedule(specPath.Child("schedule"), s.Schedule)
	if z := s.TimeZone; z != nil {
		if _, err := time.LoadLocation(*z); err != nil || *z == "" || strings.EqualFold(*z, "Local") {
			errs = append(errs, field.Invalid(specPath.Child("timeZone"), *z, "unknown time zone "+*z))
		}
	}
	errs = append(errs, resource.NotNegativePointer(specPath.Child("startingDeadlineSeconds"), s.StartingDeadlineSeconds)...)
	errs = append(errs, resource.OneOf(specPath.Child("concurrencyPolicy"), s.ConcurrencyPolicy,
		batchv1.AllowConcurrent, batchv1.ForbidConcurrent, batchv1.ReplaceConcurrent)...)
	errs = append(errs, resource.NotNegativePointer(specPath.Child("successfulJobsHistoryLimit"), s.SuccessfulJobsHistoryLimit)...)
	errs = append(errs, resource.NotNegativePointer(specPath.Child("failedJobsHistoryLimit"), s.FailedJobsHistoryLimit)...)
	template := specPath.Child("jobTemplate", "spec")
	if s.JobTemplate.Spec.ManualSelector != nil && *s.JobTemplate.Spec.ManualSelector {
		errs = append(errs, field.Invalid(template.Child("manualSelector"), true, "must not be set to true"))
	}
	if s.JobTemplate.Spec.Selector != nil {
		errs = append(errs, field.Invalid(template.Child("selector"), s.JobTemplate.Spec.Selector, "`selector` will be auto-generated"))
	}
	return append(errs, checkJobSpec(template, &s.JobTemplate.Spec)...)
}

func checkSchedule(path *field.Path, schedule string) field.ErrorList {
	switch {
	case schedule == "":
		return field.ErrorList{field.Required(path, "")}
	case strings.Contains(schedule, "TZ"):
		return field.ErrorList{field.Invalid(path, schedule, "cannot use TZ or CRON_TZ in schedule, use timeZone field instead")}
	}
	if err := parseSchedule(schedule); err != nil {
		return field.ErrorList{field.Invalid(path, schedule, err.Error())}
	}
	return nil
}

// cronFields are the five fields of a schedule: their ranges and the names of their values.
var cronFields = []struct {
	low, high int
	names     []string
}{
	{0, 59, nil}, {0, 23, nil}, {1, 31, nil},
	{1, 12, []string{"jan", "feb", "mar", "apr", "may", "jun", "jul", "aug", "sep", "oct", "nov", "dec"}},
	{0, 6, []string{"sun", "mon", "tue", "wed", "thu", "fri", "sat"}},
}

var cronMacros = []string{"@yearly", "@annually", "@monthly", "@weekly", "@daily", "@midnight", "@hourly"}

// parseSchedule says what is wrong with a schedule in the syntax of cron.
func parseSchedule(text string) error {
	if strings.HasPrefix(text, "@") {
		if every, ok := strings.CutPrefix(text, "@every "); ok {
			_, err := time.ParseDuration(every)
			return err
		}
		if !slices.Contains(cronMacros, text) {
			return fmt.Errorf("unrecognized descriptor: %s", text)
		}
		return nil
	}
	parts := strings.Fields(text)
	if len(parts) != len(cronFields) {
		return fmt.Errorf("expected exactly %d fields, found %d: %q", len(cronFields), len(parts), parts)
	}
	for i, part := range parts {
		for _, item := range strings.Split(part, ",") {
			if err := parseRange(item, cronFields[i].low, cronFields[i].high, cronFields[i].names); err != nil {
				return err
			}
		}
	}
	return nil
}

// parseRange reads "*", "a", "a-b", each with an optional "/step".
func parseRange(item string, low, high int, names []string) error {
	span, step, stepped := strings.Cut(item, "/")
	if stepped {
		n, err := strconv.Atoi(step)
		if err != nil {
			return fmt.Errorf("failed to parse int from %s: %w", step, err)
		}
		if n <= 0 {
			return fmt.Errorf("step of range should be a positive number: %s", item)
		}
	}
	if span == "*" || span == "?" {
		return nil
	}
	from, to, ranged := strings.Cut(span, "-")
	first, err := parseValue(from, low, names)
	if err != nil {
		return err
	}
	last := first
	if ranged {
		if last, err = parseValue(to, low, names); err != nil {
			return err
		}
	}
	switch {
	case first < low:
		return fmt.Errorf("beginning of range (%d) below minimum (%d): %s", first, low, item)
	case last > high:
		return fmt.Errorf("end of range (%d) above maximum (%d): %s", last, high, item)
	case first > last:
		return fmt.Errorf("beginning of range (%d) beyond end of range (%d): %s", first, last, item)
	}
	return nil
}

func parseValue(text string, low int, names []string) (int, error) {
	if i := slices.Index(names, strings.ToLower(text)); i >= 0 {
		return i + low, nil
	}
	n, err := strconv.Atoi(text)
	if err != nil {
		return 0, fmt.Errorf("failed to parse int from %s: %w", text, err)
	}
	return n, nil
}
