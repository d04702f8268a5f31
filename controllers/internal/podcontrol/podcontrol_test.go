package podcontrol

import (
	"context"
	"errors"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/tools/record"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/client/fake"
	"sigs.k8s.io/controller-runtime/pkg/client/interceptor"
)

var kind = corev1.SchemeGroupVersion.WithKind("ReplicationController")

func TestFromTemplate(t *testing.T) {
	rc := &corev1.ReplicationController{ObjectMeta: metav1.ObjectMeta{Namespace: "ns", Name: "web", UID: "rc"}}
	template := &corev1.PodTemplateSpec{
		ObjectMeta: metav1.ObjectMeta{Name: "ignored", Labels: map[string]string{"app": "web"}, Annotations: map[string]string{"a": "b"}, Finalizers: []string{"f/g"}},
		Spec:       corev1.PodSpec{Containers: []corev1.Container{{Name: "c"}}},
	}
	p := FromTemplate(template, rc, kind)
	yes := true
	want := metav1.ObjectMeta{
		Namespace: "ns", GenerateName: "web-", Labels: map[string]string{"app": "web"}, Annotations: map[string]string{"a": "b"}, Finalizers: []string{"f/g"},
		OwnerReferences: []metav1.OwnerReference{{APIVersion: "v1", Kind: "ReplicationController", Name: "web", UID: "rc", Controller: &yes, BlockOwnerDeletion: &yes}},
	}
	if diff := cmp.Diff(want, p.ObjectMeta); diff != "" {
		t.Errorf("metadata (-want +got):\n%s", diff)
	}
	p.Labels["app"], p.Spec.Containers[0].Name = "changed", "changed"
	if template.Labels["app"] != "web" || template.Spec.Containers[0].Name != "c" {
		t.Error("the pod shares memory with its template")
	}
}

func TestControl(t *testing.T) {
	terminating := apierrors.NewForbidden(corev1.Resource("pods"), "", errors.New("namespace is being terminated"))
	terminating.ErrStatus.Details.Causes = []metav1.StatusCause{{Type: corev1.NamespaceTerminatingCause}}
	rc := &corev1.ReplicationController{ObjectMeta: metav1.ObjectMeta{Namespace: "ns", Name: "web", UID: "rc"}}
	labelled := &corev1.Pod{ObjectMeta: metav1.ObjectMeta{Namespace: "ns", Name: "p", UID: "u", Labels: map[string]string{"app": "web"}}}
	for _, tc := range []struct {
		name  string
		err   error
		do    func(Control, *corev1.Pod) error
		fails bool
		event string
	}{
		{"create", nil, func(c Control, p *corev1.Pod) error { return c.Create(t.Context(), p, rc) }, false, "Normal SuccessfulCreate Created pod: p"},
		{"create fails", errors.New("boom"), func(c Control, p *corev1.Pod) error { return c.Create(t.Context(), p, rc) }, true, "Warning FailedCreate Error creating: boom"},
		{"namespace goes", terminating, func(c Control, p *corev1.Pod) error { return c.Create(t.Context(), p, rc) }, true, ""},
		{"no labels", nil, func(c Control, p *corev1.Pod) error { return c.Create(t.Context(), &corev1.Pod{}, rc) }, true, ""},
		{"delete", nil, func(c Control, p *corev1.Pod) error {
			_ = c.Client.Create(t.Context(), p)
			return c.Delete(t.Context(), p, rc)
		}, false, "Normal SuccessfulDelete Deleted pod: p"},
		{"delete what is gone", nil, func(c Control, p *corev1.Pod) error { return c.Delete(t.Context(), p, rc) }, true, ""},
		{"delete fails", errors.New("boom"), func(c Control, p *corev1.Pod) error { return c.Delete(t.Context(), p, rc) }, true, "Warning FailedDelete Error deleting: boom"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			c := fake.NewClientBuilder().WithInterceptorFuncs(interceptor.Funcs{
				Create: func(ctx context.Context, c client.WithWatch, obj client.Object, opts ...client.CreateOption) error {
					if tc.err != nil {
						return tc.err
					}
					return c.Create(ctx, obj, opts...)
				},
				Delete: func(ctx context.Context, c client.WithWatch, obj client.Object, opts ...client.DeleteOption) error {
					if tc.err != nil {
						return tc.err
					}
					return c.Delete(ctx, obj, opts...)
				},
			}).Build()
			recorder := record.NewFakeRecorder(10)
			err := tc.do(Control{Client: c, Recorder: recorder}, labelled.DeepCopy())
			if (err != nil) != tc.fails {
				t.Errorf("error is %v", err)
			}
			close(recorder.Events)
			if got := strings.TrimSpace(<-recorder.Events); got != tc.event {
				t.Errorf("event is %q, not %q", got, tc.event)
			}
		})
	}
}
