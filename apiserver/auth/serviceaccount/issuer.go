package serviceaccount

import (
	"crypto"
	"fmt"
	"time"

	"github.com/go-jose/go-jose/v4"
	"github.com/go-jose/go-jose/v4/jwt"
	apijwt "k8s.io/apiserver/pkg/authentication/token/jwt"
)

// Issuer signs tokens. It is safe for concurrent use.
type Issuer struct {
	name   string
	key    Key
	signer jose.Signer
	now    func() time.Time
}

// NewIssuer returns an issuer of that name, which tokens carry as iss.
func NewIssuer(name string, key crypto.Signer) (*Issuer, error) {
	public, err := NewKey(key.Public())
	if err != nil {
		return nil, err
	}
	signer, err := jose.NewSigner(jose.SigningKey{
		Algorithm: public.Algorithm,
		Key:       jose.JSONWebKey{Algorithm: string(public.Algorithm), Key: key, KeyID: public.ID, Use: "sig"},
	}, nil)
	if err != nil {
		return nil, fmt.Errorf("making token signer: %w", err)
	}
	return &Issuer{name: name, key: public, signer: signer, now: time.Now}, nil
}

// Key is the public key that verifies the issuer's tokens.
func (i *Issuer) Key() Key { return i.key }

// Issue signs a token and returns it with the identifier under which its requests are audited.
func (i *Issuer) Issue(g Grant) (token, credential string, err error) {
	standard, own := g.claims(i.name, i.now())
	token, err = jwt.Signed(i.signer).Claims(own).Claims(standard).Serialize()
	if err != nil {
		return "", "", fmt.Errorf("signing token: %w", err)
	}
	return token, apijwt.CredentialIDForJTI(standard.ID), nil
}
