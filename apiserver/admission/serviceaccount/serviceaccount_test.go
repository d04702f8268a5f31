package serviceaccount

import (
	"strings"
	"testing"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apiserver/pkg/admission"
	"k8s.io/client-go/informers"
	"k8s.io/client-go/kubernetes/fake"
)

func plugin(t *testing.T) *Plugin {
	t.Helper()
	no := false
	account := func(name string, change func(*corev1.ServiceAccount)) *corev1.ServiceAccount {
		a := &corev1.ServiceAccount{ObjectMeta: metav1.ObjectMeta{Namespace: "ns", Name: name}}
		change(a)
		return a
	}
	client := fake.NewClientset(
		account("default", func(a *corev1.ServiceAccount) { a.ImagePullSecrets = []corev1.LocalObjectReference{{Name: "registry"}} }),
		account("quiet", func(a *corev1.ServiceAccount) { a.AutomountServiceAccountToken = &no }),
		account("strict", func(a *corev1.ServiceAccount) {
			a.Annotations = map[string]string{enforceAnnotation: "true"}
			a.Secrets = []corev1.ObjectReference{{Name: "known"}}
		}))
	p := New()
	p.SetExternalKubeClientSet(client)
	p.SetExternalKubeInformerFactory(informers.NewSharedInformerFactory(client, 0))
	p.SetReadyFunc(func() bool { return true })
	return p
}

func podWith(change ...func(*corev1.PodSpec)) *corev1.Pod {
	p := &corev1.Pod{Spec: corev1.PodSpec{InitContainers: []corev1.Container{{Name: "i"}}, Containers: []corev1.Container{{Name: "c"}}}}
	for _, f := range change {
		f(&p.Spec)
	}
	return p
}

func of(account string) func(*corev1.PodSpec) {
	return func(s *corev1.PodSpec) { s.ServiceAccountName = account }
}

func secretVolume(name string) func(*corev1.PodSpec) {
	return func(s *corev1.PodSpec) {
		s.Volumes = append(s.Volumes, corev1.Volume{VolumeSource: corev1.VolumeSource{Secret: &corev1.SecretVolumeSource{SecretName: name}}})
	}
}

func admit(t *testing.T, pod *corev1.Pod) error {
	t.Helper()
	p := plugin(t)
	a := admission.NewAttributesRecord(pod, nil, corev1.SchemeGroupVersion.WithKind("Pod"), "ns", "p",
		corev1.SchemeGroupVersion.WithResource("pods"), "", admission.Create, nil, false, nil)
	if err := p.Admit(t.Context(), a, nil); err != nil {
		return err
	}
	return p.Validate(t.Context(), a, nil)
}

func TestAccounts(t *testing.T) {
	yes, no := true, false
	taken := func(s *corev1.PodSpec) {
		s.Containers[0].VolumeMounts = []corev1.VolumeMount{{Name: "own", MountPath: mountPath}}
	}
	for name, c := range map[string]struct {
		pod     *corev1.Pod
		account string
		mounts  int // of init container and container
		volumes int
		pulls   int
	}{
		"default":               {podWith(), "default", 2, 1, 1},
		"quiet":                 {podWith(of("quiet")), "quiet", 0, 0, 0},
		"quiet, against it":     {podWith(of("quiet"), func(s *corev1.PodSpec) { s.AutomountServiceAccountToken = &yes }), "quiet", 2, 1, 0},
		"default, against it":   {podWith(func(s *corev1.PodSpec) { s.AutomountServiceAccountToken = &no }), "default", 0, 0, 1},
		"with a place taken":    {podWith(taken), "default", 2, 1, 1},
		"with secrets to pull":  {podWith(func(s *corev1.PodSpec) { s.ImagePullSecrets = []corev1.LocalObjectReference{{Name: "a"}, {Name: "b"}} }), "default", 2, 1, 2},
		"strict, known secrets": {podWith(of("strict"), secretVolume("known")), "strict", 2, 2, 0},
	} {
		if err := admit(t, c.pod); err != nil {
			t.Errorf("%s: %v", name, err)
		}
		s := c.pod.Spec
		mounts := len(s.InitContainers[0].VolumeMounts) + len(s.Containers[0].VolumeMounts)
		if s.ServiceAccountName != c.account || s.DeprecatedServiceAccount != c.account || mounts != c.mounts || len(s.Volumes) != c.volumes || len(s.ImagePullSecrets) != c.pulls {
			t.Errorf("%s: account %s, %d mounts, %d volumes, %d secrets to pull by", name, s.ServiceAccountName, mounts, len(s.Volumes), len(s.ImagePullSecrets))
		}
	}
}

func TestRefusals(t *testing.T) {
	env := func(s *corev1.PodSpec) {
		s.Containers[0].Env = []corev1.EnvVar{{Name: "E", ValueFrom: &corev1.EnvVarSource{SecretKeyRef: &corev1.SecretKeySelector{LocalObjectReference: corev1.LocalObjectReference{Name: "other"}}}}}
	}
	from := func(s *corev1.PodSpec) {
		s.InitContainers[0].EnvFrom = []corev1.EnvFromSource{{SecretRef: &corev1.SecretEnvSource{LocalObjectReference: corev1.LocalObjectReference{Name: "other"}}}}
	}
	pull := func(s *corev1.PodSpec) { s.ImagePullSecrets = []corev1.LocalObjectReference{{Name: "other"}} }
	mirror := podWith(of("default"))
	mirror.Annotations = map[string]string{corev1.MirrorPodAnnotationKey: "x"}
	mirrorSecret := podWith(secretVolume("known"))
	mirrorSecret.Annotations = mirror.Annotations
	for want, pod := range map[string]*corev1.Pod{
		`error looking up service account ns/missing: serviceaccounts "missing" not found`:                                       podWith(of("missing")),
		`volume with secret.secretName="other" is not allowed because service account strict does not reference that secret`:     podWith(of("strict"), secretVolume("other")),
		`container c with envVar E referencing secret.secretName="other" is not allowed because service account strict`:          podWith(of("strict"), env),
		`init container i with envFrom referencing secret.secretName="other" is not allowed`:                                     podWith(of("strict"), from),
		`imagePullSecrets[0].name="other" is not allowed because service account strict does not reference that imagePullSecret`: podWith(of("strict"), pull),
		"a mirror pod may not reference service accounts":                                                                        mirror,
		"a mirror pod may not reference secrets":                                                                                 mirrorSecret,
	} {
		if err := admit(t, pod); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%v, want %s", err, want)
		}
	}
}
