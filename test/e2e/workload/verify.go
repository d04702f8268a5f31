package main

import (
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/go-jose/go-jose/v4"
	"github.com/go-jose/go-jose/v4/jwt"
)

// verify checks the token of the pod, or of a file, as a relying party would: by the discovery document
// of the issuer that the token names, and the keys that it points to. It prints the subject.
func verify(args []string) error {
	file := filepath.Join(mounted, "token")
	if len(args) > 0 {
		file = args[0]
	}
	token, err := os.ReadFile(file)
	if err != nil {
		return err
	}
	signed, err := jwt.ParseSigned(strings.TrimSpace(string(token)), []jose.SignatureAlgorithm{jose.RS256, jose.ES256})
	if err != nil {
		return fmt.Errorf("parsing the token: %w", err)
	}
	var claimed jwt.Claims
	if err := signed.UnsafeClaimsWithoutVerification(&claimed); err != nil {
		return err
	}
	get := func(url string, into any) error {
		body, err := askServer(url)
		if err != nil {
			return err
		}
		return json.Unmarshal(body, into)
	}
	var provider struct {
		Issuer     string   `json:"issuer"`
		Keys       string   `json:"jwks_uri"`
		Types      []string `json:"response_types_supported"`
		Algorithms []string `json:"id_token_signing_alg_values_supported"`
	}
	if err := get(claimed.Issuer+"/.well-known/openid-configuration", &provider); err != nil {
		return err
	}
	if provider.Issuer != claimed.Issuer || !slices.Contains(provider.Algorithms, signed.Headers[0].Algorithm) || !slices.Contains(provider.Types, "id_token") {
		return fmt.Errorf("the token is of %s by %s, the provider is %+v", claimed.Issuer, signed.Headers[0].Algorithm, provider)
	}
	var keys jose.JSONWebKeySet
	if err := get(provider.Keys, &keys); err != nil {
		return err
	}
	var verified jwt.Claims
	if err := signed.Claims(&keys, &verified); err != nil {
		return fmt.Errorf("verifying the signature: %w", err)
	}
	if err := verified.Validate(jwt.Expected{Issuer: provider.Issuer, Time: time.Now()}); err != nil {
		return err
	}
	fmt.Println(verified.Subject)
	return nil
}
