package serviceaccount

import (
	"encoding/json"
	"fmt"
	"net/http"
	"slices"

	"github.com/go-jose/go-jose/v4"
)

// Paths of the documents by which others verify our tokens.
const (
	ConfigurationPath = "/.well-known/openid-configuration"
	KeySetPath        = "/openid/v1/jwks"
)

// Metadata serves the discovery documents of the issuer.
type Metadata struct{ configuration, keySet []byte }

// NewMetadata renders the documents. keySetURI is where others find the keys.
func NewMetadata(issuer, keySetURI string, keys []Key) (*Metadata, error) {
	var algs []string
	var set jose.JSONWebKeySet
	for _, k := range keys {
		if !slices.Contains(algs, string(k.Algorithm)) {
			algs = append(algs, string(k.Algorithm))
		}
		set.Keys = append(set.Keys, jose.JSONWebKey{Algorithm: string(k.Algorithm), Key: k.Public, KeyID: k.ID, Use: "sig"})
	}
	slices.Sort(algs)
	configuration, err := json.Marshal(struct {
		Issuer        string   `json:"issuer"`
		JWKSURI       string   `json:"jwks_uri"`
		ResponseTypes []string `json:"response_types_supported"`
		SubjectTypes  []string `json:"subject_types_supported"`
		SigningAlgs   []string `json:"id_token_signing_alg_values_supported"`
	}{issuer, keySetURI, []string{"id_token"}, []string{"public"}, algs})
	if err != nil {
		return nil, fmt.Errorf("encoding issuer configuration: %w", err)
	}
	keySet, err := json.Marshal(set)
	if err != nil {
		return nil, fmt.Errorf("encoding issuer keys: %w", err)
	}
	return &Metadata{configuration: configuration, keySet: keySet}, nil
}

// Mux is where handlers are installed, such as the server's NonGoRestfulMux.
type Mux interface {
	Handle(path string, h http.Handler)
}

// Install serves the documents on mux.
func (m *Metadata) Install(mux Mux) {
	mux.Handle(ConfigurationPath, document("application/json", m.configuration))
	mux.Handle(KeySetPath, document("application/jwk-set+json", m.keySet))
}

func document(contentType string, body []byte) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.Method != http.MethodGet && r.Method != http.MethodHead {
			http.Error(w, "method not allowed", http.StatusMethodNotAllowed)
			return
		}
		w.Header().Set("Content-Type", contentType)
		w.Header().Set("Cache-Control", "public, max-age=3600")
		w.Write(body) //nolint:errcheck // the client is gone
	})
}
