package always

import (
	"strings"
	"testing"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apiserver/pkg/admission"
)

func TestPlugins(t *testing.T) {
	plugins := admission.NewPlugins()
	Register(plugins)
	a := admission.NewAttributesRecord(&corev1.Secret{}, nil, corev1.SchemeGroupVersion.WithKind("Secret"), "x", "y",
		corev1.SchemeGroupVersion.WithResource("secrets"), "", admission.Create, nil, false, nil)
	for name, want := range map[string]string{AdmitName: "", DenyName: "admission control is denying all modifications"} {
		p, err := plugins.InitPlugin(name, nil, admission.PluginInitializers{})
		if err != nil {
			t.Fatal(err)
		}
		for _, op := range []admission.Operation{admission.Create, admission.Update, admission.Delete, admission.Connect} {
			if !p.Handles(op) {
				t.Errorf("%s does not handle %s", name, op)
			}
		}
		if v, ok := p.(admission.ValidationInterface); ok {
			err = v.Validate(t.Context(), a, nil)
		}
		if got := err != nil; got != (want != "") || got && !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v, want %q", name, err, want)
		}
	}
}
