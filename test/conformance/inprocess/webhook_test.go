package inprocess

import (
	"context"
	"errors"
	"fmt"
	"testing"

	admissionregistrationv1 "k8s.io/api/admissionregistration/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/kubernetes/scheme"
)

// webhooks are the tests of admission webhooks.
type webhooks struct {
	*env
	*hookServer
}

func TestAdmissionWebhooks(t *testing.T) {
	e := start(t)
	w := &webhooks{e, serveHooks(t)}
	parallel(t, []subtest{
		{"list mutating webhooks", w.listMutating},
		{"list validating webhooks", w.listValidating},
		{"update mutating webhook", w.updateMutating},
		{"update validating webhook", w.updateValidating},
		{"deny attach", w.denyAttach},
		{"deny create", w.denyCreate},
		{"honor timeout", w.honorTimeout},
		{"ordered mutation", w.orderedMutation},
		{"mutation with defaulting", w.mutationWithDefaulting},
		{"webhook configuration objects", w.configurationObjects},
		{"fail closed", w.failClosed},
		{"mutating match conditions", w.mutatingMatchConditions},
		{"validating match conditions", w.validatingMatchConditions},
		{"excluding object with specific name", w.excludingName},
		{"invalid mutating match conditions", w.invalidMutating},
		{"invalid validating match conditions", w.invalidValidating},
	})
}

var configMaps = on("CREATE", "", "v1", "configmaps")

// install creates a configuration of validating webhooks, and removes it after the test.
func (w *webhooks) install(t *testing.T, name string, hooks ...admissionregistrationv1.ValidatingWebhook) *admissionregistrationv1.ValidatingWebhookConfiguration {
	t.Helper()
	api := w.AdmissionregistrationV1().ValidatingWebhookConfigurations()
	c := &admissionregistrationv1.ValidatingWebhookConfiguration{ObjectMeta: metav1.ObjectMeta{Name: name}, Webhooks: hooks}
	created := must(api.Create(t.Context(), c, metav1.CreateOptions{}))(t)
	t.Cleanup(func() { _ = api.Delete(context.Background(), name, metav1.DeleteOptions{}) })
	return created
}

func (w *webhooks) installMutating(t *testing.T, name string, hooks ...admissionregistrationv1.MutatingWebhook) *admissionregistrationv1.MutatingWebhookConfiguration {
	t.Helper()
	api := w.AdmissionregistrationV1().MutatingWebhookConfigurations()
	c := &admissionregistrationv1.MutatingWebhookConfiguration{ObjectMeta: metav1.ObjectMeta{Name: name}, Webhooks: hooks}
	created := must(api.Create(t.Context(), c, metav1.CreateOptions{}))(t)
	t.Cleanup(func() { _ = api.Delete(context.Background(), name, metav1.DeleteOptions{}) })
	return created
}

var dry = metav1.CreateOptions{DryRun: []string{metav1.DryRunAll}}

// created is what a ConfigMap's data would be.
func (w *webhooks) created(ctx context.Context, ns string, data ...string) (map[string]string, error) {
	cm, err := w.CoreV1().ConfigMaps(ns).Create(ctx, configMap("dry", data...), dry)
	if err != nil {
		return nil, err
	}
	return cm.Data, nil
}

// denies waits until a bad ConfigMap is refused, or accepted.
func (w *webhooks) denies(t *testing.T, ns string, want bool) {
	t.Helper()
	eventually(t, fmt.Sprint("the webhook denies: ", want), func(ctx context.Context) error {
		_, err := w.created(ctx, ns, "bad", "yes")
		if want {
			return lacks(err, "admission webhook", "denied the request: this is bad")
		}
		return err
	})
}

// mutates waits until a ConfigMap is mutated, or is not.
func (w *webhooks) mutates(t *testing.T, ns string, want bool) {
	t.Helper()
	eventually(t, fmt.Sprint("the webhook mutates: ", want), func(ctx context.Context) error {
		data, err := w.created(ctx, ns, "start", "yes")
		if err == nil && (data["stage-1"] == "yes") != want {
			err = fmt.Errorf("the data is %v", data)
		}
		return err
	})
}

func (w *webhooks) listMutating(t *testing.T) {
	ns, api := w.namespace(t), w.AdmissionregistrationV1().MutatingWebhookConfigurations()
	for i := range 10 {
		c := &admissionregistrationv1.MutatingWebhookConfiguration{ObjectMeta: metav1.ObjectMeta{Name: fmt.Sprint("list-", i), Labels: pairs([]string{"list", ns})}}
		c.Webhooks = []admissionregistrationv1.MutatingWebhook{w.mutating(ns, "/stage-1", configMaps)}
		must(api.Create(t.Context(), c, metav1.CreateOptions{}))(t)
	}
	selected := metav1.ListOptions{LabelSelector: "list=" + ns}
	if n := len(must(api.List(t.Context(), selected))(t).Items); n != 10 {
		t.Errorf("%d configurations are listed, want 10", n)
	}
	w.mutates(t, ns, true)
	if err := api.DeleteCollection(t.Context(), metav1.DeleteOptions{}, selected); err != nil {
		t.Fatal(err)
	}
	if n := len(must(api.List(t.Context(), selected))(t).Items); n != 0 {
		t.Errorf("%d configurations are left", n)
	}
	w.mutates(t, ns, false)
}

func (w *webhooks) listValidating(t *testing.T) {
	ns, api := w.namespace(t), w.AdmissionregistrationV1().ValidatingWebhookConfigurations()
	for i := range 10 {
		c := &admissionregistrationv1.ValidatingWebhookConfiguration{ObjectMeta: metav1.ObjectMeta{Name: fmt.Sprint("list-", i), Labels: pairs([]string{"list", ns})}}
		c.Webhooks = []admissionregistrationv1.ValidatingWebhook{w.validating(ns, "/deny", configMaps)}
		must(api.Create(t.Context(), c, metav1.CreateOptions{}))(t)
	}
	selected := metav1.ListOptions{LabelSelector: "list=" + ns}
	if n := len(must(api.List(t.Context(), selected))(t).Items); n != 10 {
		t.Errorf("%d configurations are listed, want 10", n)
	}
	w.denies(t, ns, true)
	if err := api.DeleteCollection(t.Context(), metav1.DeleteOptions{}, selected); err != nil {
		t.Fatal(err)
	}
	w.denies(t, ns, false)
}

func (w *webhooks) updateMutating(t *testing.T) {
	ns, api := w.namespace(t), w.AdmissionregistrationV1().MutatingWebhookConfigurations()
	c := w.installMutating(t, "update-mutating", w.mutating(ns, "/stage-1", configMaps))
	w.mutates(t, ns, true)
	c.Webhooks[0].Rules[0].Operations = []admissionregistrationv1.OperationType{"UPDATE"}
	must(api.Update(t.Context(), c, metav1.UpdateOptions{}))(t)
	w.mutates(t, ns, false)
	must(api.Patch(t.Context(), c.Name, types.JSONPatchType, []byte(`[{"op":"replace","path":"/webhooks/0/rules/0/operations","value":["CREATE"]}]`), metav1.PatchOptions{}))(t)
	w.mutates(t, ns, true)
}

func (w *webhooks) updateValidating(t *testing.T) {
	ns, api := w.namespace(t), w.AdmissionregistrationV1().ValidatingWebhookConfigurations()
	c := w.install(t, "update-validating", w.validating(ns, "/deny", configMaps))
	w.denies(t, ns, true)
	c.Webhooks[0].Rules[0].Operations = []admissionregistrationv1.OperationType{"UPDATE"}
	must(api.Update(t.Context(), c, metav1.UpdateOptions{}))(t)
	w.denies(t, ns, false)
	must(api.Patch(t.Context(), c.Name, types.JSONPatchType, []byte(`[{"op":"replace","path":"/webhooks/0/rules/0/operations","value":["CREATE"]}]`), metav1.PatchOptions{}))(t)
	w.denies(t, ns, true)
}

func (w *webhooks) denyAttach(t *testing.T) {
	ns := w.namespace(t)
	must(w.CoreV1().Pods(ns).Create(t.Context(), pod("p"), metav1.CreateOptions{}))(t)
	w.install(t, "deny-attach", w.validating(ns, "/deny-all", on("CONNECT", "", "v1", "pods/attach")))
	eventually(t, "attaching is denied", func(ctx context.Context) error {
		options := &corev1.PodAttachOptions{Container: "c", Stdout: true}
		err := w.CoreV1().RESTClient().Post().Namespace(ns).Resource("pods").Name("p").SubResource("attach").VersionedParams(options, scheme.ParameterCodec).Do(ctx).Error()
		return lacks(err, "denied the request: nothing is allowed")
	})
}

func (w *webhooks) denyCreate(t *testing.T) {
	ns, exempt := w.namespace(t), w.namespace(t)
	w.install(t, "deny-create", w.validating(ns, "/deny", on("CREATE UPDATE", "", "v1", "*")))
	w.denies(t, ns, true)
	bad := pod("bad")
	bad.Labels = pairs([]string{"bad", "yes"})
	_, err := w.CoreV1().Pods(ns).Create(t.Context(), bad, metav1.CreateOptions{})
	refused(t, "a bad pod", err, `admission webhook "deny.example.com" denied the request: this is bad`)
	cms := w.CoreV1().ConfigMaps(ns)
	good := must(cms.Create(t.Context(), configMap("good"), metav1.CreateOptions{}))(t)
	good.Data = pairs([]string{"bad", "yes"})
	_, err = cms.Update(t.Context(), good, metav1.UpdateOptions{})
	refused(t, "an update to bad", err, "this is bad")
	_, err = cms.Patch(t.Context(), "good", types.MergePatchType, []byte(`{"data":{"bad":"yes"}}`), metav1.PatchOptions{})
	refused(t, "a patch to bad", err, "this is bad")
	if _, err := w.created(t.Context(), exempt, "bad", "yes"); err != nil {
		t.Errorf("in a namespace that is not selected: %v", err)
	}
	hangs := w.validating(ns, "/slow", on("CREATE", "", "v1", "pods"))
	hangs.TimeoutSeconds = new(int32(1))
	w.install(t, "hangs", hangs)
	eventually(t, "a hanging webhook denies", func(ctx context.Context) error {
		_, err := w.CoreV1().Pods(ns).Create(ctx, pod("p"), dry)
		return lacks(err, "failed calling webhook", "deadline")
	})
}

func (w *webhooks) honorTimeout(t *testing.T) {
	for name, test := range map[string]struct {
		timeout *int32
		policy  admissionregistrationv1.FailurePolicyType
		refused bool
	}{
		"short-fail":   {new(int32(1)), admissionregistrationv1.Fail, true},
		"short-ignore": {new(int32(1)), admissionregistrationv1.Ignore, false},
		"long":         {new(int32(10)), admissionregistrationv1.Fail, false},
		"default":      {nil, admissionregistrationv1.Fail, false},
	} {
		ns := w.namespace(t)
		cm := must(w.CoreV1().ConfigMaps(ns).Create(t.Context(), configMap("before"), metav1.CreateOptions{}))(t)
		slow, marker := w.validating(ns, "/slow", configMaps), w.validating(ns, "/deny", on("UPDATE", "", "v1", "configmaps"))
		slow.TimeoutSeconds, slow.FailurePolicy = test.timeout, &test.policy
		w.install(t, "timeout-"+name, slow, marker)
		cm.Data = pairs([]string{"bad", "yes"})
		eventually(t, "the webhook is in place", func(ctx context.Context) error {
			_, err := w.CoreV1().ConfigMaps(ns).Update(ctx, cm, metav1.UpdateOptions{DryRun: []string{metav1.DryRunAll}})
			return lacks(err, "this is bad")
		})
		_, err := w.created(t.Context(), ns)
		if test.refused {
			refused(t, name, err, "failed calling webhook", "deadline")
		} else if err != nil {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func (w *webhooks) orderedMutation(t *testing.T) {
	ns := w.namespace(t)
	w.installMutating(t, "ordered", w.mutating(ns, "/stage-1", configMaps), w.mutating(ns, "/stage-2", configMaps))
	w.mutates(t, ns, true)
	data := must(w.created(t.Context(), ns, "start", "yes"))(t)
	if data["stage-1"] != "yes" || data["stage-2"] != "yes" {
		t.Errorf("after two webhooks the data is %v", data)
	}
}

func (w *webhooks) mutationWithDefaulting(t *testing.T) {
	ns := w.namespace(t)
	w.installMutating(t, "defaulting", w.mutating(ns, "/init-container", on("CREATE", "", "v1", "pods")))
	eventually(t, "pods get another container", func(ctx context.Context) error {
		p, err := w.CoreV1().Pods(ns).Create(ctx, pod("p"), dry)
		if err != nil {
			return err
		}
		if len(p.Spec.InitContainers) != 1 {
			return errors.New("there is none")
		}
		if c := p.Spec.InitContainers[0]; c.Name != "added" || c.TerminationMessagePolicy != corev1.TerminationMessageReadFile {
			t.Errorf("the added container has not its defaults: %v", c)
		}
		return nil
	})
}

func (w *webhooks) configurationObjects(t *testing.T) {
	ns := w.namespace(t)
	all := on("*", "admissionregistration.k8s.io", "*", "*")
	deny, label := w.validating(ns, "/deny", all, configMaps), w.mutating(ns, "/label", all)
	deny.NamespaceSelector, label.NamespaceSelector = nil, nil
	deny.ObjectSelector = &metav1.LabelSelector{MatchLabels: map[string]string{"only": ns}}
	label.ObjectSelector = deny.ObjectSelector
	w.install(t, "objects-deny", deny)
	w.installMutating(t, "objects-label", label)
	eventually(t, "the webhook is in place", func(ctx context.Context) error {
		cm := configMap("dry", "bad", "yes")
		cm.Labels = map[string]string{"only": ns}
		_, err := w.CoreV1().ConfigMaps(ns).Create(ctx, cm, dry)
		return lacks(err, "this is bad")
	})
	hook := w.validating("nowhere", "/deny", configMaps)
	c := &admissionregistrationv1.ValidatingWebhookConfiguration{Webhooks: []admissionregistrationv1.ValidatingWebhook{hook}}
	c.Name, c.Labels = "object", map[string]string{"only": ns, "bad": "yes"}
	api := w.AdmissionregistrationV1().ValidatingWebhookConfigurations()
	created, err := api.Create(t.Context(), c, metav1.CreateOptions{})
	if err != nil {
		t.Fatalf("creating a configuration: %v", err)
	}
	if created.Labels["mutated"] != "" {
		t.Error("a webhook mutated a webhook configuration")
	}
	if err := api.Delete(t.Context(), "object", metav1.DeleteOptions{}); err != nil {
		t.Errorf("deleting a configuration: %v", err)
	}
}

func (w *webhooks) failClosed(t *testing.T) {
	ns := w.namespace(t)
	hook := w.validating(ns, "/deny", configMaps)
	hook.ClientConfig.CABundle, hook.FailurePolicy = nil, new(admissionregistrationv1.Fail)
	w.install(t, "fail-closed", hook)
	eventually(t, "everything is denied", func(ctx context.Context) error {
		_, err := w.created(ctx, ns)
		return lacks(err, "failed calling webhook", "certificate")
	})
}
