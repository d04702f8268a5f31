package serviceaccount

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rsa"
	"crypto/sha256"
	"crypto/x509"
	"encoding/base64"
	"fmt"
	"slices"

	"github.com/go-jose/go-jose/v4"
	"k8s.io/client-go/util/keyutil"
)

// algorithms are what tokens may be signed with.
var algorithms = []jose.SignatureAlgorithm{jose.RS256, jose.ES256, jose.ES384, jose.ES512}

// Key is a public key that verifies tokens.
type Key struct {
	ID        string
	Algorithm jose.SignatureAlgorithm
	Public    crypto.PublicKey
}

// LoadKeys reads public keys from PEM files, which may hold private keys as well. Keys are in order of
// the files, each once.
func LoadKeys(files ...string) ([]Key, error) {
	var keys []Key
	for _, file := range files {
		found, err := keyutil.PublicKeysFromFile(file)
		if err != nil {
			return nil, fmt.Errorf("reading service account keys: %w", err)
		}
		for _, public := range found {
			key, err := NewKey(public)
			if err != nil {
				return nil, fmt.Errorf("reading service account keys of %s: %w", file, err)
			}
			if !slices.ContainsFunc(keys, func(k Key) bool { return k.ID == key.ID }) {
				keys = append(keys, key)
			}
		}
	}
	return keys, nil
}

// LoadSigner reads a private key from a PEM file.
func LoadSigner(file string) (crypto.Signer, error) {
	key, err := keyutil.PrivateKeyFromFile(file)
	if err != nil {
		return nil, fmt.Errorf("reading service account signing key: %w", err)
	}
	signer, ok := key.(crypto.Signer)
	if !ok {
		return nil, fmt.Errorf("reading service account signing key: %T in %s cannot sign", key, file)
	}
	return signer, nil
}

// NewKey names a public key by the hash of its encoding, as Kubernetes does.
func NewKey(public crypto.PublicKey) (Key, error) {
	der, err := x509.MarshalPKIXPublicKey(public)
	if err != nil {
		return Key{}, fmt.Errorf("encoding public key: %w", err)
	}
	algorithm, err := algorithmOf(public)
	if err != nil {
		return Key{}, err
	}
	sum := sha256.Sum256(der)
	return Key{ID: base64.RawURLEncoding.EncodeToString(sum[:]), Algorithm: algorithm, Public: public}, nil
}

func algorithmOf(public crypto.PublicKey) (jose.SignatureAlgorithm, error) {
	switch k := public.(type) {
	case *rsa.PublicKey:
		return jose.RS256, nil
	case *ecdsa.PublicKey:
		switch k.Curve {
		case elliptic.P256():
			return jose.ES256, nil
		case elliptic.P384():
			return jose.ES384, nil
		case elliptic.P521():
			return jose.ES512, nil
		}
		return "", fmt.Errorf("unknown curve %s: use P-256, P-384 or P-521", k.Curve.Params().Name)
	}
	return "", fmt.Errorf("unknown key type %T: use RSA or ECDSA", public)
}
