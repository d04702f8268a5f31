package batch

import (
	"fmt"
	"slices"
	"strconv"
	"strings"

	batchv1 "k8s.io/api/batch/v1"
	corev1 "k8s.io/api/core/v1"
	utilvalidation "k8s.io/apimachinery/pkg/util/validation"
	"k8s.io/apimachinery/pkg/util/validation/field"

	"coracle.dev/coracle/apis/resource"
)

// The limits of policies, and of jobs that count failures by index.
const (
	maxPolicyRules      = 20
	maxExitCodes        = 255
	maxPatterns         = 20
	maxSucceededIndexes = 64 * 1024
	manyCompletions     = 100000
	maxParallelism      = 10000
)

// checkPerIndex keeps the record of failed indexes of a large job small.
func checkPerIndex(path *field.Path, s *batchv1.JobSpec) field.ErrorList {
	var errs field.ErrorList
	if n := s.MaxFailedIndexes; n != nil && *n > *s.Completions {
		errs = append(errs, field.Invalid(path.Child("maxFailedIndexes"), *n, "must be less than or equal to completions"))
	}
	if s.BackoffLimitPerIndex == nil || *s.Completions <= manyCompletions {
		return errs
	}
	switch at := path.Child("maxFailedIndexes"); {
	case s.MaxFailedIndexes == nil:
		errs = append(errs, field.Required(at, fmt.Sprintf("must be specified when completions is above %d", manyCompletions)))
	case *s.MaxFailedIndexes > maxParallelism:
		errs = append(errs, field.Invalid(at, *s.MaxFailedIndexes, fmt.Sprintf("must be less than or equal to %d when completions are above %d and used with backoff limit per index", maxParallelism, manyCompletions)))
	}
	if p := s.Parallelism; p != nil && *p > maxParallelism {
		errs = append(errs, field.Invalid(path.Child("parallelism"), *p, fmt.Sprintf("must be less than or equal to %d when completions are above %d and used with backoff limit per index", maxParallelism, manyCompletions)))
	}
	return errs
}

func checkFailurePolicy(path *field.Path, s *batchv1.JobSpec) field.ErrorList {
	if s.PodFailurePolicy == nil {
		return nil
	}
	var errs field.ErrorList
	if s.Template.Spec.RestartPolicy != corev1.RestartPolicyNever {
		errs = append(errs, field.Invalid(path.Child("template", "spec", "restartPolicy"), s.Template.Spec.RestartPolicy,
			fmt.Sprintf("only %q is supported when podFailurePolicy is specified", corev1.RestartPolicyNever)))
	}
	rules := path.Child("podFailurePolicy", "rules")
	if n := len(s.PodFailurePolicy.Rules); n > maxPolicyRules {
		errs = append(errs, field.TooMany(rules, n, maxPolicyRules))
	}
	var containers []string
	for _, list := range [][]corev1.Container{s.Template.Spec.InitContainers, s.Template.Spec.Containers} {
		for i := range list {
			containers = append(containers, list[i].Name)
		}
	}
	return append(errs, resource.Each(rules, s.PodFailurePolicy.Rules, func(at *field.Path, r *batchv1.PodFailurePolicyRule) field.ErrorList {
		errs := resource.OneOf(at.Child("action"), r.Action, batchv1.PodFailurePolicyActionCount, batchv1.PodFailurePolicyActionFailIndex,
			batchv1.PodFailurePolicyActionFailJob, batchv1.PodFailurePolicyActionIgnore)
		if r.Action == batchv1.PodFailurePolicyActionFailIndex && s.BackoffLimitPerIndex == nil {
			errs = append(errs, field.Invalid(at.Child("action"), r.Action, "requires the backoffLimitPerIndex to be set"))
		}
		switch {
		case r.OnExitCodes != nil && len(r.OnPodConditions) > 0:
			errs = append(errs, field.Invalid(at, field.OmitValueType{}, "specifying both OnExitCodes and OnPodConditions is not supported"))
		case r.OnExitCodes == nil && len(r.OnPodConditions) == 0:
			errs = append(errs, field.Invalid(at, field.OmitValueType{}, "specifying one of OnExitCodes and OnPodConditions is required"))
		}
		if r.OnExitCodes != nil {
			errs = append(errs, checkExitCodes(at.Child("onExitCodes"), r.OnExitCodes, containers)...)
		}
		if n := len(r.OnPodConditions); n > maxPolicyRules {
			errs = append(errs, field.TooMany(at.Child("onPodConditions"), n, maxPolicyRules))
		}
		return append(errs, resource.Each(at.Child("onPodConditions"), r.OnPodConditions, checkPodCondition)...)
	})...)
}

func checkExitCodes(path *field.Path, r *batchv1.PodFailurePolicyOnExitCodesRequirement, containers []string) field.ErrorList {
	errs := resource.OneOf(path.Child("operator"), r.Operator, batchv1.PodFailurePolicyOnExitCodesOpIn, batchv1.PodFailurePolicyOnExitCodesOpNotIn)
	if r.ContainerName != nil && !slices.Contains(containers, *r.ContainerName) {
		errs = append(errs, field.Invalid(path.Child("containerName"), *r.ContainerName, "must be one of the container or initContainer names in the pod template"))
	}
	values := path.Child("values")
	switch n := len(r.Values); {
	case n == 0:
		errs = append(errs, field.Invalid(values, r.Values, "at least one value is required"))
	case n > maxExitCodes:
		errs = append(errs, field.TooMany(values, n, maxExitCodes))
	}
	seen, ordered := map[int32]bool{}, true
	for i, code := range r.Values {
		if code == 0 && r.Operator == batchv1.PodFailurePolicyOnExitCodesOpIn {
			errs = append(errs, field.Invalid(values.Index(i), code, "must not be 0 for the In operator"))
		}
		if seen[code] {
			errs = append(errs, field.Duplicate(values.Index(i), code))
		}
		seen[code] = true
		ordered = ordered && (i == 0 || r.Values[i-1] <= code)
	}
	if !ordered {
		errs = append(errs, field.Invalid(values, r.Values, "must be ordered"))
	}
	return errs
}

func checkPodCondition(path *field.Path, c *batchv1.PodFailurePolicyOnPodConditionsPattern) field.ErrorList {
	errs := resource.Messages(path.Child("type"), string(c.Type), utilvalidation.IsQualifiedName(string(c.Type)))
	return append(errs, resource.OneOf(path.Child("status"), c.Status, corev1.ConditionFalse, corev1.ConditionTrue, corev1.ConditionUnknown)...)
}

func checkSuccessPolicy(path *field.Path, s *batchv1.JobSpec) field.ErrorList {
	if s.SuccessPolicy == nil || s.CompletionMode == nil || *s.CompletionMode != batchv1.IndexedCompletion {
		return nil
	}
	rules := path.Child("rules")
	var errs field.ErrorList
	switch n := len(s.SuccessPolicy.Rules); {
	case n == 0:
		errs = append(errs, field.Required(rules, "at least one rules must be specified when the successPolicy is specified"))
	case n > maxPatterns:
		errs = append(errs, field.TooMany(rules, n, maxPatterns))
	}
	return append(errs, resource.Each(rules, s.SuccessPolicy.Rules, func(at *field.Path, r *batchv1.SuccessPolicyRule) field.ErrorList {
		if r.SucceededCount == nil && r.SucceededIndexes == nil {
			return field.ErrorList{field.Required(at, "at least one of succeededCount or succeededIndexes must be specified")}
		}
		return checkSuccessRule(at, r, s)
	})...)
}

func checkSuccessRule(path *field.Path, r *batchv1.SuccessPolicyRule, s *batchv1.JobSpec) field.ErrorList {
	var errs field.ErrorList
	total, listed := resource.Deref(s.Completions), int32(0)
	if text := r.SucceededIndexes; text != nil {
		at := path.Child("succeededIndexes")
		if len(*text) > maxSucceededIndexes {
			errs = append(errs, field.TooLong(at, "", maxSucceededIndexes))
		}
		var err error
		if listed, err = countIndexes(*text, total); err != nil {
			errs = append(errs, field.Invalid(at, *text, fmt.Sprintf("error parsing succeededIndexes: %s", err)))
		}
	}
	if n := r.SucceededCount; n != nil {
		at := path.Child("succeededCount")
		errs = append(errs, resource.NotNegative(at, *n)...)
		if s.Completions != nil && *n > total {
			errs = append(errs, field.Invalid(at, *n, fmt.Sprintf("must be less than or equal to %d (the number of specified completions)", total)))
		}
		if r.SucceededIndexes != nil && *n > listed {
			errs = append(errs, field.Invalid(at, *n, fmt.Sprintf("must be less than or equal to %d (the number of indexes in the specified succeededIndexes field)", listed)))
		}
	}
	return errs
}

// countIndexes reads indexes such as "1,3-5", in ascending order and below total, and counts them.
func countIndexes(text string, total int32) (int32, error) {
	if text == "" {
		return 0, nil
	}
	count, next := int32(0), int32(0)
	for _, item := range strings.Split(text, ",") {
		from, to, ranged := strings.Cut(item, "-")
		first, err := strconv.ParseInt(from, 10, 32)
		if err != nil {
			return 0, fmt.Errorf("cannot convert string to integer for index: %q", from)
		}
		last := first
		if ranged {
			if last, err = strconv.ParseInt(to, 10, 32); err != nil {
				return 0, fmt.Errorf("cannot convert string to integer for index: %q", to)
			}
			if last <= first {
				return 0, fmt.Errorf("non-increasing order, previous: %d, current: %d", first, last)
			}
		}
		switch {
		case int32(first) < next:
			return 0, fmt.Errorf("non-increasing order, previous: %d, current: %d", next-1, first)
		case int32(last) >= total:
			return 0, fmt.Errorf("too large index: %q", strconv.FormatInt(last, 10))
		}
		count += int32(last-first) + 1
		next = int32(last) + 1
	}
	return count, nil
}
