package apps

import (
	"testing"

	appsv1 "k8s.io/api/apps/v1"
)

func TestTemplateGeneration(t *testing.T) {
	set := func(host string) *appsv1.DaemonSet {
		d := &appsv1.DaemonSet{}
		d.Spec.Template.Spec.Hostname = host
		return d
	}
	check := func(what string, d *appsv1.DaemonSet, want string) {
		t.Helper()
		if got := d.Annotations[appsv1.DeprecatedTemplateGeneration]; got != want {
			t.Errorf("%s: template generation %q, want %q", what, got, want)
		}
	}
	first := set("a")
	prepareDaemonSet(first)
	check("created", first, "1")
	same := set("a")
	prepareDaemonSetUpdate(same, first)
	check("the same template, without the annotation", same, "1")
	other := set("b")
	prepareDaemonSetUpdate(other, same)
	check("another template", other, "2")
}
