package noderestriction

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	authenticationv1 "k8s.io/api/authentication/v1"
	certificatesv1 "k8s.io/api/certificates/v1"
	corev1 "k8s.io/api/core/v1"
	storagev1 "k8s.io/api/storage/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/apiserver/pkg/admission"
	"k8s.io/apiserver/pkg/authentication/user"
	"k8s.io/apiserver/pkg/authorization/authorizer"
	"k8s.io/client-go/kubernetes/fake"
)

func TestForbiddenLabels(t *testing.T) {
	old := map[string]string{"kubernetes.io/hostname": "n1", "node-role.kubernetes.io/worker": "", "mine": "a"}
	now := map[string]string{
		"kubernetes.io/hostname": "n2", "mine": "b", "example.com/x": "y", "node.kubernetes.io/kind": "big", "kubelet.kubernetes.io/x": "y",
		"topology.kubernetes.io/zone": "z", "node-role.kubernetes.io/control-plane": "", "x.node-restriction.kubernetes.io/y": "", "foo.k8s.io/bar": "",
	}
	want := []string{"foo.k8s.io/bar", "node-role.kubernetes.io/control-plane", "node-role.kubernetes.io/worker", "x.node-restriction.kubernetes.io/y"}
	if diff := cmp.Diff(want, forbiddenLabels(old, now)); diff != "" {
		t.Errorf("forbidden (-want +got):\n%s", diff)
	}
	if bad := forbiddenLabels(old, old); bad != nil {
		t.Errorf("unchanged labels are forbidden: %v", bad)
	}
}

func TestMirrorPods(t *testing.T) {
	p := New()
	p.SetExternalKubeClientSet(fake.NewClientset(&corev1.Node{ObjectMeta: metav1.ObjectMeta{Name: "n1", UID: "u1"}}))
	yes := true
	mirror := func(change func(*corev1.Pod)) *corev1.Pod {
		pod := &corev1.Pod{
			ObjectMeta: metav1.ObjectMeta{
				Name: "static", Annotations: map[string]string{corev1.MirrorPodAnnotationKey: "x"},
				OwnerReferences: []metav1.OwnerReference{{APIVersion: "v1", Kind: "Node", Name: "n1", UID: "u1", Controller: &yes}},
			},
			Spec: corev1.PodSpec{NodeName: "n1"},
		}
		change(pod)
		return pod
	}
	for name, c := range map[string]struct {
		change func(*corev1.Pod)
		want   string
	}{
		"good":               {func(*corev1.Pod) {}, ""},
		"no mirror":          {func(p *corev1.Pod) { p.Annotations = nil }, "can only create mirror pods"},
		"of another node":    {func(p *corev1.Pod) { p.Spec.NodeName = "n2" }, "spec.nodeName set to itself"},
		"owned by nobody":    {func(p *corev1.Pod) { p.OwnerReferences = nil }, "owner reference set to itself"},
		"owned by an old me": {func(p *corev1.Pod) { p.OwnerReferences[0].UID = "u0" }, "UID mismatch"},
		"with an account":    {func(p *corev1.Pod) { p.Spec.ServiceAccountName = "x" }, "reference a service account"},
		"with a secret": {func(p *corev1.Pod) {
			p.Spec.Volumes = []corev1.Volume{{VolumeSource: corev1.VolumeSource{Secret: &corev1.SecretVolumeSource{SecretName: "x"}}}}
		}, "reference secrets"},
		"with a secret in an init container": {func(p *corev1.Pod) {
			p.Spec.InitContainers = []corev1.Container{{EnvFrom: []corev1.EnvFromSource{{SecretRef: &corev1.SecretEnvSource{LocalObjectReference: corev1.LocalObjectReference{Name: "x"}}}}}}
		}, "reference secrets"},
		"with a secret to pull by": {func(p *corev1.Pod) { p.Spec.ImagePullSecrets = []corev1.LocalObjectReference{{Name: "x"}} }, "reference secrets"},
		"with a token": {func(p *corev1.Pod) {
			p.Spec.Volumes = []corev1.Volume{projected("x")}
		}, "reference service account tokens"},
		"with a device": {func(p *corev1.Pod) { p.Spec.ResourceClaims = []corev1.PodResourceClaim{{Name: "x"}} }, "reference resourceclaims"},
	} {
		err := p.Validate(t.Context(), attributes(mirror(c.change), "n1"), nil)
		check(t, name, err, c.want)
	}
}

func projected(audience string) corev1.Volume {
	return corev1.Volume{VolumeSource: corev1.VolumeSource{Projected: &corev1.ProjectedVolumeSource{Sources: []corev1.VolumeProjection{
		{ServiceAccountToken: &corev1.ServiceAccountTokenProjection{Audience: audience}},
	}}}}
}

// grants are audiences that the node may ask for by a role.
type grants []string

func (g grants) Authorize(_ context.Context, a authorizer.Attributes) (authorizer.Decision, string, error) {
	if a.GetVerb() == "request-serviceaccounts-token-audience" && a.GetName() == "robot" && slices.Contains(g, a.GetResource()) {
		return authorizer.DecisionAllow, "", nil
	}
	return authorizer.DecisionNoOpinion, "", nil
}

func TestTokens(t *testing.T) {
	volume := func(source corev1.VolumeSource) corev1.Volume { return corev1.Volume{Name: "v", VolumeSource: source} }
	pod := func(name, node string, volumes ...corev1.Volume) *corev1.Pod {
		return &corev1.Pod{ObjectMeta: metav1.ObjectMeta{Namespace: "ns", Name: name, UID: types.UID(name)}, Spec: corev1.PodSpec{NodeName: node, Volumes: volumes}}
	}
	claimed := volume(corev1.VolumeSource{PersistentVolumeClaim: &corev1.PersistentVolumeClaimVolumeSource{ClaimName: "c"}})
	p := New()
	p.SetUnconditionalAuthorizer(grants{"granted"})
	p.SetAPIAudiences([]string{"api"})
	p.SetExternalKubeClientSet(fake.NewClientset(
		pod("plain", "n1", projected("")), pod("vault", "n1", projected("vault")), pod("none", "n1"), pod("elsewhere", "n2", projected("")),
		pod("inline", "n1", volume(corev1.VolumeSource{CSI: &corev1.CSIVolumeSource{Driver: "driver"}})), pod("claimed", "n1", claimed),
		pod("unbound", "n1", volume(corev1.VolumeSource{Ephemeral: &corev1.EphemeralVolumeSource{}})),
		&corev1.PersistentVolumeClaim{ObjectMeta: metav1.ObjectMeta{Namespace: "ns", Name: "c"}, Spec: corev1.PersistentVolumeClaimSpec{VolumeName: "pv"}},
		&corev1.PersistentVolume{ObjectMeta: metav1.ObjectMeta{Name: "pv"}, Spec: corev1.PersistentVolumeSpec{PersistentVolumeSource: corev1.PersistentVolumeSource{
			CSI: &corev1.CSIPersistentVolumeSource{Driver: "driver"}}}},
		&storagev1.CSIDriver{ObjectMeta: metav1.ObjectMeta{Name: "driver"}, Spec: storagev1.CSIDriverSpec{TokenRequests: []storagev1.TokenRequest{{Audience: "storage"}}}},
	))
	for _, c := range []struct{ pod, audiences, want string }{
		{"plain", "", ""},
		{"plain", "api", ""},
		{"plain", "vault", `audience "vault" not found in pod spec volume`},
		{"plain", "granted", ""},
		{"vault", "vault", ""},
		{"vault", "api", `audience "" not found in pod spec volume`},
		{"vault", "vault,api", "node may only request 0 or 1 audiences"},
		{"none", "", "not found in pod spec volume"},
		{"inline", "storage", ""},
		{"claimed", "storage", ""},
		{"claimed", "vault", "not found in pod spec volume"},
		{"unbound", "storage", "not found in pod spec volume"},
		{"elsewhere", "", "bound to a pod scheduled on a different node"},
		{"", "", "not bound to a pod"},
	} {
		req := &authenticationv1.TokenRequest{}
		if c.pod != "" {
			req.Spec.BoundObjectRef = &authenticationv1.BoundObjectReference{APIVersion: "v1", Kind: "Pod", Name: c.pod, UID: types.UID(c.pod)}
		}
		if c.audiences != "" {
			req.Spec.Audiences = strings.Split(c.audiences, ",")
		}
		a := admission.NewAttributesRecord(req, nil, authenticationv1.SchemeGroupVersion.WithKind("TokenRequest"), "ns", "robot",
			corev1.SchemeGroupVersion.WithResource("serviceaccounts"), "token", admission.Create, nil, false, agent("n1"))
		check(t, c.pod+" for "+c.audiences, p.Validate(t.Context(), a, nil), c.want)
	}
}

func TestCertificateRequests(t *testing.T) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	named := func(signer, name string) *certificatesv1.CertificateSigningRequest {
		der, err := x509.CreateCertificateRequest(rand.Reader, &x509.CertificateRequest{Subject: pkix.Name{CommonName: name}}, key)
		if err != nil {
			t.Fatal(err)
		}
		return &certificatesv1.CertificateSigningRequest{Spec: certificatesv1.CertificateSigningRequestSpec{
			SignerName: signer, Request: pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE REQUEST", Bytes: der}),
		}}
	}
	p := New()
	for name, c := range map[string]struct {
		request *certificatesv1.CertificateSigningRequest
		want    string
	}{
		"to serve":        {named(certificatesv1.KubeletServingSignerName, "system:node:n1"), ""},
		"to ask":          {named(certificatesv1.KubeAPIServerClientKubeletSignerName, "system:node:n1"), ""},
		"as another":      {named(certificatesv1.KubeletServingSignerName, "system:node:n2"), "can only create a node CSR with CN=system:node:n1"},
		"as an admin":     {named(certificatesv1.KubeAPIServerClientKubeletSignerName, "admin"), "can only create a node CSR with CN=system:node:n1"},
		"by other signer": {named("example.com/a", "anyone"), ""},
		"unreadable":      {&certificatesv1.CertificateSigningRequest{Spec: certificatesv1.CertificateSigningRequestSpec{SignerName: certificatesv1.KubeletServingSignerName}}, "unable to parse csr"},
	} {
		a := admission.NewAttributesRecord(c.request, nil, certificatesv1.SchemeGroupVersion.WithKind("CertificateSigningRequest"), "", "r",
			certificatesv1.SchemeGroupVersion.WithResource("certificatesigningrequests"), "", admission.Create, nil, false, agent("n1"))
		check(t, name, p.Validate(t.Context(), a, nil), c.want)
	}
}

func check(t *testing.T, name string, err error, want string) {
	t.Helper()
	if (err != nil) != (want != "") || err != nil && !strings.Contains(err.Error(), want) {
		t.Errorf("%s: %v, want %q", name, err, want)
	}
}

func agent(node string) user.Info {
	return &user.DefaultInfo{Name: "system:node:" + node, Groups: []string{user.NodesGroup}}
}

func attributes(pod runtime.Object, node string) admission.Attributes {
	return admission.NewAttributesRecord(pod, nil, corev1.SchemeGroupVersion.WithKind("Pod"), "default", "static",
		corev1.SchemeGroupVersion.WithResource("pods"), "", admission.Create, &metav1.CreateOptions{}, false,
		agent(node))
}
