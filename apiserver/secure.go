package apiserver

import (
	"context"
	"fmt"

	"k8s.io/apiserver/pkg/authentication/authenticator"
	"k8s.io/apiserver/pkg/authentication/group"
	"k8s.io/apiserver/pkg/authentication/request/anonymous"
	"k8s.io/apiserver/pkg/authentication/request/bearertoken"
	"k8s.io/apiserver/pkg/authentication/request/union"
	"k8s.io/apiserver/pkg/authentication/request/x509"
	"k8s.io/apiserver/pkg/authentication/token/tokenfile"
	"k8s.io/apiserver/pkg/authorization/authorizerfactory"
)

// secure decides who may come in, and what they may do.
func (c *Config) secure(context.Context) error {
	o := c.options.Authentication
	chain := []authenticator.Request{}
	if c.ClientCA != nil {
		chain = append(chain, x509.NewDynamic(c.ClientCA.VerifyOptions, x509.CommonNameUserConversion))
	}
	if o.TokenAuthFile != "" {
		tokens, err := tokenfile.NewCSV(o.TokenAuthFile)
		if err != nil {
			return fmt.Errorf("reading --token-auth-file: %w", err)
		}
		chain = append(chain, bearertoken.New(tokens))
	}
	authn := group.NewAuthenticatedGroupAdder(union.New(chain...))
	all := []authenticator.Request{authenticator.RequestFunc(inProcess), authn}
	if o.Anonymous {
		all = append(all, anonymous.NewAuthenticator(nil))
	}
	c.Authenticator = union.NewFailOnError(all...)
	c.Authorizer = authorizerfactory.NewAlwaysAllowAuthorizer()
	c.RuleResolver = authorizerfactory.NewAlwaysAllowAuthorizer()
	return nil
}
