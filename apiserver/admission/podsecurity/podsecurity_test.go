package podsecurity

import (
	"strings"
	"testing"

	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apiserver/pkg/admission"
	"k8s.io/apiserver/pkg/authentication/user"
	"k8s.io/apiserver/pkg/warning"
	"k8s.io/client-go/informers"
	"k8s.io/client-go/kubernetes/fake"
)

// warnings collects them.
type warnings []string

func (w *warnings) AddWarning(_, text string) { *w = append(*w, text) }

func plugin(t *testing.T, config string, namespaces ...runtime.Object) *Plugin {
	t.Helper()
	p, err := New(strings.NewReader(config))
	if err != nil {
		t.Fatal(err)
	}
	c := fake.NewClientset(namespaces...)
	f := informers.NewSharedInformerFactory(c, 0)
	p.SetExternalKubeClientSet(c)
	p.SetExternalKubeInformerFactory(f)
	if err := p.ValidateInitialization(); err != nil {
		t.Fatal(err)
	}
	f.Start(t.Context().Done())
	f.WaitForCacheSync(t.Context().Done())
	return p
}

func namespace(name string, labels map[string]string) *corev1.Namespace {
	return &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: name, Labels: labels}}
}

func attrs(obj, old runtime.Object, gr schema.GroupResource, ns string, op admission.Operation) admission.Attributes {
	return admission.NewAttributesRecord(obj, old, corev1.SchemeGroupVersion.WithKind("Pod"), ns, "p", gr.WithVersion("v1"), "", op, nil, false, &user.DefaultInfo{Name: "jane"})
}

func TestValidate(t *testing.T) {
	privileged := true
	pod := &corev1.Pod{Spec: corev1.PodSpec{Containers: []corev1.Container{{Name: "a", SecurityContext: &corev1.SecurityContext{Privileged: &privileged}}}}}
	deployment := &appsv1.Deployment{Spec: appsv1.DeploymentSpec{Template: corev1.PodTemplateSpec{Spec: pod.Spec}}}
	exempt := `{"apiVersion":"pod-security.admission.config.k8s.io/v1","kind":"PodSecurityConfiguration","defaults":{"enforce":"baseline"},"exemptions":{"usernames":["jane"]}}`
	strict := `{"apiVersion":"pod-security.admission.config.k8s.io/v1","kind":"PodSecurityConfiguration","defaults":{"enforce":"baseline"}}`
	for name, c := range map[string]struct {
		config          string
		labels          map[string]string
		obj             runtime.Object
		gr              schema.GroupResource
		refused, warned string
	}{
		"no labels":          {"", nil, pod, corev1.Resource("pods"), "", ""},
		"enforced":           {"", map[string]string{"pod-security.kubernetes.io/enforce": "baseline"}, pod, corev1.Resource("pods"), `violates PodSecurity "baseline:latest": privileged`, ""},
		"warned":             {"", map[string]string{"pod-security.kubernetes.io/warn": "baseline"}, pod, corev1.Resource("pods"), "", "would violate PodSecurity"},
		"template":           {"", map[string]string{"pod-security.kubernetes.io/enforce": "baseline", "pod-security.kubernetes.io/warn": "baseline"}, deployment, appsv1.Resource("deployments"), "", "would violate PodSecurity"},
		"configured":         {strict, nil, pod, corev1.Resource("pods"), "violates PodSecurity", ""},
		"exempt user":        {exempt, nil, pod, corev1.Resource("pods"), "", ""},
		"label of nonsense":  {"", nil, namespace("n", map[string]string{"pod-security.kubernetes.io/enforce": "none"}), corev1.Resource("namespaces"), "must be one of privileged, baseline, restricted", ""},
		"no pods to look at": {strict, nil, &corev1.Secret{}, corev1.Resource("secrets"), "", ""},
	} {
		t.Run(name, func(t *testing.T) {
			p := plugin(t, c.config, namespace("n", c.labels))
			var w warnings
			err := p.Validate(warning.WithWarningRecorder(t.Context(), &w), attrs(c.obj, nil, c.gr, "n", admission.Create), nil)
			if (err != nil) != (c.refused != "") || err != nil && !strings.Contains(err.Error(), c.refused) {
				t.Errorf("got %v, want %q", err, c.refused)
			}
			if err != nil && !apierrors.IsForbidden(err) && !apierrors.IsInvalid(err) {
				t.Errorf("refused by another error: %#v", err)
			}
			if got := strings.Join(w, "\n"); (got != "") != (c.warned != "") || !strings.Contains(got, c.warned) {
				t.Errorf("warned %q, want %q", got, c.warned)
			}
		})
	}
}

// TestLabelNamespace warns of the pods that are there and that a stricter standard would refuse.
func TestLabelNamespace(t *testing.T) {
	privileged := true
	pod := &corev1.Pod{ObjectMeta: metav1.ObjectMeta{Name: "p", Namespace: "n"}, Spec: corev1.PodSpec{Containers: []corev1.Container{{Name: "a", SecurityContext: &corev1.SecurityContext{Privileged: &privileged}}}}}
	old, labelled := namespace("n", nil), namespace("n", map[string]string{"pod-security.kubernetes.io/enforce": "restricted"})
	p := plugin(t, "", old, pod)
	var w warnings
	err := p.Validate(warning.WithWarningRecorder(t.Context(), &w), attrs(labelled, old, corev1.Resource("namespaces"), "n", admission.Update), nil)
	if err != nil || len(w) < 2 || !strings.Contains(w[0], "existing pods in namespace") {
		t.Errorf("err %v, warnings %q", err, w)
	}
}

func TestBadConfiguration(t *testing.T) {
	if _, err := New(strings.NewReader(`{"apiVersion":"pod-security.admission.config.k8s.io/v1","kind":"PodSecurityConfiguration","unknown":1}`)); err == nil {
		t.Error("an unknown field is accepted")
	}
}
