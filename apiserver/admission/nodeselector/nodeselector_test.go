package nodeselector

import (
	"maps"
	"strings"
	"testing"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apiserver/pkg/admission"
	"k8s.io/client-go/informers"
	"k8s.io/client-go/kubernetes/fake"
)

const config = `podNodeSelectorPluginConfig:
  clusterDefaultNodeSelector: env=default
  strict: env=prod,disk=ssd
`

func plugin(t *testing.T) *Plugin {
	t.Helper()
	ns := func(name string, annotations map[string]string) *corev1.Namespace {
		return &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: name, Annotations: annotations}}
	}
	client := fake.NewClientset(ns("plain", nil), ns("free", map[string]string{annotation: ""}),
		ns("prod", map[string]string{annotation: "env=prod, disk=ssd"}), ns("strict", map[string]string{annotation: "env=prod"}))
	allowed, err := read(strings.NewReader(config))
	if err != nil {
		t.Fatal(err)
	}
	p := New(allowed)
	p.SetExternalKubeClientSet(client)
	p.SetExternalKubeInformerFactory(informers.NewSharedInformerFactory(client, 0))
	p.SetReadyFunc(func() bool { return true })
	return p
}

func TestPodsGoWhereTheirNamespaceSays(t *testing.T) {
	p := plugin(t)
	const conflicts = "pod node label selector conflicts with its namespace node label selector"
	for _, c := range []struct {
		namespace string
		has, want map[string]string
		err       string
	}{
		{"plain", nil, map[string]string{"env": "default"}, ""},
		{"plain", map[string]string{"a": "b"}, map[string]string{"env": "default", "a": "b"}, ""},
		{"plain", map[string]string{"env": "prod"}, nil, conflicts},
		{"free", nil, nil, ""},
		{"free", map[string]string{"env": "prod"}, map[string]string{"env": "prod"}, ""},
		{"prod", map[string]string{"env": "prod"}, map[string]string{"env": "prod", "disk": "ssd"}, ""},
		{"prod", map[string]string{"disk": "hdd"}, nil, conflicts},
		{"strict", map[string]string{"disk": "ssd"}, map[string]string{"env": "prod", "disk": "ssd"}, ""},
		{"strict", map[string]string{"a": "b"}, nil, "pod node label selector labels conflict with its namespace whitelist"},
		{"missing", nil, nil, "not found"},
	} {
		pod := &corev1.Pod{ObjectMeta: metav1.ObjectMeta{Name: "p"}, Spec: corev1.PodSpec{NodeSelector: c.has}}
		a := admission.NewAttributesRecord(pod, nil, corev1.SchemeGroupVersion.WithKind("Pod"), c.namespace, "p",
			corev1.SchemeGroupVersion.WithResource("pods"), "", admission.Create, nil, false, nil)
		err := p.Admit(t.Context(), a, nil)
		if (err != nil) != (c.err != "") || err != nil && !strings.Contains(err.Error(), c.err) {
			t.Errorf("%s, %v: %v, want %q", c.namespace, c.has, err, c.err)
		}
		if err == nil && !maps.Equal(pod.Spec.NodeSelector, c.want) {
			t.Errorf("%s, %v: selector %v, want %v", c.namespace, c.has, pod.Spec.NodeSelector, c.want)
		}
	}
}

func TestConfiguration(t *testing.T) {
	for text, want := range map[string]string{
		"podNodeSelectorPluginConfigs: {}":           "unknown field",
		"podNodeSelectorPluginConfig: {a: 'b in c'}": "of a",
	} {
		if _, err := read(strings.NewReader(text)); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v, want %s", text, err, want)
		}
	}
	if got, err := read(nil); got != nil || err != nil {
		t.Errorf("without: %v, %v", got, err)
	}
}
