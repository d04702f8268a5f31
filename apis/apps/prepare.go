package apps

import (
	"strconv"

	appsv1 "k8s.io/api/apps/v1"
	"k8s.io/apimachinery/pkg/api/equality"
)

// prepareDaemonSet begins to count the changes of the template, which apps/v1 shows in an annotation.
func prepareDaemonSet(d *appsv1.DaemonSet) { setTemplateGeneration(d, max(templateGeneration(d), 1)) }

func prepareDaemonSetUpdate(d, old *appsv1.DaemonSet) {
	n := max(templateGeneration(old), 1)
	if !equality.Semantic.DeepEqual(d.Spec.Template, old.Spec.Template) {
		n++ // whatever the writer says
	}
	setTemplateGeneration(d, n)
}

func templateGeneration(d *appsv1.DaemonSet) int64 {
	n, err := strconv.ParseInt(d.Annotations[appsv1.DeprecatedTemplateGeneration], 10, 64)
	if err != nil {
		return 0
	}
	return n
}

// setTemplateGeneration makes a map of its own, since that of an object may be shared.
func setTemplateGeneration(d *appsv1.DaemonSet, n int64) {
	annotations := map[string]string{appsv1.DeprecatedTemplateGeneration: strconv.FormatInt(n, 10)}
	for k, v := range d.Annotations {
		if k != appsv1.DeprecatedTemplateGeneration {
			annotations[k] = v
		}
	}
	d.Annotations = annotations
}
