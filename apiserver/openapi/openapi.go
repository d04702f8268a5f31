// Package openapi serves the OpenAPI documents of the built-in resources, which `make generate` builds
// and this package embeds, and the type schemas by which server-side apply merges objects.
//
// Building them when the server starts would cost it half a second and 60 to 90 MB. What custom
// resources and aggregated APIs add, the aggregator merges with these documents when it is asked.
//
// Invariants: the documents are those of exactly the routes that the server installs; a test of the
// API server compares them. Nothing is unpacked before the first request for it.
package openapi

import (
	"bytes"
	"compress/gzip"
	"embed"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"path"
	"strconv"
	"strings"
	"sync"

	"github.com/munnerz/goautoneg"
	"k8s.io/apiserver/pkg/server/mux"
	"k8s.io/kube-openapi/pkg/handler3"
)

//go:embed data
var data embed.FS

// Index names the documents and their entity tags. It is data/index.json.
type Index struct {
	// V2 is the tag of the one document of version 2.
	V2 string `json:"v2"`
	// V3 has the tag of each group version's document, by its path, such as "apis/apps/v1".
	V3 map[string]string `json:"v3"`
}

// V3File is the name, below data, of the document of a group version.
func V3File(groupVersion string) string {
	return "v3/" + strings.ReplaceAll(groupVersion, "/", "_") + ".json.gz"
}

// Install serves the documents below /openapi.
func Install(m *mux.PathRecorderMux) error {
	b, err := data.ReadFile("data/index.json")
	if err != nil {
		return fmt.Errorf("reading index of OpenAPI documents: %w", err)
	}
	var index Index
	if err := json.Unmarshal(b, &index); err != nil {
		return fmt.Errorf("reading index of OpenAPI documents: %w", err)
	}
	v2 := &document{file: "v2.json.gz", tag: index.V2}
	m.Handle("/openapi/v2", http.HandlerFunc(v2.serveJSON))

	discovery := handler3.OpenAPIV3Discovery{Paths: map[string]handler3.OpenAPIV3DiscoveryGroupVersion{}}
	for gv, tag := range index.V3 {
		d := &document{file: V3File(gv), tag: tag, url: versioned(gv, tag)}
		discovery.Paths[gv] = handler3.OpenAPIV3DiscoveryGroupVersion{ServerRelativeURL: d.url}
		m.Handle("/openapi/v3/"+gv, http.HandlerFunc(d.serveVersion))
	}
	root, err := json.Marshal(discovery)
	if err != nil {
		return fmt.Errorf("writing OpenAPI discovery: %w", err)
	}
	m.Handle("/openapi/v3", http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "application/json")
		_, _ = w.Write(root) // the client has gone
	}))
	return nil
}

func versioned(gv, tag string) string {
	u := url.URL{Path: path.Join("/openapi/v3", gv), RawQuery: url.Values{"hash": {tag}}.Encode()}
	return u.String()
}

// document is one embedded document.
type document struct {
	file, tag, url string

	once   sync.Once
	binary []byte
	err    error
}

// serveVersion serves a document of version 3, in JSON or as a protocol buffer. A request for the
// current hash may be cached for good; one for an old hash is sent on to the current.
func (d *document) serveVersion(w http.ResponseWriter, r *http.Request) {
	w.Header().Set("Vary", "Accept")
	if hash := r.URL.Query().Get("hash"); hash != "" {
		if hash != d.tag {
			http.Redirect(w, r, d.url, http.StatusMovedPermanently)
			return
		}
		w.Header().Set("Cache-Control", "public, immutable")
	}
	switch goautoneg.Negotiate(accept(r), []string{"application/json", protoV3, protoV3Old}) {
	case "application/json":
		d.serveJSON(w, r)
	case protoV3, protoV3Old:
		d.serveProto(w, r)
	default:
		w.WriteHeader(http.StatusNotAcceptable)
	}
}

const (
	protoV3    = "application/com.github.proto-openapi.spec.v3.v1.0+protobuf"
	protoV3Old = "application/com.github.proto-openapi.spec.v3@v1.0+protobuf"
)

func accept(r *http.Request) string {
	if a := r.Header.Get("Accept"); a != "" {
		return a
	}
	return "*/*"
}

// serveJSON hands out the packed bytes to clients that can unpack them.
func (d *document) serveJSON(w http.ResponseWriter, r *http.Request) {
	w.Header().Set("Etag", strconv.Quote(d.tag))
	if r.Header.Get("If-None-Match") == strconv.Quote(d.tag) {
		w.WriteHeader(http.StatusNotModified)
		return
	}
	packed, err := data.ReadFile("data/" + d.file)
	if err != nil {
		http.Error(w, err.Error(), http.StatusInternalServerError)
		return
	}
	w.Header().Set("Content-Type", "application/json")
	if strings.Contains(r.Header.Get("Accept-Encoding"), "gzip") {
		w.Header().Set("Content-Encoding", "gzip")
		_, _ = w.Write(packed) // the client has gone
		return
	}
	z, err := gzip.NewReader(bytes.NewReader(packed))
	if err == nil {
		_, err = io.Copy(w, z)
	}
	if err != nil {
		http.Error(w, err.Error(), http.StatusInternalServerError)
	}
}

func (d *document) serveProto(w http.ResponseWriter, r *http.Request) {
	d.once.Do(func() {
		var text []byte
		if text, d.err = unpack(d.file); d.err == nil {
			d.binary, d.err = handler3.ToV3ProtoBinary(text)
		}
	})
	if d.err != nil {
		http.Error(w, d.err.Error(), http.StatusInternalServerError)
		return
	}
	w.Header().Set("Etag", strconv.Quote(d.tag))
	w.Header().Set("Content-Type", protoV3)
	if r.Header.Get("If-None-Match") == strconv.Quote(d.tag) {
		w.WriteHeader(http.StatusNotModified)
		return
	}
	_, _ = w.Write(d.binary) // the client has gone
}

func unpack(file string) ([]byte, error) {
	f, err := data.Open("data/" + file)
	if err != nil {
		return nil, fmt.Errorf("opening OpenAPI document: %w", err)
	}
	defer f.Close()
	z, err := gzip.NewReader(f)
	if err != nil {
		return nil, fmt.Errorf("unpacking OpenAPI document %s: %w", file, err)
	}
	b, err := io.ReadAll(z)
	if err != nil {
		return nil, fmt.Errorf("unpacking OpenAPI document %s: %w", file, err)
	}
	return b, nil
}
