package revision

import (
	"strings"
	"testing"

	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

func ownerOf(image string, limit int) Owner {
	return Owner{
		Object:   &appsv1.DaemonSet{ObjectMeta: metav1.ObjectMeta{Namespace: "ns", Name: "ds", UID: "ds"}},
		Kind:     appsv1.SchemeGroupVersion.WithKind("DaemonSet"),
		Template: &corev1.PodTemplateSpec{Spec: corev1.PodSpec{Containers: []corev1.Container{{Name: "c", Image: image}}}},
		Limit:    limit,
	}
}

func plan(t *testing.T, o Owner, existing []*appsv1.ControllerRevision, used ...string) History {
	t.Helper()
	h, err := Plan(o, existing, func(r *appsv1.ControllerRevision) bool {
		for _, u := range used {
			if u == Hash(r) {
				return true
			}
		}
		return false
	})
	if err != nil {
		t.Fatal(err)
	}
	return h
}

func TestPlan(t *testing.T) {
	var all []*appsv1.ControllerRevision
	for i, image := range []string{"a", "b", "c"} {
		h := plan(t, ownerOf(image, 10), all)
		if !h.Create || h.Current.Revision != int64(i+1) || len(h.Remove) != 0 {
			t.Fatalf("image %s: %+v", image, h)
		}
		if !strings.HasPrefix(h.Current.Name, "ds-") || Hash(h.Current) == "" || !strings.Contains(string(h.Current.Data.Raw), `"$patch":"replace"`) {
			t.Errorf("revision is %+v", h.Current)
		}
		all = append(all, h.Current)
	}
	if h := plan(t, ownerOf("c", 10), all); h.Create || h.Update || h.Current.Name != all[2].Name {
		t.Errorf("the same template: %+v", h)
	}
	back := plan(t, ownerOf("a", 10), all)
	if back.Create || !back.Update || back.Current.Name != all[0].Name || back.Current.Revision != 4 {
		t.Errorf("a template that comes back: %+v", back)
	}
	if all[0].Revision != 1 {
		t.Error("the plan changed what it was given")
	}
	if h := plan(t, ownerOf("c", 1), all); len(h.Remove) != 1 || h.Remove[0].Name != all[0].Name {
		t.Errorf("beyond the limit: %+v", h.Remove)
	}
	if h := plan(t, ownerOf("c", 0), all, Hash(all[0])); len(h.Remove) != 1 || h.Remove[0].Name != all[1].Name {
		t.Errorf("beyond the limit, but used: %+v", h.Remove)
	}
}

func TestTemplateHash(t *testing.T) {
	a, b := ownerOf("a", 0).Template, ownerOf("b", 0).Template
	if TemplateHash(a, nil) == TemplateHash(b, nil) {
		t.Error("different templates have one hash")
	}
	if TemplateHash(a, nil) != TemplateHash(a.DeepCopy(), nil) {
		t.Error("the hash is not that of the content")
	}
	if TemplateHash(a, nil) == TemplateHash(a, new(int32(1))) {
		t.Error("a collision makes no difference")
	}
}
