package apiserver

import (
	"time"

	"github.com/spf13/pflag"
)

// AuthenticationOptions say how requests prove who they are from.
type AuthenticationOptions struct {
	ClientCAFile                 string
	TokenAuthFile                string
	ServiceAccountKeyFiles       []string
	ServiceAccountSigningKeyFile string
	ServiceAccountIssuers        []string
	// ServiceAccountJWKSURI is where others find the keys; the default is at the issuer.
	ServiceAccountJWKSURI       string
	ServiceAccountLookup        bool
	ServiceAccountMaxExpiration time.Duration
	// ServiceAccountExtend makes the tokens of pods outlast what they say by a year.
	ServiceAccountExtend bool
	APIAudiences         []string
	Anonymous            bool
	BootstrapToken       bool

	RequestHeaderClientCAFile                        string
	RequestHeaderAllowedNames                        []string
	RequestHeaderUsername, RequestHeaderGroup        []string
	RequestHeaderUID, RequestHeaderExtraHeaderPrefix []string

	// ConfigFile is an AuthenticationConfiguration: issuers of tokens, and who may be anonymous. It
	// takes the place of OIDC, and is read again when it changes.
	ConfigFile string
	OIDC       OIDCOptions
	Webhook    TokenWebhookOptions

	flags *pflag.FlagSet // nil where the options do not come from flags
}

// OIDCOptions name one issuer of tokens. Without IssuerURL there is none.
type OIDCOptions struct {
	IssuerURL, ClientID, CAFile   string
	UsernameClaim, UsernamePrefix string
	GroupsClaim, GroupsPrefix     string
	SigningAlgs                   []string
	RequiredClaims                map[string]string
}

// TokenWebhookOptions name a server that reviews tokens. Without ConfigFile there is none.
type TokenWebhookOptions struct {
	ConfigFile, Version string
	CacheTTL            time.Duration
}

// AuthorizationOptions are what some authorizers need.
type AuthorizationOptions struct {
	// ConfigFile is an AuthorizationConfiguration. It takes the place of the modes and all else here,
	// and is read again when it changes.
	ConfigFile string
	// PolicyFile are the policies of the mode ABAC.
	PolicyFile string
	// WebhookConfigFile names the server of the mode Webhook.
	WebhookConfigFile, WebhookVersion            string
	WebhookAuthorizedTTL, WebhookUnauthorizedTTL time.Duration

	flags *pflag.FlagSet // nil where the options do not come from flags
}

func newAuthenticationOptions() AuthenticationOptions {
	return AuthenticationOptions{
		ServiceAccountLookup: true, ServiceAccountExtend: true, Anonymous: true,
		RequestHeaderUsername:          []string{"x-remote-user"},
		RequestHeaderGroup:             []string{"x-remote-group"},
		RequestHeaderExtraHeaderPrefix: []string{"x-remote-extra-"},
		OIDC:                           OIDCOptions{UsernameClaim: "sub", SigningAlgs: []string{"RS256"}},
		Webhook:                        TokenWebhookOptions{Version: "v1beta1", CacheTTL: 2 * time.Minute},
	}
}

func newAuthorizationOptions() AuthorizationOptions {
	return AuthorizationOptions{WebhookVersion: "v1beta1", WebhookAuthorizedTTL: 5 * time.Minute, WebhookUnauthorizedTTL: 30 * time.Second}
}

func (o *AuthenticationOptions) addFlags(fs *pflag.FlagSet) {
	o.flags = fs
	fs.StringVar(&o.ClientCAFile, "client-ca-file", o.ClientCAFile, "Authorities whose client certificates are trusted.")
	fs.StringVar(&o.TokenAuthFile, "token-auth-file", o.TokenAuthFile, "CSV file of bearer tokens: token,user,uid,\"groups\".")
	fs.StringSliceVar(&o.ServiceAccountKeyFiles, "service-account-key-file", o.ServiceAccountKeyFiles, "Keys that verify service account tokens; the default is that of the signing key.")
	fs.StringVar(&o.ServiceAccountSigningKeyFile, "service-account-signing-key-file", o.ServiceAccountSigningKeyFile, "Private key that signs service account tokens.")
	fs.StringSliceVar(&o.ServiceAccountIssuers, "service-account-issuer", o.ServiceAccountIssuers, "Issuers of service account tokens: the first signs, all are accepted.")
	fs.StringVar(&o.ServiceAccountJWKSURI, "service-account-jwks-uri", o.ServiceAccountJWKSURI, "Where others find the keys of service account tokens; the default is below the issuer.")
	fs.BoolVar(&o.ServiceAccountLookup, "service-account-lookup", o.ServiceAccountLookup, "Check that a token's service account and pod still exist.")
	fs.DurationVar(&o.ServiceAccountMaxExpiration, "service-account-max-token-expiration", o.ServiceAccountMaxExpiration, "Longest validity of a service account token; 0 means no limit.")
	fs.BoolVar(&o.ServiceAccountExtend, "service-account-extend-token-expiration", o.ServiceAccountExtend, "Let the tokens of pods last for a year, for clients that do not read them again.")
	fs.StringSliceVar(&o.APIAudiences, "api-audiences", o.APIAudiences, "Audiences of tokens for this server; the default is the issuer.")
	fs.BoolVar(&o.Anonymous, "anonymous-auth", o.Anonymous, "Accept requests without credentials, as system:anonymous.")
	fs.BoolVar(&o.BootstrapToken, "enable-bootstrap-token-auth", o.BootstrapToken, "Accept tokens of secrets of type bootstrap.kubernetes.io/token.")
	fs.StringVar(&o.RequestHeaderClientCAFile, "requestheader-client-ca-file", o.RequestHeaderClientCAFile, "Authorities of proxies that are trusted to name the user in headers.")
	fs.StringSliceVar(&o.RequestHeaderAllowedNames, "requestheader-allowed-names", o.RequestHeaderAllowedNames, "Common names of such proxies; empty means any.")
	fs.StringSliceVar(&o.RequestHeaderUsername, "requestheader-username-headers", o.RequestHeaderUsername, "Headers with the name of the user.")
	fs.StringSliceVar(&o.RequestHeaderUID, "requestheader-uid-headers", o.RequestHeaderUID, "Headers with the UID of the user.")
	fs.StringSliceVar(&o.RequestHeaderGroup, "requestheader-group-headers", o.RequestHeaderGroup, "Headers with the groups of the user.")
	fs.StringSliceVar(&o.RequestHeaderExtraHeaderPrefix, "requestheader-extra-headers-prefix", o.RequestHeaderExtraHeaderPrefix, "Prefixes of headers with more about the user.")
	fs.StringVar(&o.ConfigFile, "authentication-config", o.ConfigFile, "File with an AuthenticationConfiguration, in place of --oidc-* and --anonymous-auth.")
	o.OIDC.addFlags(fs)
	fs.StringVar(&o.Webhook.ConfigFile, "authentication-token-webhook-config-file", o.Webhook.ConfigFile, "Kubeconfig of a server that reviews bearer tokens.")
	fs.StringVar(&o.Webhook.Version, "authentication-token-webhook-version", o.Webhook.Version, "Version of authentication.k8s.io that it speaks.")
	fs.DurationVar(&o.Webhook.CacheTTL, "authentication-token-webhook-cache-ttl", o.Webhook.CacheTTL, "How long its answers are remembered.")
}

func (o *OIDCOptions) addFlags(fs *pflag.FlagSet) {
	fs.StringVar(&o.IssuerURL, "oidc-issuer-url", o.IssuerURL, "URL of an OpenID issuer whose tokens are accepted; https only.")
	fs.StringVar(&o.ClientID, "oidc-client-id", o.ClientID, "Client for which such tokens must be.")
	fs.StringVar(&o.CAFile, "oidc-ca-file", o.CAFile, "Authorities of the issuer's serving certificate; the default is those of the host.")
	fs.StringVar(&o.UsernameClaim, "oidc-username-claim", o.UsernameClaim, "Claim that holds the name of the user.")
	fs.StringVar(&o.UsernamePrefix, "oidc-username-prefix", o.UsernamePrefix, "Prefix of such names; the default is the issuer's URL and '#' unless the claim is email, and '-' is none.")
	fs.StringVar(&o.GroupsClaim, "oidc-groups-claim", o.GroupsClaim, "Claim that holds the groups of the user: a string or a list of them.")
	fs.StringVar(&o.GroupsPrefix, "oidc-groups-prefix", o.GroupsPrefix, "Prefix of such groups.")
	fs.StringSliceVar(&o.SigningAlgs, "oidc-signing-algs", o.SigningAlgs, "Algorithms by which such tokens may be signed.")
	fs.StringToStringVar(&o.RequiredClaims, "oidc-required-claim", o.RequiredClaims, "Pair of a claim and the value it must have. Repeat for more.")
}

func (o *AuthorizationOptions) addFlags(fs *pflag.FlagSet) {
	o.flags = fs
	fs.StringVar(&o.ConfigFile, "authorization-config", o.ConfigFile, "File with an AuthorizationConfiguration, in place of --authorization-mode and --authorization-webhook-*.")
	fs.StringVar(&o.PolicyFile, "authorization-policy-file", o.PolicyFile, "Policies of --authorization-mode=ABAC, one in JSON a line.")
	fs.StringVar(&o.WebhookConfigFile, "authorization-webhook-config-file", o.WebhookConfigFile, "Kubeconfig of the server that --authorization-mode=Webhook asks.")
	fs.StringVar(&o.WebhookVersion, "authorization-webhook-version", o.WebhookVersion, "Version of authorization.k8s.io that it speaks.")
	fs.DurationVar(&o.WebhookAuthorizedTTL, "authorization-webhook-cache-authorized-ttl", o.WebhookAuthorizedTTL, "How long its permissions are remembered.")
	fs.DurationVar(&o.WebhookUnauthorizedTTL, "authorization-webhook-cache-unauthorized-ttl", o.WebhookUnauthorizedTTL, "How long its refusals are remembered.")
}

// given reports whether one of the flags was given.
func given(fs *pflag.FlagSet, names ...string) bool {
	for _, name := range names {
		if fs != nil && fs.Changed(name) {
			return true
		}
	}
	return false
}
