package batch

import (
	"fmt"

	batchv1 "k8s.io/api/batch/v1"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/equality"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/labels"
	utilvalidation "k8s.io/apimachinery/pkg/util/validation"
	"k8s.io/apimachinery/pkg/util/validation/field"

	"coracle.dev/coracle/apis/pod"
	"coracle.dev/coracle/apis/resource"
)

// maxIndexed is how many pods an indexed job may run at a time.
const maxIndexed = 100000

var specPath = field.NewPath("spec")

func validateJob(j *batchv1.Job) field.ErrorList {
	errs := checkGenerated(j)
	errs = append(errs, checkJobSpec(specPath, &j.Spec)...)
	at := specPath.Child("selector")
	if j.Spec.Selector == nil {
		return append(errs, field.Required(at, ""))
	}
	errs = append(errs, resource.Selector(at, j.Spec.Selector)...)
	if s, err := metav1.LabelSelectorAsSelector(j.Spec.Selector); err == nil && !s.Matches(labels.Set(j.Spec.Template.Labels)) {
		errs = append(errs, field.Invalid(specPath.Child("template", "metadata", "labels"), j.Spec.Template.Labels, "`selector` does not match template `labels`"))
	}
	return errs
}

// checkGenerated: labels that tie pods to their job are the job's to set, unless its author took that
// over by manualSelector.
func checkGenerated(j *batchv1.Job) field.ErrorList {
	if j.Spec.ManualSelector != nil && *j.Spec.ManualSelector || j.Spec.Selector == nil {
		return nil
	}
	var errs field.ErrorList
	template := specPath.Child("template", "metadata", "labels")
	for key, want := range resource.Sorted(map[string]string{
		batchv1.ControllerUidLabel: string(j.UID), legacyControllerUID: string(j.UID), batchv1.JobNameLabel: j.Name, legacyJobName: j.Name,
	}) {
		if got, ok := j.Spec.Template.Labels[key]; !ok {
			errs = append(errs, field.Required(template.Key(key), fmt.Sprintf("must be '%s'", want)))
		} else if got != want {
			errs = append(errs, field.Invalid(template, j.Spec.Template.Labels, fmt.Sprintf("must be '%s'", want)))
		}
	}
	own := map[string]string{batchv1.ControllerUidLabel: string(j.UID)}
	if !equality.Semantic.DeepEqual(j.Spec.Selector, &metav1.LabelSelector{MatchLabels: own}) && !legacySelector(j) {
		errs = append(errs, field.Invalid(specPath.Child("selector"), j.Spec.Selector, "`selector` not auto-generated"))
	}
	return errs
}

// legacySelector tells a job whose selector was made by a Kubernetes older than v1.27.
func legacySelector(j *batchv1.Job) bool {
	return equality.Semantic.DeepEqual(j.Spec.Selector, &metav1.LabelSelector{MatchLabels: map[string]string{legacyControllerUID: string(j.UID)}})
}

// checkJobSpec checks what a job and a cron job's template have in common.
func checkJobSpec(path *field.Path, s *batchv1.JobSpec) field.ErrorList {
	var errs field.ErrorList
	for _, n := range []struct {
		name  string
		value *int32
	}{
		{"parallelism", s.Parallelism}, {"completions", s.Completions}, {"backoffLimit", s.BackoffLimit},
		{"ttlSecondsAfterFinished", s.TTLSecondsAfterFinished}, {"backoffLimitPerIndex", s.BackoffLimitPerIndex}, {"maxFailedIndexes", s.MaxFailedIndexes},
	} {
		errs = append(errs, resource.NotNegativePointer(path.Child(n.name), n.value)...)
	}
	errs = append(errs, resource.NotNegativePointer(path.Child("activeDeadlineSeconds"), s.ActiveDeadlineSeconds)...)
	errs = append(errs, checkCompletionMode(path, s)...)
	if p := s.PodReplacementPolicy; p != nil {
		allowed := []batchv1.PodReplacementPolicy{batchv1.Failed, batchv1.TerminatingOrFailed}
		if s.PodFailurePolicy != nil {
			allowed = allowed[:1]
		}
		errs = append(errs, resource.Supported(path.Child("podReplacementPolicy"), *p, allowed...)...)
	}
	if s.ManagedBy != nil {
		errs = append(errs, utilvalidation.IsDomainPrefixedPath(path.Child("managedBy"), *s.ManagedBy)...)
	}
	errs = append(errs, checkFailurePolicy(path, s)...)
	errs = append(errs, checkSuccessPolicy(path.Child("successPolicy"), s)...)
	errs = append(errs, pod.ValidateTemplate(&s.Template, path.Child("template"))...)
	if r := s.Template.Spec.RestartPolicy; r != corev1.RestartPolicyOnFailure && r != corev1.RestartPolicyNever {
		errs = append(errs, field.Required(path.Child("template", "spec", "restartPolicy"),
			fmt.Sprintf("valid values: %q, %q", corev1.RestartPolicyOnFailure, corev1.RestartPolicyNever)))
	}
	return errs
}

func checkCompletionMode(path *field.Path, s *batchv1.JobSpec) field.ErrorList {
	var errs field.ErrorList
	indexed := false
	if m := s.CompletionMode; m != nil {
		errs = append(errs, resource.Supported(path.Child("completionMode"), *m, batchv1.NonIndexedCompletion, batchv1.IndexedCompletion)...)
		indexed = *m == batchv1.IndexedCompletion
	}
	if s.MaxFailedIndexes != nil && s.BackoffLimitPerIndex == nil && indexed {
		errs = append(errs, field.Required(path.Child("backoffLimitPerIndex"), "when maxFailedIndexes is specified"))
	}
	if indexed {
		if s.Completions == nil {
			errs = append(errs, field.Required(path.Child("completions"), fmt.Sprintf("when completion mode is %s", batchv1.IndexedCompletion)))
		} else {
			errs = append(errs, checkPerIndex(path, s)...)
		}
		if p := s.Parallelism; p != nil && *p > maxIndexed {
			errs = append(errs, field.Invalid(path.Child("parallelism"), *p,
				fmt.Sprintf("must be less than or equal to %d when completion mode is %s", maxIndexed, batchv1.IndexedCompletion)))
		}
		return errs
	}
	for name, set := range resource.Sorted(map[string]bool{
		"backoffLimitPerIndex": s.BackoffLimitPerIndex != nil, "maxFailedIndexes": s.MaxFailedIndexes != nil, "successPolicy": s.SuccessPolicy != nil,
	}) {
		if set {
			errs = append(errs, field.Invalid(path.Child(name), name, "requires indexed completion mode"))
		}
	}
	return errs
}

// validateJobUpdate: what a job runs is fixed. Its completions can be changed together with its
// parallelism if it is indexed, its scheduling while it is suspended and has not begun.
func validateJobUpdate(j, old *batchv1.Job) field.ErrorList {
	errs := validateJob(j)
	indexed := j.Spec.CompletionMode != nil && *j.Spec.CompletionMode == batchv1.IndexedCompletion
	elastic := indexed && j.Spec.Completions != nil && old.Spec.Completions != nil && equality.Semantic.DeepEqual(j.Spec.Completions, j.Spec.Parallelism)
	if !elastic {
		errs = append(errs, resource.Unchanged(specPath.Child("completions"), j.Spec.Completions, old.Spec.Completions)...)
	}
	template := old.Spec.Template.DeepCopy()
	if resource.Deref(old.Spec.Suspend) && old.Status.StartTime == nil {
		now := &j.Spec.Template
		template.Annotations, template.Labels = now.Annotations, now.Labels
		template.Spec.NodeSelector, template.Spec.Tolerations = now.Spec.NodeSelector, now.Spec.Tolerations
		template.Spec.SchedulingGates = now.Spec.SchedulingGates
		if a := now.Spec.Affinity; a != nil || template.Spec.Affinity != nil {
			template.Spec.Affinity = a
		}
	}
	errs = append(errs, resource.Unchanged(specPath.Child("template"), j.Spec.Template, *template)...)
	errs = append(errs, resource.Unchanged(specPath.Child("selector"), j.Spec.Selector, old.Spec.Selector)...)
	errs = append(errs, resource.Unchanged(specPath.Child("completionMode"), j.Spec.CompletionMode, old.Spec.CompletionMode)...)
	errs = append(errs, resource.Unchanged(specPath.Child("podFailurePolicy"), j.Spec.PodFailurePolicy, old.Spec.PodFailurePolicy)...)
	errs = append(errs, resource.Unchanged(specPath.Child("backoffLimitPerIndex"), j.Spec.BackoffLimitPerIndex, old.Spec.BackoffLimitPerIndex)...)
	errs = append(errs, resource.Unchanged(specPath.Child("successPolicy"), j.Spec.SuccessPolicy, old.Spec.SuccessPolicy)...)
	return append(errs, resource.Unchanged(specPath.Child("managedBy"), j.Spec.ManagedBy, old.Spec.ManagedBy)...)
}

func validateJobStatus(j, _ *batchv1.Job) field.ErrorList {
	path := field.NewPath("status")
	errs := resource.NotNegative(path.Child("active"), j.Status.Active)
	errs = append(errs, resource.NotNegative(path.Child("succeeded"), j.Status.Succeeded)...)
	errs = append(errs, resource.NotNegative(path.Child("failed"), j.Status.Failed)...)
	errs = append(errs, resource.NotNegativePointer(path.Child("ready"), j.Status.Ready)...)
	return append(errs, resource.NotNegativePointer(path.Child("terminating"), j.Status.Terminating)...)
}
