package auth_test

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	authenticationv1 "k8s.io/api/authentication/v1"
	authorizationv1 "k8s.io/api/authorization/v1"
	corev1 "k8s.io/api/core/v1"
	rbacv1 "k8s.io/api/rbac/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apiserver/pkg/authentication/user"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/rest"
	"k8s.io/client-go/util/keyutil"

	"coracle.dev/coracle/apiserver"
	"coracle.dev/coracle/apiserver/apiservertest"
)

type cluster struct {
	*testing.T
	server *apiserver.Server
	admin  kubernetes.Interface
}

// start runs a server as it is by default: Node and RBAC, all admission plugins, tokens.
func start(t *testing.T) *cluster {
	t.Helper()
	key, err := keyutil.MakeEllipticPrivateKeyPEM()
	if err != nil {
		t.Fatal(err)
	}
	file := filepath.Join(t.TempDir(), "sa.key")
	if err := os.WriteFile(file, key, 0o600); err != nil {
		t.Fatal(err)
	}
	cfg, server := apiservertest.Start(t, func(o *apiserver.Options) {
		o.AuthorizationModes = []string{"Node", "RBAC"}
		o.DisableAdmissionPlugins = nil
		o.Authentication.ServiceAccountSigningKeyFile = file
		o.Authentication.BootstrapToken = true
	})
	c := &cluster{T: t, server: server}
	c.admin = c.client(cfg)
	return c
}

func (c *cluster) client(cfg *rest.Config) kubernetes.Interface {
	c.Helper()
	client, err := kubernetes.NewForConfig(cfg)
	if err != nil {
		c.Fatal(err)
	}
	return client
}

// as is a client that acts as a user.
func (c *cluster) as(name string, groups ...string) kubernetes.Interface {
	c.Helper()
	return c.client(c.server.ClientConfig(&user.DefaultInfo{Name: name, Groups: append(groups, user.AllAuthenticated)}))
}

// with is a client over TLS with a bearer token.
func (c *cluster) with(token string) kubernetes.Interface {
	c.Helper()
	cfg := apiservertest.TLS(c.server)
	cfg.BearerToken = token
	return c.client(cfg)
}

func (c *cluster) must(err error) {
	c.Helper()
	if err != nil {
		c.Fatal(err)
	}
}

// eventually tries until f holds: authorizers learn of changes by watches.
func (c *cluster) eventually(what string, f func() error) {
	c.Helper()
	ctx, cancel := context.WithTimeout(c.Context(), time.Minute)
	defer cancel()
	tick := time.NewTicker(5 * time.Millisecond)
	defer tick.Stop()
	for {
		err := f()
		if err == nil {
			return
		}
		select {
		case <-tick.C:
		case <-ctx.Done():
			c.Fatalf("%s: %v", what, err)
		}
	}
}

func (c *cluster) account(namespace, name string) *corev1.ServiceAccount {
	c.Helper()
	sa, err := c.admin.CoreV1().ServiceAccounts(namespace).Create(c.Context(), &corev1.ServiceAccount{ObjectMeta: metav1.ObjectMeta{Name: name}}, metav1.CreateOptions{})
	c.must(err)
	return sa
}

func (c *cluster) token(namespace, account string, spec authenticationv1.TokenRequestSpec) string {
	c.Helper()
	r, err := c.admin.CoreV1().ServiceAccounts(namespace).CreateToken(c.Context(), account, &authenticationv1.TokenRequest{Spec: spec}, metav1.CreateOptions{})
	c.must(err)
	return r.Status.Token
}

func pod(name string) *corev1.Pod {
	return &corev1.Pod{
		ObjectMeta: metav1.ObjectMeta{Name: name, Labels: map[string]string{"app": name}},
		Spec:       corev1.PodSpec{Containers: []corev1.Container{{Name: "c", Image: "busybox"}}},
	}
}

func TestAuth(t *testing.T) {
	c := start(t)
	c.account("default", "default")
	for name, test := range map[string]func(*cluster){
		"roles": testRoles, "escalation": testEscalation, "service account tokens": testTokens,
		"bound tokens": testBoundTokens, "reviews": testReviews, "anonymous": testAnonymous,
		"discovery documents": testDocuments, "node": testNode, "service account admission": testServiceAccountAdmission,
		"bootstrap tokens": testBootstrapToken, "identities of the cluster": testIdentities,
	} {
		t.Run(name, func(t *testing.T) { test(&cluster{T: t, server: c.server, admin: c.admin}) })
	}
}

func testRoles(c *cluster) {
	ctx := c.Context()
	alice := c.as("alice")
	_, err := alice.CoreV1().Pods("default").List(ctx, metav1.ListOptions{})
	want := `pods is forbidden: User "alice" cannot list resource "pods" in API group "" in the namespace "default"`
	if !apierrors.IsForbidden(err) || err.Error() != want {
		c.Fatalf("without a role: %v, want %s", err, want)
	}
	binding := &rbacv1.RoleBinding{
		ObjectMeta: metav1.ObjectMeta{Name: "alice"}, RoleRef: rbacv1.RoleRef{APIGroup: rbacv1.GroupName, Kind: "ClusterRole", Name: "view"},
		Subjects: []rbacv1.Subject{{Kind: "User", APIGroup: rbacv1.GroupName, Name: "alice"}},
	}
	_, err = c.admin.RbacV1().RoleBindings("default").Create(ctx, binding, metav1.CreateOptions{})
	c.must(err)
	c.eventually("with the role view", func() error {
		_, err := alice.CoreV1().Pods("default").List(ctx, metav1.ListOptions{})
		return err
	})
	if _, err := alice.CoreV1().Pods("kube-system").List(ctx, metav1.ListOptions{}); !apierrors.IsForbidden(err) {
		c.Errorf("in another namespace: %v", err)
	}
	if _, err := alice.CoreV1().Secrets("default").List(ctx, metav1.ListOptions{}); !apierrors.IsForbidden(err) {
		c.Errorf("secrets: %v", err)
	}
	c.must(c.admin.RbacV1().RoleBindings("default").Delete(ctx, "alice", metav1.DeleteOptions{}))
}

func testEscalation(c *cluster) {
	ctx := c.Context()
	bob := c.as("bob")
	_, err := c.admin.RbacV1().RoleBindings("default").Create(ctx, &rbacv1.RoleBinding{
		ObjectMeta: metav1.ObjectMeta{Name: "bob"}, RoleRef: rbacv1.RoleRef{APIGroup: rbacv1.GroupName, Kind: "ClusterRole", Name: "admin"},
		Subjects: []rbacv1.Subject{{Kind: "User", APIGroup: rbacv1.GroupName, Name: "bob"}},
	}, metav1.CreateOptions{})
	c.must(err)
	role := func(name string, verbs ...string) *rbacv1.Role {
		return &rbacv1.Role{ObjectMeta: metav1.ObjectMeta{Name: name}, Rules: []rbacv1.PolicyRule{{Verbs: verbs, APIGroups: []string{""}, Resources: []string{"pods"}}}}
	}
	c.eventually("a role of what bob holds", func() error {
		_, err := bob.RbacV1().Roles("default").Create(ctx, role("held", "get"), metav1.CreateOptions{})
		return err
	})
	_, err = bob.RbacV1().Roles("default").Create(ctx, role("more", "get", "conquer"), metav1.CreateOptions{})
	want := "is attempting to grant RBAC permissions not currently held:\n{APIGroups:[\"\"], Resources:[\"pods\"], Verbs:[\"conquer\"]}"
	if !apierrors.IsForbidden(err) || !strings.Contains(err.Error(), want) {
		c.Errorf("a role of more than that: %v, want %s", err, want)
	}
	_, err = bob.RbacV1().RoleBindings("default").Create(ctx, &rbacv1.RoleBinding{
		ObjectMeta: metav1.ObjectMeta{Name: "bob-master"}, RoleRef: rbacv1.RoleRef{APIGroup: rbacv1.GroupName, Kind: "ClusterRole", Name: "cluster-admin"},
		Subjects: []rbacv1.Subject{{Kind: "User", APIGroup: rbacv1.GroupName, Name: "bob"}},
	}, metav1.CreateOptions{})
	if !apierrors.IsForbidden(err) || !strings.Contains(err.Error(), "not currently held") {
		c.Errorf("binding a role of more than that: %v", err)
	}
}

func testTokens(c *cluster) {
	ctx := c.Context()
	sa := c.account("default", "robot")
	token := c.token("default", "robot", authenticationv1.TokenRequestSpec{})
	me, err := c.with(token).AuthenticationV1().SelfSubjectReviews().Create(ctx, &authenticationv1.SelfSubjectReview{}, metav1.CreateOptions{})
	c.must(err)
	u := me.Status.UserInfo
	if u.Username != "system:serviceaccount:default:robot" || u.UID != string(sa.UID) ||
		!slices.Contains(u.Groups, "system:serviceaccounts:default") || !slices.Contains(u.Groups, "system:authenticated") {
		c.Errorf("the token's user is %+v", u)
	}
	if len(u.Extra["authentication.kubernetes.io/credential-id"]) != 1 {
		c.Errorf("no credential id in %v", u.Extra)
	}
	// For another audience it is no good here.
	other := c.token("default", "robot", authenticationv1.TokenRequestSpec{Audiences: []string{"vault"}})
	if _, err := c.with(other).CoreV1().Pods("default").List(ctx, metav1.ListOptions{}); !apierrors.IsUnauthorized(err) {
		c.Errorf("token for another audience: %v", err)
	}
	seconds := int64(60)
	_, err = c.admin.CoreV1().ServiceAccounts("default").CreateToken(ctx, "robot", &authenticationv1.TokenRequest{Spec: authenticationv1.TokenRequestSpec{ExpirationSeconds: &seconds}}, metav1.CreateOptions{})
	if !apierrors.IsInvalid(err) || !strings.Contains(err.Error(), "may not specify a duration less than 10 minutes") {
		c.Errorf("token for a minute: %v", err)
	}
	// The last character of a signature holds padding bits; one in the middle does not.
	forged := []byte(token)
	if i := len(forged) - 20; forged[i] == 'A' {
		forged[i] = 'B'
	} else {
		forged[i] = 'A'
	}
	if _, err := c.with(string(forged)).CoreV1().Pods("default").List(ctx, metav1.ListOptions{}); !apierrors.IsUnauthorized(err) {
		c.Errorf("forged token: %v", err)
	}
}

func testBoundTokens(c *cluster) {
	ctx := c.Context()
	p, err := c.admin.CoreV1().Pods("default").Create(ctx, pod("bound"), metav1.CreateOptions{})
	c.must(err)
	ref := &authenticationv1.BoundObjectReference{APIVersion: "v1", Kind: "Pod", Name: "bound", UID: p.UID}
	token := c.token("default", "default", authenticationv1.TokenRequestSpec{BoundObjectRef: ref})
	unseen := c.token("default", "default", authenticationv1.TokenRequestSpec{BoundObjectRef: ref})
	review := func(token string) *authenticationv1.TokenReview {
		r, err := c.admin.AuthenticationV1().TokenReviews().Create(ctx, &authenticationv1.TokenReview{Spec: authenticationv1.TokenReviewSpec{Token: token}}, metav1.CreateOptions{})
		c.must(err)
		return r
	}
	r := review(token)
	if diff := cmp.Diff(authenticationv1.ExtraValue{"bound"}, r.Status.User.Extra["authentication.kubernetes.io/pod-name"]); !r.Status.Authenticated || diff != "" {
		c.Errorf("pod of the token (-want +got):\n%s", diff)
	}
	c.must(c.admin.CoreV1().Pods("default").Delete(ctx, "bound", metav1.DeleteOptions{}))
	// A token that was found good is remembered for ten seconds; one that was not seen is looked up.
	c.eventually("the deletion of the pod in the cache", func() error {
		if _, err := c.admin.CoreV1().Pods("default").Get(ctx, "bound", metav1.GetOptions{ResourceVersion: "0"}); !apierrors.IsNotFound(err) {
			return fmt.Errorf("getting the pod: %w", err)
		}
		return nil
	})
	if r := review(unseen); r.Status.Authenticated || !strings.Contains(r.Status.Error, "pod default/bound has been deleted") {
		c.Errorf("token of a deleted pod: %+v", r.Status)
	}
	c.account("default", "other")
	ref.UID = "11111111-1111-1111-1111-111111111111"
	_, err = c.admin.CoreV1().ServiceAccounts("default").CreateToken(ctx, "default", &authenticationv1.TokenRequest{Spec: authenticationv1.TokenRequestSpec{BoundObjectRef: ref}}, metav1.CreateOptions{})
	if !apierrors.IsNotFound(err) {
		c.Errorf("token for a pod that is gone: %v", err)
	}
	_, err = c.admin.CoreV1().Pods("default").Create(ctx, pod("bound"), metav1.CreateOptions{})
	c.must(err)
	_, err = c.admin.CoreV1().ServiceAccounts("default").CreateToken(ctx, "other", &authenticationv1.TokenRequest{Spec: authenticationv1.TokenRequestSpec{BoundObjectRef: &authenticationv1.BoundObjectReference{APIVersion: "v1", Kind: "Pod", Name: "bound"}}}, metav1.CreateOptions{})
	if !apierrors.IsBadRequest(err) || !strings.Contains(err.Error(), "different serviceaccount name") {
		c.Errorf("token for a pod of another account: %v", err)
	}
	_, err = c.admin.CoreV1().ServiceAccounts("default").CreateToken(ctx, "default", &authenticationv1.TokenRequest{Spec: authenticationv1.TokenRequestSpec{BoundObjectRef: ref}}, metav1.CreateOptions{})
	if !apierrors.IsConflict(err) {
		c.Errorf("token for an earlier pod of the name: %v", err)
	}
}

func testReviews(c *cluster) {
	ctx := c.Context()
	review := func(u string, groups []string, verb, resource string) authorizationv1.SubjectAccessReviewStatus {
		r, err := c.admin.AuthorizationV1().SubjectAccessReviews().Create(ctx, &authorizationv1.SubjectAccessReview{Spec: authorizationv1.SubjectAccessReviewSpec{
			User: u, Groups: groups, ResourceAttributes: &authorizationv1.ResourceAttributes{Namespace: "default", Verb: verb, Resource: resource},
		}}, metav1.CreateOptions{})
		c.must(err)
		return r.Status
	}
	if s := review("root", []string{"system:masters"}, "delete", "nodes"); !s.Allowed {
		c.Errorf("system:masters: %+v", s)
	}
	if s := review("nobody", nil, "get", "pods"); s.Allowed || s.Denied {
		c.Errorf("nobody: %+v", s)
	}
	if s := review("system:kube-scheduler", nil, "get", "pods"); !s.Allowed || !strings.HasPrefix(s.Reason, `RBAC: allowed by ClusterRoleBinding "system:kube-scheduler" of ClusterRole "system:kube-scheduler" to User "system:kube-scheduler"`) {
		c.Errorf("scheduler: %+v", s)
	}
	carol := c.as("carol")
	self, err := carol.AuthorizationV1().SelfSubjectAccessReviews().Create(ctx, &authorizationv1.SelfSubjectAccessReview{Spec: authorizationv1.SelfSubjectAccessReviewSpec{
		ResourceAttributes: &authorizationv1.ResourceAttributes{Verb: "create", Group: "authorization.k8s.io", Resource: "selfsubjectaccessreviews"},
	}}, metav1.CreateOptions{})
	if err != nil || !self.Status.Allowed {
		c.Errorf("what everybody may do: %+v, %v", self.Status, err)
	}
	rules, err := carol.AuthorizationV1().SelfSubjectRulesReviews().Create(ctx, &authorizationv1.SelfSubjectRulesReview{Spec: authorizationv1.SelfSubjectRulesReviewSpec{Namespace: "default"}}, metav1.CreateOptions{})
	if err != nil || len(rules.Status.ResourceRules) == 0 || len(rules.Status.NonResourceRules) == 0 {
		c.Errorf("rules: %+v, %v", rules, err)
	}
	_, err = c.admin.AuthorizationV1().LocalSubjectAccessReviews("default").Create(ctx, &authorizationv1.LocalSubjectAccessReview{
		ObjectMeta: metav1.ObjectMeta{Namespace: "default"},
		Spec:       authorizationv1.SubjectAccessReviewSpec{User: "x", ResourceAttributes: &authorizationv1.ResourceAttributes{Namespace: "other", Verb: "get", Resource: "pods"}},
	}, metav1.CreateOptions{})
	if !apierrors.IsBadRequest(err) {
		c.Errorf("local review of another namespace: %v", err)
	}
}

func (c *cluster) get(path, token string) (int, string) {
	c.Helper()
	pool := x509.NewCertPool()
	pool.AppendCertsFromPEM(c.server.ServingCertificate())
	client := &http.Client{Transport: &http.Transport{TLSClientConfig: &tls.Config{RootCAs: pool}}}
	defer client.CloseIdleConnections()
	req, err := http.NewRequestWithContext(c.Context(), http.MethodGet, "https://"+c.server.Addr()+path, nil)
	c.must(err)
	if token != "" {
		req.Header.Set("Authorization", "Bearer "+token)
	}
	resp, err := client.Do(req)
	c.must(err)
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	c.must(err)
	return resp.StatusCode, string(body)
}

func testAnonymous(c *cluster) {
	for _, r := range []struct {
		path, token string
		want        int
	}{
		{"/version", "", 200}, {"/readyz", "", 200}, {"/api/v1/namespaces", "", 403}, {"/api/v1/namespaces", "wrong", 401}, {"/apis", "", 403},
	} {
		if got, body := c.get(r.path, r.token); got != r.want {
			c.Errorf("%s with token %q: %d, want %d: %s", r.path, r.token, got, r.want, body)
		}
	}
}

func testDocuments(c *cluster) {
	c.account("default", "reader")
	token := c.token("default", "reader", authenticationv1.TokenRequestSpec{})
	code, body := c.get("/.well-known/openid-configuration", token)
	var doc struct {
		Issuer  string `json:"issuer"`
		JWKSURI string `json:"jwks_uri"`
	}
	if err := json.Unmarshal([]byte(body), &doc); code != 200 || err != nil || doc.Issuer != "https://kubernetes.default.svc.cluster.local" || doc.JWKSURI == "" {
		c.Errorf("configuration: %d %s", code, body)
	}
	if code, body := c.get("/openid/v1/jwks", token); code != 200 || !strings.Contains(body, `"alg":"ES256"`) || strings.Contains(body, `"d":`) {
		c.Errorf("keys: %d %s", code, body)
	}
}

func testNode(c *cluster) {
	ctx := c.Context()
	agent := c.as("system:node:n1", "system:nodes")
	own := &corev1.Node{ObjectMeta: metav1.ObjectMeta{Name: "n1", Labels: map[string]string{"kubernetes.io/hostname": "n1"}}}
	created, err := agent.CoreV1().Nodes().Create(ctx, own, metav1.CreateOptions{})
	c.must(err)
	if !slices.ContainsFunc(created.Spec.Taints, func(t corev1.Taint) bool { return t.Key == corev1.TaintNodeNotReady }) {
		c.Errorf("a new node is not tainted: %v", created.Spec.Taints)
	}
	refused := func(what string, err error) {
		c.Helper()
		if !apierrors.IsForbidden(err) {
			c.Errorf("%s: %v, want it forbidden", what, err)
		}
	}
	_, err = agent.CoreV1().Nodes().Create(ctx, &corev1.Node{ObjectMeta: metav1.ObjectMeta{Name: "n2"}}, metav1.CreateOptions{})
	refused("another node", err)
	created.Spec.Taints = nil
	_, err = agent.CoreV1().Nodes().Update(ctx, created, metav1.UpdateOptions{})
	refused("its taints", err)
	_, err = agent.CoreV1().Secrets("default").List(ctx, metav1.ListOptions{})
	refused("all secrets", err)

	for _, name := range []string{"mine", "foreign"} {
		_, err := c.admin.CoreV1().Secrets("default").Create(ctx, &corev1.Secret{ObjectMeta: metav1.ObjectMeta{Name: name}}, metav1.CreateOptions{})
		c.must(err)
	}
	p := pod("on-n1")
	p.Spec.Volumes = []corev1.Volume{{Name: "s", VolumeSource: corev1.VolumeSource{Secret: &corev1.SecretVolumeSource{SecretName: "mine"}}}}
	p, err = c.admin.CoreV1().Pods("default").Create(ctx, p, metav1.CreateOptions{})
	c.must(err)
	_, err = agent.CoreV1().Secrets("default").Get(ctx, "mine", metav1.GetOptions{})
	refused("the secret of a pod that has no node yet", err)
	c.must(c.admin.CoreV1().Pods("default").Bind(ctx, &corev1.Binding{ObjectMeta: metav1.ObjectMeta{Name: "on-n1"}, Target: corev1.ObjectReference{Kind: "Node", Name: "n1"}}, metav1.CreateOptions{}))
	// At once: the authorizer waits for what the agent may know already.
	_, err = agent.CoreV1().Secrets("default").Get(ctx, "mine", metav1.GetOptions{})
	c.must(err)
	_, err = agent.CoreV1().Secrets("default").Get(ctx, "foreign", metav1.GetOptions{})
	refused("a secret of no pod", err)
	_, err = agent.CoreV1().Pods("").List(ctx, metav1.ListOptions{FieldSelector: "spec.nodeName=n1"})
	c.must(err)
	_, err = agent.CoreV1().Pods("").List(ctx, metav1.ListOptions{})
	refused("all pods", err)

	request := &authenticationv1.TokenRequest{Spec: authenticationv1.TokenRequestSpec{BoundObjectRef: &authenticationv1.BoundObjectReference{APIVersion: "v1", Kind: "Pod", Name: "on-n1", UID: p.UID}}}
	_, err = agent.CoreV1().ServiceAccounts("default").CreateToken(ctx, "default", request.DeepCopy(), metav1.CreateOptions{})
	c.must(err)
	_, err = agent.CoreV1().ServiceAccounts("default").CreateToken(ctx, "default", &authenticationv1.TokenRequest{}, metav1.CreateOptions{})
	refused("a token that is bound to nothing", err)
	stranger := c.as("system:node:n2", "system:nodes")
	_, err = stranger.CoreV1().ServiceAccounts("default").CreateToken(ctx, "default", request.DeepCopy(), metav1.CreateOptions{})
	refused("a token for a pod of another node", err)
	p.Status.Phase = corev1.PodRunning
	p, err = c.admin.CoreV1().Pods("default").Get(ctx, "on-n1", metav1.GetOptions{})
	c.must(err)
	_, err = stranger.CoreV1().Pods("default").UpdateStatus(ctx, p, metav1.UpdateOptions{})
	refused("the status of another node's pod", err)
	_, err = agent.CoreV1().Pods("default").UpdateStatus(ctx, p, metav1.UpdateOptions{})
	c.must(err)
	refused("deleting another node's pod", stranger.CoreV1().Pods("default").Delete(ctx, "on-n1", metav1.DeleteOptions{}))
	zero := int64(0)
	c.must(agent.CoreV1().Pods("default").Delete(ctx, "on-n1", metav1.DeleteOptions{GracePeriodSeconds: &zero}))
}

func testServiceAccountAdmission(c *cluster) {
	ctx := c.Context()
	p, err := c.admin.CoreV1().Pods("default").Create(ctx, pod("admitted"), metav1.CreateOptions{})
	c.must(err)
	if p.Spec.ServiceAccountName != "default" || p.Spec.DeprecatedServiceAccount != "default" {
		c.Errorf("account %q, %q", p.Spec.ServiceAccountName, p.Spec.DeprecatedServiceAccount)
	}
	if len(p.Spec.Volumes) != 1 || !strings.HasPrefix(p.Spec.Volumes[0].Name, "kube-api-access-") || p.Spec.Volumes[0].Projected == nil ||
		len(p.Spec.Containers[0].VolumeMounts) != 1 || p.Spec.Containers[0].VolumeMounts[0].MountPath != "/var/run/secrets/kubernetes.io/serviceaccount" {
		c.Errorf("volumes %v, mounts %v", p.Spec.Volumes, p.Spec.Containers[0].VolumeMounts)
	}
	if len(p.Spec.Tolerations) != 2 || p.Spec.Priority == nil || *p.Spec.Priority != 0 || p.Spec.PreemptionPolicy == nil {
		c.Errorf("tolerations %v, priority %v", p.Spec.Tolerations, p.Spec.Priority)
	}
	no := false
	without := pod("without")
	without.Spec.AutomountServiceAccountToken = &no
	if p, err = c.admin.CoreV1().Pods("default").Create(ctx, without, metav1.CreateOptions{}); err != nil || len(p.Spec.Volumes) != 0 {
		c.Errorf("without a token: %v, %v", p.Spec.Volumes, err)
	}
	lost := pod("lost")
	lost.Spec.ServiceAccountName = "missing"
	_, err = c.admin.CoreV1().Pods("default").Create(ctx, lost, metav1.CreateOptions{})
	if want := `pods "lost" is forbidden: error looking up service account default/missing: serviceaccounts "missing" not found`; err == nil || err.Error() != want {
		c.Errorf("with an account that is not there: %v, want %s", err, want)
	}
	critical := pod("critical")
	critical.Spec.PriorityClassName = "system-node-critical"
	if p, err = c.admin.CoreV1().Pods("default").Create(ctx, critical, metav1.CreateOptions{}); err != nil || *p.Spec.Priority != 2000001000 {
		c.Errorf("system-node-critical: %v", err)
	}
}

func testBootstrapToken(c *cluster) {
	ctx := c.Context()
	secret := &corev1.Secret{
		ObjectMeta: metav1.ObjectMeta{Name: "bootstrap-token-abcdef"}, Type: "bootstrap.kubernetes.io/token",
		StringData: map[string]string{"token-id": "abcdef", "token-secret": "0123456789abcdef", "usage-bootstrap-authentication": "true", "auth-extra-groups": "system:bootstrappers:nodes"},
	}
	_, err := c.admin.CoreV1().Secrets("kube-system").Create(ctx, secret, metav1.CreateOptions{})
	c.must(err)
	me, err := c.with("abcdef.0123456789abcdef").AuthenticationV1().SelfSubjectReviews().Create(ctx, &authenticationv1.SelfSubjectReview{}, metav1.CreateOptions{})
	c.must(err)
	if u := me.Status.UserInfo; u.Username != "system:bootstrap:abcdef" || !slices.Contains(u.Groups, "system:bootstrappers") || !slices.Contains(u.Groups, "system:bootstrappers:nodes") {
		c.Errorf("the token's user is %+v", u)
	}
	if _, err := c.with("abcdef.0000000000000000").CoreV1().Pods("").List(ctx, metav1.ListOptions{}); !apierrors.IsUnauthorized(err) {
		c.Errorf("wrong secret: %v", err)
	}
}

// testIdentities: what the parts of a cluster do first.
func testIdentities(c *cluster) {
	ctx := c.Context()
	for who, actions := range map[string][]authorizationv1.ResourceAttributes{
		"system:kube-controller-manager": {
			{Verb: "create", Resource: "pods", Namespace: "x"}, {Verb: "update", Group: "apps", Resource: "deployments", Subresource: "status", Namespace: "x"},
			{Verb: "deletecollection", Resource: "configmaps", Namespace: "x"}, {Verb: "create", Resource: "serviceaccounts", Namespace: "x"},
			{Verb: "create", Group: "discovery.k8s.io", Resource: "endpointslices", Namespace: "x"}, {Verb: "update", Resource: "namespaces", Subresource: "finalize"},
			{Verb: "create", Resource: "configmaps", Namespace: "x"}, {Verb: "create", Group: "coordination.k8s.io", Resource: "leases", Namespace: "kube-system"},
		},
		"system:kube-scheduler": {
			{Verb: "create", Resource: "pods", Subresource: "binding", Namespace: "x"}, {Verb: "patch", Resource: "pods", Subresource: "status", Namespace: "x"},
			{Verb: "watch", Resource: "nodes"}, {Verb: "create", Group: "events.k8s.io", Resource: "events", Namespace: "x"},
		},
	} {
		for _, a := range actions {
			r, err := c.admin.AuthorizationV1().SubjectAccessReviews().Create(ctx, &authorizationv1.SubjectAccessReview{Spec: authorizationv1.SubjectAccessReviewSpec{User: who, ResourceAttributes: &a}}, metav1.CreateOptions{})
			if err != nil || !r.Status.Allowed {
				c.Errorf("%s may not %s %s/%s: %v", who, a.Verb, a.Resource, a.Subresource, err)
			}
		}
	}
}
