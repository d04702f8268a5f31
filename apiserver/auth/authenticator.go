package auth

import (
	"fmt"
	"time"

	apiserverapi "k8s.io/apiserver/pkg/apis/apiserver"
	"k8s.io/apiserver/pkg/authentication/authenticator"
	"k8s.io/apiserver/pkg/authentication/authenticatorfactory"
	"k8s.io/apiserver/pkg/authentication/group"
	"k8s.io/apiserver/pkg/authentication/request/anonymous"
	"k8s.io/apiserver/pkg/authentication/request/bearertoken"
	"k8s.io/apiserver/pkg/authentication/request/headerrequest"
	"k8s.io/apiserver/pkg/authentication/request/union"
	"k8s.io/apiserver/pkg/authentication/request/websocket"
	"k8s.io/apiserver/pkg/authentication/request/x509"
	tokencache "k8s.io/apiserver/pkg/authentication/token/cache"
	"k8s.io/apiserver/pkg/authentication/token/tokenfile"
	tokenunion "k8s.io/apiserver/pkg/authentication/token/union"
	"k8s.io/apiserver/pkg/server/dynamiccertificates"
)

// tokenTTL is how long a token that was found good is not looked at again.
const tokenTTL = 10 * time.Second

// AuthenticatorOptions say which credentials are accepted. Zero fields switch their kind off.
type AuthenticatorOptions struct {
	// ClientCA verifies client certificates. Its owner runs it, so that changes of its file are seen.
	ClientCA dynamiccertificates.CAContentProvider
	// RequestHeader trusts a front proxy to name the user.
	RequestHeader *authenticatorfactory.RequestHeaderConfig
	// TokenFile is a CSV file of token,user,uid,"groups". It is read once.
	TokenFile string
	// ServiceAccounts, BootstrapTokens and Issuers authenticate bearer tokens of those kinds; Webhook is
	// asked about those that nobody else knows.
	ServiceAccounts, BootstrapTokens, Issuers, Webhook authenticator.Token
	// Audiences are those of this server.
	Audiences authenticator.Audiences
	// Anonymous, if enabled, lets requests without credentials pass as system:anonymous: all, or those
	// for certain paths.
	Anonymous *apiserverapi.AnonymousAuthConfig
}

// NewAuthenticator puts the authenticators together.
func NewAuthenticator(o AuthenticatorOptions) (authenticator.Request, error) {
	var requests []authenticator.Request
	if h := o.RequestHeader; h != nil {
		requests = append(requests, authenticator.WrapAudienceAgnosticRequest(o.Audiences, headerrequest.NewDynamicVerifyOptionsSecure(
			h.CAContentProvider.VerifyOptions, h.AllowedClientNames,
			h.UsernameHeaders, h.UIDHeaders, h.GroupHeaders, h.ExtraHeaderPrefixes)))
	}
	if o.ClientCA != nil {
		requests = append(requests, authenticator.WrapAudienceAgnosticRequest(o.Audiences,
			newCertificates(x509.NewDynamic(o.ClientCA.VerifyOptions, x509.CommonNameUserConversion), o.ClientCA.VerifyOptions)))
	}
	tokens, err := o.tokens()
	if err != nil {
		return nil, err
	}
	if len(tokens) > 0 {
		cached := tokencache.New(tokenunion.New(tokens...), true, tokenTTL, 0)
		requests = append(requests, bearertoken.New(cached), websocket.NewProtocolAuthenticator(cached))
	}
	var all authenticator.Request
	if len(requests) > 0 {
		all = group.NewAuthenticatedGroupAdder(union.New(requests...))
	}
	if o.Anonymous == nil || !o.Anonymous.Enabled {
		return all, nil
	}
	// With wrong credentials a request fails, rather than to pass as anonymous.
	nobody := anonymous.NewAuthenticator(o.Anonymous.Conditions)
	if all == nil {
		return nobody, nil
	}
	return union.NewFailOnError(all, nobody), nil
}

func (o AuthenticatorOptions) tokens() ([]authenticator.Token, error) {
	var tokens []authenticator.Token
	if o.TokenFile != "" {
		file, err := tokenfile.NewCSV(o.TokenFile)
		if err != nil {
			return nil, fmt.Errorf("reading token file %s: %w", o.TokenFile, err)
		}
		tokens = append(tokens, authenticator.WrapAudienceAgnosticToken(o.Audiences, file))
	}
	if o.ServiceAccounts != nil {
		tokens = append(tokens, o.ServiceAccounts)
	}
	if o.BootstrapTokens != nil {
		tokens = append(tokens, authenticator.WrapAudienceAgnosticToken(o.Audiences, o.BootstrapTokens))
	}
	if o.Issuers != nil {
		tokens = append(tokens, authenticator.WrapAudienceAgnosticToken(o.Audiences, o.Issuers))
	}
	if o.Webhook != nil {
		tokens = append(tokens, o.Webhook)
	}
	return tokens, nil
}
