package externalip

import (
	"strings"
	"testing"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apiserver/pkg/admission"
)

func TestExternalAddresses(t *testing.T) {
	at := func(ips ...string) *corev1.Service {
		return &corev1.Service{Spec: corev1.ServiceSpec{ExternalIPs: ips}}
	}
	for name, c := range map[string]struct {
		now, old runtime.Object
		ok       bool
	}{
		"none":      {at(), nil, true},
		"new":       {at("192.0.2.1"), nil, false},
		"as it was": {at("192.0.2.1"), at("192.0.2.1"), true},
		"one less":  {at("192.0.2.1"), at("192.0.2.1", "192.0.2.2"), true},
		"one more":  {at("192.0.2.1", "192.0.2.2"), at("192.0.2.1"), false},
	} {
		a := admission.NewAttributesRecord(c.now, c.old, corev1.SchemeGroupVersion.WithKind("Service"), "x", "y",
			corev1.SchemeGroupVersion.WithResource("services"), "", admission.Create, nil, false, nil)
		err := New().Validate(t.Context(), a, nil)
		if (err == nil) != c.ok || err != nil && !strings.Contains(err.Error(), "Use of external IPs is denied by admission control") {
			t.Errorf("%s: %v", name, err)
		}
	}
}
