// Package guard lets only authorized requests through to the API of a node agent.
//
// Contract: a caller proves who it is by a client certificate of the cluster's CA or by a token that the
// API server reviews, and may do what a SubjectAccessReview on the node's subresources allows; nobody is
// anonymous. Answers of the API server are believed for as long as upstream's kubelet believes them.
package guard

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
	"k8s.io/client-go/kubernetes"
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

// Guard lets only authorized requests through.
type Guard struct {
	authn authenticator.Request
	authz authorizer.Authorizer
}

// FromFile makes a guard that trusts the client certificates of the authorities in a file, which is read
// again when it changes, until ctx ends.
func FromFile(ctx context.Context, client kubernetes.Interface, clientCAFile string) (*Guard, error) {
	ca, err := dynamiccertificates.NewDynamicCAContentFromFile("client-ca", clientCAFile)
	if err != nil {
		return nil, fmt.Errorf("reading the CA of clients: %w", err)
	}
	go ca.Run(ctx, 1)
	return New(client, ca)
}

// New makes a guard that asks the API server by client.
func New(client kubernetes.Interface, ca dynamiccertificates.CAContentProvider) (*Guard, error) {
	authn, _, err := authenticatorfactory.DelegatingAuthenticatorConfig{
		Anonymous:                          &apiserver.AnonymousAuthConfig{Enabled: false},
		TokenAccessReviewClient:            client.AuthenticationV1(),
		TokenAccessReviewTimeout:           reviewWait,
		WebhookRetryBackoff:                &reviewBackoff,
		CacheTTL:                           tokenCache,
		ClientCertificateCAContentProvider: ca,
	}.New()
	if err != nil {
		return nil, fmt.Errorf("making the authenticator: %w", err)
	}
	authz, err := authorizerfactory.DelegatingAuthorizerConfig{
		SubjectAccessReviewClient: client.AuthorizationV1(),
		AllowCacheTTL:             allowedCache, DenyCacheTTL: deniedCache,
		WebhookRetryBackoff: &reviewBackoff,
	}.New()
	if err != nil {
		return nil, fmt.Errorf("making the authorizer: %w", err)
	}
	return &Guard{authn: authn, authz: authz}, nil
}

// Wrap is next for those who may call it, for the node that a request is meant for.
func (g *Guard) Wrap(node func(*http.Request) string, next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		who, ok, err := g.authn.AuthenticateRequest(r)
		if err != nil {
			klog.FromContext(r.Context()).V(2).Info("Could not authenticate a request", "err", err)
		}
		if !ok || err != nil {
			http.Error(w, "Unauthorized", http.StatusUnauthorized)
			return
		}
		if message, status := g.authorize(r, node(r), who.User); status != http.StatusOK {
			http.Error(w, message, status)
			return
		}
		next.ServeHTTP(w, r)
	})
}

// authorize asks for each subresource in turn until one is allowed.
func (g *Guard) authorize(r *http.Request, node string, who user.Info) (message string, status int) {
	for _, sub := range subresources(r.URL.Path) {
		attributes := authorizer.AttributesRecord{
			User: who, Verb: verb(r.Method), APIVersion: "v1", Resource: "nodes", Subresource: sub,
			Name: node, ResourceRequest: true, Path: r.URL.Path,
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
