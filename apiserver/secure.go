package apiserver

import (
	"context"
	"fmt"
	"net/http"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apiserver/pkg/authentication/authenticator"
	"k8s.io/apiserver/pkg/authentication/authenticatorfactory"
	"k8s.io/apiserver/pkg/authentication/request/headerrequest"
	"k8s.io/apiserver/pkg/authentication/request/union"
	"k8s.io/apiserver/pkg/authentication/user"
	"k8s.io/apiserver/pkg/authorization/authorizer"
	"k8s.io/apiserver/pkg/authorization/authorizerfactory"
	authorizerunion "k8s.io/apiserver/pkg/authorization/union"

	"coracle.dev/coracle/apiserver/auth"
	"coracle.dev/coracle/apiserver/auth/bootstraptoken"
	"coracle.dev/coracle/apiserver/auth/nodeauthz"
	"coracle.dev/coracle/apiserver/auth/rbac"
	"coracle.dev/coracle/apiserver/auth/serviceaccount"
	"coracle.dev/coracle/apiserver/transport"
)

// defaultIssuer signs where nothing else is said.
const defaultIssuer = "https://kubernetes.default.svc.cluster.local"

// Tokens are what service account tokens are made with. Without a signing key none are issued, and
// Issuer is nil.
type Tokens struct {
	Issuer   *serviceaccount.Issuer
	Metadata *serviceaccount.Metadata
	issuers  []string
	keys     []serviceaccount.Key
}

// secure decides who may come in, and what they may do.
func (c *Config) secure(context.Context) error {
	if err := c.readTokens(); err != nil {
		return err
	}
	if err := c.authenticate(); err != nil {
		return err
	}
	return c.authorize()
}

// readTokens reads the keys of service account tokens.
func (c *Config) readTokens() error {
	o := &c.options.Authentication
	t := &c.Tokens
	t.issuers = o.ServiceAccountIssuers
	if len(t.issuers) == 0 {
		t.issuers = []string{defaultIssuer}
	}
	if len(o.APIAudiences) == 0 {
		o.APIAudiences = t.issuers[:1]
	}
	files := o.ServiceAccountKeyFiles
	if len(files) == 0 && o.ServiceAccountSigningKeyFile != "" {
		files = []string{o.ServiceAccountSigningKeyFile}
	}
	var err error
	if t.keys, err = serviceaccount.LoadKeys(files...); err != nil {
		return err
	}
	if o.ServiceAccountSigningKeyFile == "" {
		return nil
	}
	signer, err := serviceaccount.LoadSigner(o.ServiceAccountSigningKeyFile)
	if err != nil {
		return err
	}
	if t.Issuer, err = serviceaccount.NewIssuer(t.issuers[0], signer); err != nil {
		return err
	}
	t.Metadata, err = serviceaccount.NewMetadata(t.issuers[0], t.issuers[0]+serviceaccount.KeySetPath, t.keys)
	return err
}

// authenticate puts the authenticators together, the in-process one first.
func (c *Config) authenticate() error {
	o := c.options.Authentication
	a := auth.AuthenticatorOptions{
		ClientCA: c.ClientCA, TokenFile: o.TokenAuthFile,
		Audiences: o.APIAudiences, Anonymous: o.Anonymous,
	}
	if c.RequestHeaderCA != nil {
		c.RequestHeader = &authenticatorfactory.RequestHeaderConfig{
			CAContentProvider:   c.RequestHeaderCA,
			UsernameHeaders:     headerrequest.StaticStringSlice(o.RequestHeaderUsername),
			UIDHeaders:          headerrequest.StaticStringSlice(o.RequestHeaderUID),
			GroupHeaders:        headerrequest.StaticStringSlice(o.RequestHeaderGroup),
			ExtraHeaderPrefixes: headerrequest.StaticStringSlice(o.RequestHeaderExtraHeaderPrefix),
			AllowedClientNames:  headerrequest.StaticStringSlice(o.RequestHeaderAllowedNames),
		}
		a.RequestHeader = c.RequestHeader
	}
	if len(c.Tokens.keys) > 0 {
		v := serviceaccount.VerifierOptions{Issuers: c.Tokens.issuers, Keys: c.Tokens.keys, Audiences: o.APIAudiences}
		if o.ServiceAccountLookup {
			v.Objects = serviceaccount.NewObjects(c.Client)
		}
		a.ServiceAccounts = serviceaccount.NewVerifier(v)
	}
	if o.BootstrapToken {
		a.BootstrapTokens = bootstraptoken.New(func(ctx context.Context, namespace, name string) (*corev1.Secret, error) {
			return c.Client.CoreV1().Secrets(namespace).Get(ctx, name, metav1.GetOptions{})
		})
	}
	network, err := auth.NewAuthenticator(a)
	if err != nil {
		return fmt.Errorf("setting up authentication: %w", err)
	}
	all := []authenticator.Request{authenticator.RequestFunc(inProcess)}
	if network != nil {
		all = append(all, network)
	}
	c.Authenticator = union.NewFailOnError(all...)
	return nil
}

// inProcess authenticates requests that came by the in-process transport.
func inProcess(req *http.Request) (*authenticator.Response, bool, error) {
	u, ok := transport.UserFrom(req.Context())
	if !ok {
		return nil, false, nil
	}
	return &authenticator.Response{User: u}, true, nil
}

// authorize puts the authorizers together. Members of system:masters may do everything.
func (c *Config) authorize() error {
	all := []authorizerunion.NamedAuthorizer{{
		AuthorizerName: "system-masters", Authorizer: authorizerfactory.NewPrivilegedGroups(user.SystemPrivilegedGroup),
	}}
	var rules []authorizer.RuleResolver
	add := func(mode string, a authorizer.Authorizer, r authorizer.RuleResolver) {
		all = append(all, authorizerunion.NamedAuthorizer{AuthorizerName: mode, Authorizer: a})
		rules = append(rules, r)
	}
	for _, mode := range c.options.AuthorizationModes {
		switch mode {
		case "AlwaysAllow":
			z := authorizerfactory.NewAlwaysAllowAuthorizer()
			add(mode, z, z)
		case "AlwaysDeny":
			z := authorizerfactory.NewAlwaysDenyAuthorizer()
			add(mode, z, z)
		case "Node":
			c.Nodes = nodeauthz.NewGraph()
			all = append(all, authorizerunion.NamedAuthorizer{AuthorizerName: mode, Authorizer: nodeauthz.New(c.Nodes)})
		case "RBAC":
			c.Roles = rbac.NewResolver(c.Informers)
			z := rbac.New(c.Roles)
			add(mode, z, z)
		}
	}
	z, err := authorizerunion.New(all...)
	if err != nil {
		return fmt.Errorf("setting up authorization: %w", err)
	}
	c.Authorizer, c.RuleResolver = z, authorizerunion.NewRuleResolvers(rules...)
	return nil
}
