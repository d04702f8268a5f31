package serve

import (
	"context"
	"fmt"
	"net/http"
	"strings"
	"time"

	"k8s.io/apimachinery/pkg/util/wait"
	"k8s.io/apiserver/pkg/apis/apiserver"
	"k8s.io/apiserver/pkg/authentication/authenticator"
	"k8s.io/apiserver/pkg/authentication/authenticatorfactory"
	"k8s.io/apiserver/pkg/authentication/user"
	"k8s.io/apiserver/pkg/authorization/authorizer"
	"k8s.io/apiserver/pkg/authorization/authorizerfactory"
	"k8s.io/apiserver/pkg/server/dynamiccertificates"
	"k8s.io/klog/v2"
)

// How long answers of the API server are believed, as upstream's kubelet has
// it.
const (
	tokenCache   = 2 * time.Minute
	allowedCache = 5 * time.Minute
	deniedCache  = 30 * time.Second
	reviewWait   = 10 * time.Second
)

var reviewBackoff = wait.Backoff{Duration: 500 * time.Millisecond, Factor: 1.5, Jitter: 0.2, Steps: 5}

// guard lets only authorized requests through.
type guard struct {
	node  string
	authn authenticator.Request
	authz authorizer.Authorizer
}

func newGuard(ctx context.Context, c Config) (*guard, error) {
	ca, err := dynamiccertificates.NewDynamicCAContentFromFile("client-ca", c.ClientCAFile)
	if err != nil {
		return nil, fmt.Errorf("reading the CA of clients: %w", err)
	}
	go ca.Run(ctx, 1)
	authn, _, err := authenticatorfactory.DelegatingAuthenticatorConfig{
		Anonymous:                          &apiserver.AnonymousAuthConfig{Enabled: false},
		TokenAccessReviewClient:            c.Client.AuthenticationV1(),
		TokenAccessReviewTimeout:           reviewWait,
		WebhookRetryBackoff:                &reviewBackoff,
		CacheTTL:                           tokenCache,
		ClientCertificateCAContentProvider: ca,
	}.New()
	if err != nil {
		return nil, fmt.Errorf("making the authenticator: %w", err)
	}
	authz, err := authorizerfactory.DelegatingAuthorizerConfig{
		SubjectAccessReviewClient: c.Client.AuthorizationV1(),
		AllowCacheTTL:             allowedCache, DenyCacheTTL: deniedCache,
		WebhookRetryBackoff: &reviewBackoff,
	}.New()
	if err != nil {
		return nil, fmt.Errorf("making the authorizer: %w", err)
	}
	return &guard{node: c.NodeName, authn: authn, authz: authz}, nil
}

func (g *guard) wrap(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		who, ok, err := g.authn.AuthenticateRequest(r)
		if err != nil {
			klog.FromContext(r.Context()).V(2).Info("Could not authenticate a request", "err", err)
		}
		if !ok || err != nil {
			http.Error(w, "Unauthorized", http.StatusUnauthorized)
			return
		}
		if message, status := g.authorize(r, who.User); status != http.StatusOK {
			http.Error(w, message, status)
			return
		}
		next.ServeHTTP(w, r)
	})
}

// authorize asks for each subresource in turn until one is allowed.
func (g *guard) authorize(r *http.Request, who user.Info) (message string, status int) {
	for _, sub := range subresources(r.URL.Path) {
		attributes := authorizer.AttributesRecord{
			User: who, Verb: verb(r.Method), APIVersion: "v1", Resource: "nodes", Subresource: sub,
			Name: g.node, ResourceRequest: true, Path: r.URL.Path,
		}
		decision, _, err := g.authz.Authorize(r.Context(), attributes)
		if err != nil {
			return fmt.Sprintf("Authorization error (user=%s, verb=%s, resource=%s, subresource=%s)", who.GetName(), attributes.Verb, "nodes", sub), http.StatusInternalServerError
		}
		if decision == authorizer.DecisionAllow {
			return "", http.StatusOK
		}
		message = fmt.Sprintf("Forbidden (user=%s, verb=%s, resource=%s, subresource(s)=%v)", who.GetName(), attributes.Verb, "nodes", subresources(r.URL.Path))
	}
	return message, http.StatusForbidden
}

func verb(method string) string {
	switch method {
	case http.MethodPost:
		return "create"
	case http.MethodPut:
		return "update"
	case http.MethodPatch:
		return "patch"
	case http.MethodDelete:
		return "delete"
	}
	return "get"
}

// subresources of the node that allow a path, the narrowest first.
func subresources(path string) []string {
	const everything = "proxy"
	first, _, _ := strings.Cut(strings.TrimPrefix(path, "/"), "/")
	switch first {
	case "stats":
		return []string{"stats"}
	case "metrics":
		return []string{"metrics"}
	case "logs":
		return []string{"log"}
	case "healthz", "configz", "pods":
		return []string{first, everything}
	case "runningpods":
		return []string{"pods", everything}
	}
	return []string{everything}
}
