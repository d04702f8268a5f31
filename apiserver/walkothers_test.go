package apiserver_test

import (
	"net/http"
	"strings"
	"testing"

	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/rest"
)

// step is a request that is not about an object of the catalog.
type step struct {
	method, path, body string
	want               int
}

const podOfWalk = `{"apiVersion":"v1","kind":"Pod","metadata":{"name":"walk"},"spec":{"containers":[{"name":"a","image":"a"}],"terminationGracePeriodSeconds":0}}`

// others walk the subresources with a behaviour of their own, and what is not stored. $NS is the
// namespace of the test; a merge patch is sent for PATCH.
var others = []step{
	{"GET", "/api/v1/componentstatuses", "", 200},
	{"GET", "/api/v1/componentstatuses/etcd-0", "", 200},
	{"POST", "/api/v1/namespaces/$NS/pods", podOfWalk, 201},
	{"POST", "/api/v1/nodes", `{"metadata":{"name":"walk"}}`, 201},
	{"GET", "/api/v1/namespaces/$NS/pods/walk/ephemeralcontainers", "", 200},
	{"PATCH", "/api/v1/namespaces/$NS/pods/walk/ephemeralcontainers", `{"spec":{"ephemeralContainers":[{"name":"e","image":"e"}]}}`, 200},
	{"PUT", "/api/v1/namespaces/$NS/pods/walk/ephemeralcontainers", "=", 200},
	{"GET", "/api/v1/namespaces/$NS/pods/walk/resize", "", 200},
	{"PATCH", "/api/v1/namespaces/$NS/pods/walk/resize", `{}`, 200},
	{"PUT", "/api/v1/namespaces/$NS/pods/walk/resize", "=", 200},
	{"POST", "/api/v1/namespaces/$NS/pods/walk/binding", `{"apiVersion":"v1","kind":"Binding","metadata":{"name":"walk"},"target":{"kind":"Node","name":"walk"}}`, 201},
	{"GET", "/api/v1/namespaces/$NS/pods/walk/log", "", 0},
	{"GET", "/api/v1/namespaces/$NS/pods/walk/exec?command=ls&stdout=true", "", 0},
	{"POST", "/api/v1/namespaces/$NS/pods/walk/exec?command=ls&stdout=true", "", 0},
	{"GET", "/api/v1/namespaces/$NS/pods/walk/attach?stdout=true", "", 0},
	{"POST", "/api/v1/namespaces/$NS/pods/walk/attach?stdout=true", "", 0},
	{"GET", "/api/v1/namespaces/$NS/pods/walk/portforward?ports=80", "", 0},
	{"POST", "/api/v1/namespaces/$NS/pods/walk/portforward?ports=80", "", 0},
	{"POST", "/api/v1/namespaces/$NS/pods/walk/eviction", `{"apiVersion":"policy/v1","kind":"Eviction","metadata":{"name":"walk"}}`, 201},
	{"POST", "/api/v1/namespaces/$NS/pods", strings.Replace(podOfWalk, `"walk"`, `"walk2"`, 1), 201},
	{"POST", "/api/v1/namespaces/$NS/bindings", `{"apiVersion":"v1","kind":"Binding","metadata":{"name":"walk2"},"target":{"kind":"Node","name":"walk"}}`, 201},
	{"POST", "/api/v1/namespaces/$NS/services", `{"metadata":{"name":"walk"},"spec":{"ports":[{"port":80}]}}`, 201},
	{"POST", "/api/v1/namespaces", `{"metadata":{"name":"walk"}}`, 201},
	{"PATCH", "/api/v1/namespaces/walk/status", `{}`, 200},
	{"GET", "/api/v1/namespaces/walk", "", 200},
	{"PUT", "/api/v1/namespaces/walk/finalize", "=", 200},
	{"POST", "/api/v1/namespaces/$NS/serviceaccounts", `{"metadata":{"name":"walk"}}`, 201},
	{"POST", "/api/v1/namespaces/$NS/serviceaccounts/walk/token", `{"apiVersion":"authentication.k8s.io/v1","kind":"TokenRequest","spec":{}}`, 201},
	{"POST", "/apis/authentication.k8s.io/v1/selfsubjectreviews", `{"apiVersion":"authentication.k8s.io/v1","kind":"SelfSubjectReview"}`, 201},
	{"POST", "/apis/authentication.k8s.io/v1/tokenreviews", `{"apiVersion":"authentication.k8s.io/v1","kind":"TokenReview","spec":{"token":"x"}}`, 201},
	{"POST", "/apis/authorization.k8s.io/v1/namespaces/$NS/localsubjectaccessreviews", `{"apiVersion":"authorization.k8s.io/v1","kind":"LocalSubjectAccessReview","metadata":{"namespace":"$NS"},"spec":{"user":"u","resourceAttributes":{"namespace":"$NS","verb":"get","resource":"pods"}}}`, 201},
	{"POST", "/apis/authorization.k8s.io/v1/selfsubjectaccessreviews", `{"apiVersion":"authorization.k8s.io/v1","kind":"SelfSubjectAccessReview","spec":{"resourceAttributes":{"verb":"get","resource":"pods"}}}`, 201},
	{"POST", "/apis/authorization.k8s.io/v1/selfsubjectrulesreviews", `{"apiVersion":"authorization.k8s.io/v1","kind":"SelfSubjectRulesReview","spec":{"namespace":"$NS"}}`, 201},
	{"POST", "/apis/authorization.k8s.io/v1/subjectaccessreviews", `{"apiVersion":"authorization.k8s.io/v1","kind":"SubjectAccessReview","spec":{"user":"u","resourceAttributes":{"verb":"get","resource":"pods"}}}`, 201},
	{"POST", "/apis/certificates.k8s.io/v1/certificatesigningrequests", `{"metadata":{"name":"walk"},"spec":{"request":"$CSR","signerName":"example.com/s","usages":["client auth"]}}`, 201},
	{"GET", "/apis/certificates.k8s.io/v1/certificatesigningrequests/walk/approval", "", 200},
	{"PATCH", "/apis/certificates.k8s.io/v1/certificatesigningrequests/walk/approval", `{"status":{"conditions":[{"type":"Approved","status":"True","reason":"R"}]}}`, 200},
	{"PUT", "/apis/certificates.k8s.io/v1/certificatesigningrequests/walk/approval", "=", 200},
}

var crdOfWalk = `{"apiVersion":"apiextensions.k8s.io/v1","kind":"CustomResourceDefinition","metadata":{"name":"walks.example.com","labels":{"test":"catalog"}},"spec":{"group":"example.com","scope":"Namespaced",
 "names":{"plural":"walks","kind":"Walk"},"versions":[{"name":"v1","served":true,"storage":true,"schema":{"openAPIV3Schema":{"type":"object"}}}]}}`

var serviceOfWalk = `{"apiVersion":"apiregistration.k8s.io/v1","kind":"APIService","metadata":{"name":"v1.walk.example.com","labels":{"test":"catalog"}},"spec":{"group":"walk.example.com","version":"v1",
 "groupPriorityMinimum":100,"versionPriority":1,"insecureSkipTLSVerify":true,"service":{"name":"walk","namespace":"$NS"}}}`

// walkOthers does all that, and walks the resources of the extension servers.
func walkOthers(t *testing.T, config *rest.Config) {
	t.Helper()
	csr := signingRequest(t)
	var last string
	do := func(s step) {
		t.Helper()
		expand := strings.NewReplacer("$NS", testNamespace, "$CSR", csr)
		body := expand.Replace(s.body)
		if body == "=" {
			body = last
		}
		media := runtime.ContentTypeJSON
		if s.method == http.MethodPatch {
			media = string(types.MergePatchType)
		}
		status, answer := call(t, config, s.method, expand.Replace(s.path), media, "application/json, */*", []byte(body))
		if s.want != 0 && status != s.want {
			t.Errorf("%s %s: status %d: %.500s", s.method, s.path, status, answer)
		}
		last = string(answer)
	}
	for _, s := range others {
		do(s)
	}
	for _, proxied := range []string{"/api/v1/namespaces/$NS/pods/walk2/proxy/x", "/api/v1/nodes/walk/proxy/x", "/api/v1/namespaces/$NS/services/walk/proxy/x"} {
		for _, method := range []string{"GET", "POST", "PUT", "PATCH", "DELETE"} {
			do(step{method, proxied, "", 0})
		}
	}
	for _, r := range []struct{ collection, name, body string }{
		{"/apis/apiextensions.k8s.io/v1/customresourcedefinitions", "walks.example.com", crdOfWalk},
		{"/apis/apiregistration.k8s.io/v1/apiservices", "v1.walk.example.com", serviceOfWalk},
	} {
		one := r.collection + "/" + r.name
		for _, s := range []step{
			{"POST", r.collection, r.body, 201},
			{"GET", r.collection, "", 200},
			{"GET", r.collection + "?watch=true&timeoutSeconds=1", "", 200},
			{"PATCH", one, `{"metadata":{"annotations":{"a":"b"}}}`, 200},
			{"PATCH", one + "/status", `{}`, 200},
			{"GET", one + "/status", "", 200},
			{"PUT", one + "/status", "=", 0},
			{"GET", one, "", 200},
			{"PUT", one, "=", 0},
			{"DELETE", one, "", 200},
			{"DELETE", r.collection + "?labelSelector=test%3Dcatalog", "", 200},
		} {
			do(s)
		}
	}
}
