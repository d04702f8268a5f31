package chain

import (
	"context"
	"encoding/json"
	"encoding/pem"
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	authorizationv1 "k8s.io/api/authorization/v1"
	"k8s.io/apiserver/pkg/apis/apiserver"
	"k8s.io/apiserver/pkg/authentication/user"
	"k8s.io/apiserver/pkg/authorization/authorizer"
	"k8s.io/apiserver/pkg/authorization/authorizerfactory"
	"k8s.io/client-go/tools/clientcmd"
	clientcmdapi "k8s.io/client-go/tools/clientcmd/api"
)

const (
	allow     = authorizer.DecisionAllow
	deny      = authorizer.DecisionDeny
	noOpinion = authorizer.DecisionNoOpinion
)

// hook answers access reviews, and counts them: users named allowed are, those named denied are denied, broken is
// an error, and of others it has no opinion.
type hook struct {
	kubeconfig string
	asked      atomic.Int32
}

func startHook(t *testing.T) *hook {
	t.Helper()
	h := &hook{kubeconfig: filepath.Join(t.TempDir(), "kubeconfig")}
	server := httptest.NewTLSServer(h)
	t.Cleanup(server.Close)
	c := clientcmdapi.NewConfig()
	c.Clusters["hook"] = &clientcmdapi.Cluster{
		Server: server.URL, CertificateAuthorityData: pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: server.Certificate().Raw}),
	}
	c.AuthInfos["server"] = &clientcmdapi.AuthInfo{Token: "of the server"}
	c.Contexts["hook"] = &clientcmdapi.Context{Cluster: "hook", AuthInfo: "server"}
	c.CurrentContext = "hook"
	if err := clientcmd.WriteToFile(*c, h.kubeconfig); err != nil {
		t.Fatal(err)
	}
	return h
}

func (h *hook) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	h.asked.Add(1)
	var review authorizationv1.SubjectAccessReview
	if err := json.NewDecoder(r.Body).Decode(&review); err != nil || r.Header.Get("Authorization") != "Bearer of the server" {
		http.Error(w, "bad request", http.StatusBadRequest)
		return
	}
	if review.Spec.User == "broken" {
		http.Error(w, "out of order", http.StatusForbidden)
		return
	}
	review.Status = authorizationv1.SubjectAccessReviewStatus{
		Allowed: review.Spec.User == "allowed", Denied: review.Spec.User == "denied", Reason: "the hook says so",
	}
	w.Header().Set("Content-Type", "application/json")
	json.NewEncoder(w).Encode(review) //nolint:errcheck // the client is gone
}

// only allows one user, and knows no rules.
type only struct{ authorizer.AuthorizerFunc }

func (only) RulesFor(context.Context, user.Info, string) ([]authorizer.ResourceRuleInfo, []authorizer.NonResourceRuleInfo, bool, error) {
	return nil, nil, false, nil
}

func allowing(name string) Mode {
	return only{func(_ context.Context, a authorizer.Attributes) (authorizer.Decision, string, error) {
		if a.GetUser().GetName() == name {
			return allow, "", nil
		}
		return noOpinion, "not " + name, nil
	}}
}

var modes = map[string]Mode{
	"RBAC": allowing("alice"), "ABAC": allowing("abel"),
	"AlwaysAllow": authorizerfactory.NewAlwaysAllowAuthorizer(), "AlwaysDeny": authorizerfactory.NewAlwaysDenyAuthorizer(),
}

var known = []string{"RBAC", "ABAC", "AlwaysAllow", "AlwaysDeny", "Webhook"}

func decide(t *testing.T, z authorizer.Authorizer, name string, groups ...string) (authorizer.Decision, string, error) {
	t.Helper()
	return z.Authorize(t.Context(), authorizer.AttributesRecord{
		User: &user.DefaultInfo{Name: name, Groups: groups}, Verb: "get", Resource: "pods", Namespace: "shop", ResourceRequest: true,
	})
}

func TestFlagsAreAskedInOrder(t *testing.T) {
	h := startHook(t)
	for _, c := range []struct {
		modes, who string
		want       authorizer.Decision
		reason     string
	}{
		{"RBAC,ABAC", "alice", allow, ""},
		{"RBAC,ABAC", "abel", allow, ""},
		{"ABAC,RBAC", "eve", noOpinion, "abac: not abel\nrbac: not alice"},
		{"AlwaysDeny,RBAC", "alice", allow, ""},
		{"AlwaysDeny", "alice", noOpinion, "alwaysdeny: Everything is forbidden."},
		{"AlwaysDeny", "root system:masters", allow, ""},
		{"Webhook,RBAC", "denied", deny, "the hook says so"},
		{"Webhook,RBAC", "allowed", allow, "the hook says so"},
		{"Webhook,RBAC", "alice", allow, ""},
		{"AlwaysAllow,Webhook", "denied", allow, ""},
	} {
		config, err := Flags{
			Modes: strings.Split(c.modes, ","), WebhookConfigFile: h.kubeconfig, WebhookVersion: "v1",
			WebhookAuthorizedTTL: time.Minute, WebhookUnauthorizedTTL: time.Minute,
		}.Configuration()
		if err != nil {
			t.Fatal(err)
		}
		z, err := New(config, Options{Modes: modes})
		if err != nil {
			t.Fatal(err)
		}
		who := strings.Fields(c.who)
		got, reason, err := decide(t, z, who[0], who[1:]...)
		if got != c.want || reason != c.reason || err != nil {
			t.Errorf("%s, %s: %v, %q, %v, want %v, %q", c.modes, c.who, got, reason, err, c.want, c.reason)
		}
	}
}

// file is a configuration of a webhook in front of the types that follow.
func file(h *hook, webhook string, types ...string) string {
	text := fmt.Sprintf(`apiVersion: apiserver.config.k8s.io/v1
kind: AuthorizationConfiguration
authorizers:
- type: Webhook
  name: guard
  webhook:
    timeout: 10s
    subjectAccessReviewVersion: v1
    matchConditionSubjectAccessReviewVersion: v1
    connectionInfo: {type: KubeConfigFile, kubeConfigFile: %s}
%s`, h.kubeconfig, webhook)
	for _, kind := range types {
		text += fmt.Sprintf("- {type: %s, name: %s}\n", kind, strings.ToLower(kind))
	}
	return text
}

func parse(t *testing.T, text string) *apiserver.AuthorizationConfiguration {
	t.Helper()
	c, err := decode([]byte(text), known)
	if err != nil {
		t.Fatal(err)
	}
	return c
}

func TestWebhookOfAFile(t *testing.T) {
	h := startHook(t)
	const shopAlone = "    failurePolicy: Deny\n    matchConditions: [{expression: \"has(request.resourceAttributes) && request.resourceAttributes.namespace == 'shop'\"}]\n"
	z, err := New(parse(t, file(h, shopAlone, "AlwaysAllow")), Options{Modes: modes})
	if err != nil {
		t.Fatal(err)
	}
	if got, _, err := decide(t, z, "broken"); got != deny || err == nil {
		t.Errorf("a failure where the policy is to deny: %v, %v", got, err)
	}
	if got, _, _ := decide(t, z, "denied"); got != deny {
		t.Errorf("denied: %v", got)
	}
	asked := h.asked.Load()
	got, _, err := z.Authorize(t.Context(), authorizer.AttributesRecord{User: &user.DefaultInfo{Name: "denied"}, Verb: "get", Path: "/metrics"})
	if got != allow || err != nil || h.asked.Load() != asked {
		t.Errorf("a request that does not match: %v, %v, asked %d times more", got, err, h.asked.Load()-asked)
	}
	if got, _, _ := decide(t, z, "denied"); got != deny || h.asked.Load() != asked {
		t.Errorf("the same once more: %v, asked %d times more", got, h.asked.Load()-asked)
	}
	uncached := file(h, "    failurePolicy: NoOpinion\n    cacheUnauthorizedRequests: false\n", "AlwaysAllow")
	if err := z.Update(parse(t, uncached)); err != nil {
		t.Fatal(err)
	}
	asked = h.asked.Load()
	for range 2 {
		if got, _, _ := decide(t, z, "denied"); got != deny {
			t.Errorf("denied: %v", got)
		}
	}
	if n := h.asked.Load() - asked; n != 2 {
		t.Errorf("asked %d times for what shall not be remembered, want 2", n)
	}
	if got, _, _ := decide(t, z, "broken"); got != allow {
		t.Errorf("a failure where the policy is to pass on: %v", got)
	}
	_, _, incomplete, err := z.RulesFor(t.Context(), &user.DefaultInfo{Name: "alice"}, "shop")
	if !incomplete || err == nil || !strings.Contains(err.Error(), "webhook authorizer does not support user rule resolution") {
		t.Errorf("rules: incomplete %v, %v", incomplete, err)
	}
}

func TestFaultyConfigurations(t *testing.T) {
	h := startHook(t)
	const policy = "    failurePolicy: Deny\n"
	for name, c := range map[string]struct{ text, want string }{
		"no authorizers": {"apiVersion: apiserver.config.k8s.io/v1\nkind: AuthorizationConfiguration\n", "at least one authorization mode must be defined"},
		"unknown field":  {file(h, policy) + "  colour: red\n", "unknown field"},
		"unknown type":   {file(h, policy, "Nonsense"), `authorizers[1].type: Unsupported value: "Nonsense"`},
		"twice":          {file(h, policy, "RBAC", "RBAC"), `authorizers[2].type: Duplicate value: "RBAC"`},
		"no policy":      {file(h, ""), "failurePolicy: Required value"},
		"bad condition":  {file(h, policy+"    matchConditions: [{expression: 'request.user ='}]\n"), "matchConditions[0].expression"},
	} {
		if _, err := decode([]byte(c.text), known); err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: %v, want %s", name, err, c.want)
		}
	}
	inCluster := strings.Replace(file(h, policy), "{type: KubeConfigFile, kubeConfigFile: "+h.kubeconfig+"}", "{type: InClusterConfig}", 1)
	if _, err := New(parse(t, inCluster), Options{}); err == nil || !strings.Contains(err.Error(), "would ask this server itself") {
		t.Errorf("asking oneself: %v", err)
	}
}

// TestFollow: webhooks come and go, the other authorizers stay.
func TestFollow(t *testing.T) {
	h := startHook(t)
	const policy = "    failurePolicy: Deny\n"
	without := "apiVersion: apiserver.config.k8s.io/v1\nkind: AuthorizationConfiguration\nauthorizers: [{type: RBAC, name: rbac}]\n"
	path := filepath.Join(t.TempDir(), "authorization.yaml")
	write(t, path, without)
	c, data, err := Load(path, known)
	if err != nil {
		t.Fatal(err)
	}
	z, err := New(c, Options{Modes: modes})
	if err != nil {
		t.Fatal(err)
	}
	ctx, stop := context.WithCancel(t.Context())
	done := make(chan struct{})
	go func() { defer close(done); z.Follow(ctx, path, known, data) }()
	defer func() { stop(); <-done }()
	await := func(what string, want authorizer.Decision) {
		t.Helper()
		tick := time.NewTicker(5 * time.Millisecond)
		defer tick.Stop()
		timeout := time.After(30 * time.Second)
		for got := want + 1; got != want; {
			got, _, _ = decide(t, z, "allowed")
			select {
			case <-tick.C:
			case <-timeout:
				t.Fatalf("%s: %v, want %v", what, got, want)
			}
		}
	}
	await("without the webhook", noOpinion)
	write(t, path, file(h, policy, "RBAC"))
	await("with it", allow)
	write(t, path, without)
	await("without it again", noOpinion)

	for name, types := range map[string][]string{"one more": {"RBAC", "ABAC"}, "another": {"ABAC"}, "none": nil} {
		if err := z.Update(parse(t, file(h, policy, types...))); err == nil || !strings.Contains(err.Error(), "they were [RBAC] when the server started") {
			t.Errorf("%s: %v", name, err)
		}
	}
	if err := z.Update(parse(t, file(h, policy, "AlwaysDeny"))); err == nil {
		t.Error("a type that was not there is taken over")
	}
	if err := z.Update(&apiserver.AuthorizationConfiguration{Authorizers: []apiserver.AuthorizerConfiguration{{Type: "Node", Name: "node"}}}); err == nil ||
		!strings.Contains(err.Error(), "was not there when the server started") {
		t.Errorf("a type without an authorizer: %v", err)
	}
	if now := z.current.Load().modes; !slices.Equal(now, []string{"RBAC"}) {
		t.Errorf("the authorizers are %v now", now)
	}
}

func write(t *testing.T, path, text string) {
	t.Helper()
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
}
