package main

import (
	"encoding/base64"
	"encoding/json"
	"fmt"
	"net/http"
	"path/filepath"
	"strings"
)

type object = map[string]any

// hooks serves, with the certificate of a folder, what an API server calls: a webhook that refuses
// objects labelled "bad", one that annotates, one that converts between two versions, and the
// discovery and list of an aggregated API.
func hooks(args []string) error {
	if len(args) != 1 {
		return fmt.Errorf("say which folder has tls.crt and tls.key")
	}
	mux := http.NewServeMux()
	mux.HandleFunc("POST /deny", answer(func(request object) object {
		if field(request, "object", "metadata", "labels", "bad") == nil {
			return object{"allowed": true}
		}
		return object{"allowed": false, "status": object{"message": "this is bad"}}
	}))
	mux.HandleFunc("POST /annotate", answer(func(object) object {
		patch := base64.StdEncoding.EncodeToString([]byte(`[{"op":"add","path":"/metadata/annotations","value":{"by":"webhook"}}]`))
		return object{"allowed": true, "patchType": "JSONPatch", "patch": patch}
	}))
	mux.HandleFunc("POST /convert", answer(func(request object) object {
		var converted []any
		for _, o := range request["objects"].([]any) {
			converted = append(converted, convert(o.(object), request["desiredAPIVersion"].(string)))
		}
		return object{"result": object{"status": "Success"}, "convertedObjects": converted}
	}))
	const winds = "/apis/winds.example.com/v1"
	serveObject(mux, winds, object{
		"kind": "APIResourceList", "apiVersion": "v1", "groupVersion": "winds.example.com/v1",
		"resources": []any{object{"name": "winds", "singularName": "wind", "kind": "Wind", "namespaced": false, "verbs": []any{"get", "list"}}},
	})
	serveObject(mux, winds+"/winds", object{
		"kind": "WindList", "apiVersion": "winds.example.com/v1", "metadata": object{},
		"items": []any{object{"kind": "Wind", "apiVersion": "winds.example.com/v1", "metadata": object{"name": "mistral"}}},
	})
	return http.ListenAndServeTLS(":8443", filepath.Join(args[0], "tls.crt"), filepath.Join(args[0], "tls.key"), mux)
}

func serveObject(mux *http.ServeMux, path string, o object) {
	mux.HandleFunc("GET "+path, func(w http.ResponseWriter, _ *http.Request) { reply(w, o) })
}

func reply(w http.ResponseWriter, o object) {
	w.Header().Set("Content-Type", "application/json")
	_ = json.NewEncoder(w).Encode(o) // the API server has gone
}

// answer replies to a review with what f makes of its request.
func answer(f func(request object) object) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		var review object
		if err := json.NewDecoder(r.Body).Decode(&review); err != nil {
			http.Error(w, err.Error(), http.StatusBadRequest)
			return
		}
		request, _ := review["request"].(object)
		response := f(request)
		response["uid"] = request["uid"]
		reply(w, object{"apiVersion": review["apiVersion"], "kind": review["kind"], "response": response})
	}
}

// field follows a path of names; it is nil where the path ends.
func field(o object, path ...string) any {
	var v any = o
	for _, name := range path {
		m, ok := v.(object)
		if !ok {
			return nil
		}
		v = m[name]
	}
	return v
}

// convert makes one version of a boat of the other: v1 has hostPort, v2 has host and port.
func convert(o object, version string) object {
	o["apiVersion"] = version
	if strings.HasSuffix(version, "/v2") {
		hostPort, _ := o["hostPort"].(string)
		o["host"], o["port"], _ = strings.Cut(hostPort, ":")
		delete(o, "hostPort")
	} else {
		o["hostPort"] = fmt.Sprintf("%v:%v", o["host"], o["port"])
		delete(o, "host")
		delete(o, "port")
	}
	return o
}
