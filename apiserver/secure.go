package apiserver

import (
	"context"
	"fmt"
	"net/http"
	"slices"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	apiserverapi "k8s.io/apiserver/pkg/apis/apiserver"
	"k8s.io/apiserver/pkg/authentication/authenticator"
	"k8s.io/apiserver/pkg/authentication/authenticatorfactory"
	"k8s.io/apiserver/pkg/authentication/request/headerrequest"
	"k8s.io/apiserver/pkg/authentication/request/union"
	tokencache "k8s.io/apiserver/pkg/authentication/token/cache"
	"k8s.io/apiserver/pkg/authorization/authorizerfactory"
	"k8s.io/apiserver/pkg/server/dynamiccertificates"
	webhookutil "k8s.io/apiserver/pkg/util/webhook"
	"k8s.io/apiserver/plugin/pkg/authenticator/token/webhook"
	"k8s.io/klog/v2"

	"coracle.dev/coracle/apiserver/auth"
	"coracle.dev/coracle/apiserver/auth/abac"
	"coracle.dev/coracle/apiserver/auth/bootstraptoken"
	authzchain "coracle.dev/coracle/apiserver/auth/chain"
	"coracle.dev/coracle/apiserver/auth/jwt"
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
func (c *Config) secure(ctx context.Context) error {
	if err := c.readTokens(); err != nil {
		return err
	}
	authorization, loaded, err := c.authorization()
	if err != nil {
		return err
	}
	if err := c.authenticate(ctx, !allowsAll(authorization)); err != nil {
		return err
	}
	return c.authorize(authorization, loaded)
}

// allowsAll reports whether everybody may do everything. Then nobody may be anonymous.
func allowsAll(c *apiserverapi.AuthorizationConfiguration) bool {
	return slices.ContainsFunc(c.Authorizers, func(a apiserverapi.AuthorizerConfiguration) bool { return a.Type == "AlwaysAllow" })
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
	keySet := o.ServiceAccountJWKSURI
	if keySet == "" {
		keySet = t.issuers[0] + serviceaccount.KeySetPath
	}
	t.Metadata, err = serviceaccount.NewMetadata(t.issuers[0], keySet, t.keys)
	return err
}

// authenticate puts the authenticators together, the in-process one first.
func (c *Config) authenticate(ctx context.Context, anonymous bool) error {
	o := c.options.Authentication
	a := auth.AuthenticatorOptions{
		ClientCA: c.ClientCA, TokenFile: o.TokenAuthFile,
		Audiences: o.APIAudiences, Anonymous: &apiserverapi.AnonymousAuthConfig{Enabled: o.Anonymous},
	}
	c.requestHeader()
	a.RequestHeader = c.RequestHeader
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
	if err := c.issuers(ctx, &a); err != nil {
		return err
	}
	if err := c.tokenWebhook(&a); err != nil {
		return err
	}
	if !anonymous && a.Anonymous.Enabled {
		klog.FromContext(ctx).Info("Refusing anonymous requests, since the authorizer AlwaysAllow would allow them everything")
		a.Anonymous = nil
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

func (c *Config) requestHeader() {
	if c.RequestHeaderCA == nil {
		return
	}
	o := c.options.Authentication
	c.RequestHeader = &authenticatorfactory.RequestHeaderConfig{
		CAContentProvider:   c.RequestHeaderCA,
		UsernameHeaders:     headerrequest.StaticStringSlice(o.RequestHeaderUsername),
		UIDHeaders:          headerrequest.StaticStringSlice(o.RequestHeaderUID),
		GroupHeaders:        headerrequest.StaticStringSlice(o.RequestHeaderGroup),
		ExtraHeaderPrefixes: headerrequest.StaticStringSlice(o.RequestHeaderExtraHeaderPrefix),
		AllowedClientNames:  headerrequest.StaticStringSlice(o.RequestHeaderAllowedNames),
	}
}

// clientCAs are the authorities whose certificates clients are asked for; nil if there are none.
func (c *Config) clientCAs() dynamiccertificates.CAContentProvider {
	switch {
	case c.RequestHeaderCA == nil:
		return c.ClientCA
	case c.ClientCA == nil:
		return c.RequestHeaderCA
	}
	return dynamiccertificates.NewUnionCAContentProvider(c.ClientCA, c.RequestHeaderCA)
}

// issuers accepts the tokens of OpenID issuers, and reads who may be anonymous.
func (c *Config) issuers(ctx context.Context, a *auth.AuthenticatorOptions) error {
	o := c.options.Authentication
	options := jwt.Options{Disallowed: c.Tokens.issuers, ServerID: c.Advertise.String()}
	var config *apiserverapi.AuthenticationConfiguration
	var loaded []byte
	var err error
	switch {
	case o.ConfigFile != "":
		config, loaded, err = jwt.Load(o.ConfigFile, options.Disallowed)
	case o.OIDC.IssuerURL != "":
		options.SigningAlgs = o.OIDC.SigningAlgs
		config, err = o.OIDC.flags().Configuration(options.Disallowed)
	default:
		return nil
	}
	if err != nil {
		return err
	}
	if config.Anonymous != nil {
		if given(o.flags, "anonymous-auth") {
			return fmt.Errorf("--anonymous-auth and the field anonymous of %s exclude each other", o.ConfigFile)
		}
		a.Anonymous = config.Anonymous
	}
	tokens, err := jwt.New(ctx, config, options)
	if err != nil {
		return err
	}
	a.Issuers = tokens
	if o.ConfigFile != "" {
		c.follow = append(c.follow, func(ctx context.Context) { tokens.Follow(ctx, o.ConfigFile, loaded) })
	}
	return nil
}

func (o OIDCOptions) flags() jwt.Flags {
	return jwt.Flags{
		IssuerURL: o.IssuerURL, ClientID: o.ClientID, CAFile: o.CAFile,
		UsernameClaim: o.UsernameClaim, UsernamePrefix: o.UsernamePrefix,
		GroupsClaim: o.GroupsClaim, GroupsPrefix: o.GroupsPrefix, RequiredClaims: o.RequiredClaims,
	}
}

// tokenWebhook lets another server review tokens that nobody here knows.
func (c *Config) tokenWebhook(a *auth.AuthenticatorOptions) error {
	o := c.options.Authentication.Webhook
	if o.ConfigFile == "" {
		return nil
	}
	config, err := webhookutil.LoadKubeconfig(o.ConfigFile, nil)
	if err != nil {
		return fmt.Errorf("reading --authentication-token-webhook-config-file: %w", err)
	}
	tokens, err := webhook.New(config, o.Version, a.Audiences, *webhook.DefaultRetryBackoff())
	if err != nil {
		return fmt.Errorf("setting up the token webhook: %w", err)
	}
	a.Webhook = tokencache.New(tokens, false, o.CacheTTL, o.CacheTTL)
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

// authorize puts the authorizers together.
func (c *Config) authorize(config *apiserverapi.AuthorizationConfiguration, loaded []byte) error {
	modes := map[string]authzchain.Mode{}
	for _, a := range config.Authorizers {
		kind := string(a.Type)
		if kind == authzchain.Webhook {
			continue
		}
		mode, err := c.mode(kind)
		if err != nil {
			return err
		}
		modes[kind] = mode
	}
	z, err := authzchain.New(config, authzchain.Options{Modes: modes, ServerID: c.Advertise.String()})
	if err != nil {
		return fmt.Errorf("setting up authorization: %w", err)
	}
	if file := c.options.Authorization.ConfigFile; file != "" {
		c.follow = append(c.follow, func(ctx context.Context) { z.Follow(ctx, file, authorizationModes, loaded) })
	}
	// Roles are guarded where they do not count too: they may count some day.
	if c.Roles == nil && !allowsAll(config) {
		c.Roles = rbac.NewResolver(c.Informers)
	}
	_, c.bootstrapRoles = modes["RBAC"]
	c.Authorizer, c.RuleResolver = z, z
	return nil
}

func (c *Config) authorization() (*apiserverapi.AuthorizationConfiguration, []byte, error) {
	o := c.options.Authorization
	if o.ConfigFile != "" {
		return authzchain.Load(o.ConfigFile, authorizationModes)
	}
	config, err := authzchain.Flags{
		Modes: c.options.AuthorizationModes, WebhookConfigFile: o.WebhookConfigFile, WebhookVersion: o.WebhookVersion,
		WebhookAuthorizedTTL: o.WebhookAuthorizedTTL, WebhookUnauthorizedTTL: o.WebhookUnauthorizedTTL,
	}.Configuration()
	return config, nil, err
}

func (c *Config) mode(kind string) (authzchain.Mode, error) {
	switch kind {
	case "AlwaysAllow":
		return authorizerfactory.NewAlwaysAllowAuthorizer(), nil
	case "AlwaysDeny":
		return authorizerfactory.NewAlwaysDenyAuthorizer(), nil
	case "Node":
		c.Nodes = nodeauthz.NewGraph()
		return nodeauthz.New(c.Nodes), nil
	case "RBAC":
		c.Roles = rbac.NewResolver(c.Informers)
		return rbac.New(c.Roles), nil
	case "ABAC":
		policies, err := abac.Load(c.options.Authorization.PolicyFile)
		return abac.New(policies), err
	}
	return nil, fmt.Errorf("unknown type of authorizer %q: choose of %v", kind, authorizationModes)
}
