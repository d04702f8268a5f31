package apiserver

import (
	"errors"
	"fmt"
	"slices"
)

var authorizationModes = []string{"Node", "RBAC", "ABAC", "Webhook", "AlwaysAllow", "AlwaysDeny"}

func (o *AuthenticationOptions) validate() []error {
	var errs []error
	oidc := o.OIDC.IssuerURL != "" || o.OIDC.ClientID != "" || o.OIDC.CAFile != "" || o.OIDC.UsernamePrefix != "" ||
		o.OIDC.GroupsClaim != "" || o.OIDC.GroupsPrefix != "" || len(o.OIDC.RequiredClaims) > 0
	switch {
	case oidc && o.ConfigFile != "":
		errs = append(errs, errors.New("--authentication-config and --oidc-* exclude each other: name the issuer in the file"))
	case oidc && (o.OIDC.IssuerURL == "" || o.OIDC.ClientID == ""):
		errs = append(errs, errors.New("--oidc-issuer-url and --oidc-client-id must be specified together when any --oidc-* flags are set"))
	}
	if v := o.Webhook.Version; o.Webhook.ConfigFile != "" && v != "v1" && v != "v1beta1" {
		errs = append(errs, fmt.Errorf("--authentication-token-webhook-version %q is unknown: use v1 or v1beta1", v))
	}
	return errs
}

func (o *Options) validateAuthorization() []error {
	var errs []error
	fail := func(format string, args ...any) { errs = append(errs, fmt.Errorf(format, args...)) }
	a := &o.Authorization
	if a.ConfigFile != "" {
		if given(a.flags, "authorization-mode") || a.WebhookConfigFile != "" {
			fail("--authorization-config excludes --authorization-mode and --authorization-webhook-*: name the authorizers in the file")
		}
		return errs
	}
	if len(o.AuthorizationModes) == 0 {
		fail("--authorization-mode is empty: choose of %v", authorizationModes)
	}
	for i, m := range o.AuthorizationModes {
		if !slices.Contains(authorizationModes, m) {
			fail("--authorization-mode %q is unknown: choose of %v", m, authorizationModes)
		}
		if slices.Contains(o.AuthorizationModes[:i], m) {
			fail("--authorization-mode names %q twice", m)
		}
	}
	if slices.Contains(o.AuthorizationModes, "ABAC") != (a.PolicyFile != "") {
		fail("--authorization-mode=ABAC and --authorization-policy-file go together: give both or neither")
	}
	if slices.Contains(o.AuthorizationModes, "Webhook") != (a.WebhookConfigFile != "") {
		fail("--authorization-mode=Webhook and --authorization-webhook-config-file go together: give both or neither")
	}
	if v := a.WebhookVersion; a.WebhookConfigFile != "" && v != "v1" && v != "v1beta1" {
		fail("--authorization-webhook-version %q is unknown: use v1 or v1beta1", v)
	}
	return errs
}
