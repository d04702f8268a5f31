package inprocess

import (
	"testing"

	"github.com/google/go-cmp/cmp"
	admissionregistrationv1 "k8s.io/api/admissionregistration/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

var (
	firstConditions  = []admissionregistrationv1.MatchCondition{{Name: "first", Expression: "object.metadata.name != 'skip-me'"}}
	secondConditions = []admissionregistrationv1.MatchCondition{{Name: "second", Expression: "!('admin' in request.userInfo.groups)"}, firstConditions[0]}
	badConditions    = []admissionregistrationv1.MatchCondition{{Name: "bad", Expression: "..."}}
)

func (w *webhooks) mutatingMatchConditions(t *testing.T) {
	hook := w.mutating("nowhere", "/stage-1", configMaps)
	hook.MatchConditions = firstConditions
	c := w.installMutating(t, "mutating-conditions", hook)
	api := w.AdmissionregistrationV1().MutatingWebhookConfigurations()
	if diff := cmp.Diff(firstConditions, must(api.Get(t.Context(), c.Name, metav1.GetOptions{}))(t).Webhooks[0].MatchConditions); diff != "" {
		t.Errorf("stored (-want +got):\n%s", diff)
	}
	c.Webhooks[0].MatchConditions = secondConditions
	must(api.Update(t.Context(), c, metav1.UpdateOptions{}))(t)
	if diff := cmp.Diff(secondConditions, must(api.Get(t.Context(), c.Name, metav1.GetOptions{}))(t).Webhooks[0].MatchConditions); diff != "" {
		t.Errorf("updated (-want +got):\n%s", diff)
	}
}

func (w *webhooks) validatingMatchConditions(t *testing.T) {
	hook := w.validating("nowhere", "/deny", configMaps)
	hook.MatchConditions = firstConditions
	c := w.install(t, "validating-conditions", hook)
	api := w.AdmissionregistrationV1().ValidatingWebhookConfigurations()
	if diff := cmp.Diff(firstConditions, must(api.Get(t.Context(), c.Name, metav1.GetOptions{}))(t).Webhooks[0].MatchConditions); diff != "" {
		t.Errorf("stored (-want +got):\n%s", diff)
	}
	c.Webhooks[0].MatchConditions = secondConditions
	must(api.Update(t.Context(), c, metav1.UpdateOptions{}))(t)
	if diff := cmp.Diff(secondConditions, must(api.Get(t.Context(), c.Name, metav1.GetOptions{}))(t).Webhooks[0].MatchConditions); diff != "" {
		t.Errorf("updated (-want +got):\n%s", diff)
	}
}

func (w *webhooks) excludingName(t *testing.T) {
	ns := w.namespace(t)
	hook := w.mutating(ns, "/stage-1", configMaps)
	hook.MatchConditions = firstConditions
	w.installMutating(t, "excluding", hook)
	w.mutates(t, ns, true)
	skipped := must(w.CoreV1().ConfigMaps(ns).Create(t.Context(), configMap("skip-me", "start", "yes"), metav1.CreateOptions{}))(t)
	if diff := cmp.Diff(map[string]string{"start": "yes"}, skipped.Data); diff != "" {
		t.Errorf("skip-me was mutated (-want +got):\n%s", diff)
	}
	other := must(w.CoreV1().ConfigMaps(ns).Create(t.Context(), configMap("other", "start", "yes"), metav1.CreateOptions{}))(t)
	if diff := cmp.Diff(map[string]string{"start": "yes", "stage-1": "yes"}, other.Data); diff != "" {
		t.Errorf("another was not mutated (-want +got):\n%s", diff)
	}
}

func (w *webhooks) invalidMutating(t *testing.T) {
	hook := w.mutating("nowhere", "/stage-1", configMaps)
	hook.MatchConditions = badConditions
	c := &admissionregistrationv1.MutatingWebhookConfiguration{Webhooks: []admissionregistrationv1.MutatingWebhook{hook}}
	c.Name = "invalid"
	_, err := w.AdmissionregistrationV1().MutatingWebhookConfigurations().Create(t.Context(), c, metav1.CreateOptions{})
	refused(t, "an invalid expression", err, "webhooks[0].matchConditions[0].expression", "compilation failed")
}

func (w *webhooks) invalidValidating(t *testing.T) {
	hook := w.validating("nowhere", "/deny", configMaps)
	hook.MatchConditions = badConditions
	c := &admissionregistrationv1.ValidatingWebhookConfiguration{Webhooks: []admissionregistrationv1.ValidatingWebhook{hook}}
	c.Name = "invalid"
	_, err := w.AdmissionregistrationV1().ValidatingWebhookConfigurations().Create(t.Context(), c, metav1.CreateOptions{})
	refused(t, "an invalid expression", err, "webhooks[0].matchConditions[0].expression", "compilation failed")
}
