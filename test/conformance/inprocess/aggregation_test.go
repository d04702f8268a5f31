package inprocess

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"errors"
	"fmt"
	"math/big"
	"net"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/dynamic"
	"k8s.io/client-go/rest"
	"k8s.io/client-go/tools/clientcmd"
	clientcmdapi "k8s.io/client-go/tools/clientcmd/api"
	"k8s.io/client-go/util/cert"
	"k8s.io/client-go/util/keyutil"
	apiregistrationv1 "k8s.io/kube-aggregator/pkg/apis/apiregistration/v1"

	"coracle.dev/coracle/apiserver"
	"coracle.dev/coracle/apiserver/apiservertest"
)

// frontProxy gives a server the certificates by which aggregated servers know it.
func frontProxy(t *testing.T) func(*apiserver.Options) {
	t.Helper()
	dir := t.TempDir()
	key := must(ecdsa.GenerateKey(elliptic.P256(), rand.Reader))(t)
	ca := must(cert.NewSelfSignedCACert(cert.Config{CommonName: "front-proxy-ca"}, key))(t)
	template := &x509.Certificate{
		SerialNumber: big.NewInt(2), Subject: pkix.Name{CommonName: "front-proxy-client"}, NotAfter: time.Now().Add(time.Hour),
		KeyUsage: x509.KeyUsageDigitalSignature, ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth},
	}
	clientKey := must(ecdsa.GenerateKey(elliptic.P256(), rand.Reader))(t)
	der := must(x509.CreateCertificate(rand.Reader, template, ca, clientKey.Public(), key))(t)
	write := func(name string, content []byte) string {
		path := filepath.Join(dir, name)
		must(0, os.WriteFile(path, content, 0o600))(t)
		return path
	}
	pemOf := func(der []byte) []byte { return pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der}) }
	return func(o *apiserver.Options) {
		o.AuthorizationModes = []string{"RBAC"}
		o.Authentication.RequestHeaderClientCAFile = write("ca.crt", pemOf(ca.Raw))
		o.Authentication.RequestHeaderAllowedNames = []string{"front-proxy-client"}
		o.ProxyClientCertFile = write("client.crt", pemOf(der))
		o.ProxyClientKeyFile = write("client.key", must(keyutil.MarshalPrivateKeyToPEM(clientKey))(t))
	}
}

// kubeconfig writes the administrator's configuration to a file.
func (e *env) kubeconfig(t *testing.T) string {
	t.Helper()
	tls := apiservertest.TLS(e.server)
	c := clientcmdapi.NewConfig()
	c.Clusters["test"] = &clientcmdapi.Cluster{Server: tls.Host, CertificateAuthorityData: tls.CAData}
	c.AuthInfos["admin"] = &clientcmdapi.AuthInfo{Token: tls.BearerToken}
	c.Contexts["test"] = &clientcmdapi.Context{Cluster: "test", AuthInfo: "admin"}
	c.CurrentContext = "test"
	path := filepath.Join(t.TempDir(), "kubeconfig")
	must(0, clientcmd.WriteToFile(*c, path))(t)
	return path
}

var flunders = schema.GroupVersionResource{Group: "wardle.example.com", Version: "v1alpha1", Resource: "flunders"}

// TestAggregatedServer puts a server made of k8s.io/apiserver, which asks this one who a user is and
// what he may do, behind an APIService.
func TestAggregatedServer(t *testing.T) {
	e := start(t, frontProxy(t))
	port, ca := startFlunders(t, e.kubeconfig(t))
	service := &corev1.Service{ObjectMeta: metav1.ObjectMeta{Name: "sample-api"}, Spec: corev1.ServiceSpec{Type: corev1.ServiceTypeExternalName, ExternalName: "localhost"}}
	must(e.CoreV1().Services("default").Create(t.Context(), service, metav1.CreateOptions{}))(t)
	registration := &apiregistrationv1.APIService{
		ObjectMeta: metav1.ObjectMeta{Name: "v1alpha1.wardle.example.com", Labels: map[string]string{"e2e": "yes"}},
		Spec: apiregistrationv1.APIServiceSpec{
			Group: flunders.Group, Version: flunders.Version, GroupPriorityMinimum: 2000, VersionPriority: 200, CABundle: ca,
			Service: &apiregistrationv1.ServiceReference{Namespace: "default", Name: "sample-api", Port: new(int32(port))},
		},
	}
	api := e.agg.ApiregistrationV1().APIServices()
	must(api.Create(t.Context(), registration, metav1.CreateOptions{}))(t)
	eventually(t, "the APIService is available", func(ctx context.Context) error {
		s := must(api.Get(ctx, registration.Name, metav1.GetOptions{}))(t)
		if !slices.ContainsFunc(s.Status.Conditions, func(c apiregistrationv1.APIServiceCondition) bool {
			return c.Type == apiregistrationv1.Available && c.Status == apiregistrationv1.ConditionTrue
		}) {
			return fmt.Errorf("its conditions are %v", s.Status.Conditions)
		}
		return nil
	})
	e.useFlunders(t)
	e.apiServiceStatus(t, registration.Name)
	must(0, api.DeleteCollection(t.Context(), metav1.DeleteOptions{}, metav1.ListOptions{LabelSelector: "e2e=yes"}))(t)
	gone(t, registration.Name, api.Get)
	eventually(t, "its resources are gone", func(ctx context.Context) error {
		if _, err := e.dyn.Resource(flunders).Namespace("default").List(ctx, metav1.ListOptions{}); !apierrors.IsNotFound(err) {
			return errors.Join(err, errors.New("they are listed"))
		}
		return nil
	})
}

// useFlunders creates, lists and deletes as several users.
func (e *env) useFlunders(t *testing.T) {
	t.Helper()
	api := e.dyn.Resource(flunders).Namespace("default")
	u := &unstructured.Unstructured{Object: map[string]any{"apiVersion": "wardle.example.com/v1alpha1", "kind": "Flunder"}}
	u.SetName("f")
	eventually(t, "a flunder is created", func(ctx context.Context) error {
		_, err := api.Create(ctx, u, metav1.CreateOptions{})
		return err
	})
	if creator := must(api.Get(t.Context(), "f", metav1.GetOptions{}))(t).GetAnnotations()["creator"]; creator != apiservertest.Admin.Name {
		t.Errorf("the aggregated server takes the user for %q", creator)
	}
	if n := len(must(api.List(t.Context(), metav1.ListOptions{}))(t).Items); n != 1 {
		t.Errorf("%d flunders are listed, want 1", n)
	}
	nobody := rest.CopyConfig(e.cfg)
	nobody.Impersonate = rest.ImpersonationConfig{UserName: "nobody"}
	if _, err := must(dynamic.NewForConfig(nobody))(t).Resource(flunders).Namespace("default").List(t.Context(), metav1.ListOptions{}); !apierrors.IsForbidden(err) {
		t.Errorf("somebody without rights lists flunders: %v", err)
	}
	eventually(t, "flunders are discovered", func(context.Context) error { return e.hasAggregated(flunders) })
	must(0, api.Delete(t.Context(), "f", metav1.DeleteOptions{}))(t)
	if n := len(must(api.List(t.Context(), metav1.ListOptions{}))(t).Items); n != 0 {
		t.Errorf("%d flunders are left", n)
	}
}

// apiServiceStatus patches and updates the status.
func (e *env) apiServiceStatus(t *testing.T, name string) {
	t.Helper()
	api := e.agg.ApiregistrationV1().APIServices()
	patch := []byte(`{"status":{"conditions":[{"type":"StatusPatched","status":"True","reason":"E2E","message":"patched"}]}}`)
	s := must(api.Patch(t.Context(), name, types.MergePatchType, patch, metav1.PatchOptions{}, "status"))(t)
	has := func(kind string) {
		t.Helper()
		if !slices.ContainsFunc(s.Status.Conditions, func(c apiregistrationv1.APIServiceCondition) bool { return string(c.Type) == kind }) {
			t.Errorf("the conditions are %v, want %s", s.Status.Conditions, kind)
		}
	}
	has("StatusPatched")
	eventually(t, "the status is updated", func(ctx context.Context) (err error) {
		s = must(api.Get(ctx, name, metav1.GetOptions{}))(t)
		s.Status.Conditions = append(s.Status.Conditions, apiregistrationv1.APIServiceCondition{Type: "StatusUpdated", Status: "True", Reason: "E2E", Message: "updated"})
		s, err = api.UpdateStatus(ctx, s, metav1.UpdateOptions{})
		return err
	})
	has("StatusUpdated")
}

// TestUnavailableAPIService: while nothing answers, the APIService says so, its requests are refused at
// once, and nothing else suffers; when something answers it recovers.
func TestUnavailableAPIService(t *testing.T) {
	e := start(t, frontProxy(t))
	service := &corev1.Service{ObjectMeta: metav1.ObjectMeta{Name: "sample-api"}, Spec: corev1.ServiceSpec{Type: corev1.ServiceTypeExternalName, ExternalName: "localhost"}}
	l, dead := localhost(t)
	l.Close()
	registration := &apiregistrationv1.APIService{
		ObjectMeta: metav1.ObjectMeta{Name: "v1alpha1.wardle.example.com"},
		Spec: apiregistrationv1.APIServiceSpec{
			Group: flunders.Group, Version: flunders.Version, GroupPriorityMinimum: 2000, VersionPriority: 200, InsecureSkipTLSVerify: true,
			Service: &apiregistrationv1.ServiceReference{Namespace: "default", Name: "sample-api", Port: new(int32(dead))},
		},
	}
	api := e.agg.ApiregistrationV1().APIServices()
	must(api.Create(t.Context(), registration, metav1.CreateOptions{}))(t)
	is := func(status apiregistrationv1.ConditionStatus, reason string) {
		t.Helper()
		eventually(t, "the APIService is available: "+string(status)+" "+reason, func(ctx context.Context) error {
			s := must(api.Get(ctx, registration.Name, metav1.GetOptions{}))(t)
			if !slices.ContainsFunc(s.Status.Conditions, func(c apiregistrationv1.APIServiceCondition) bool {
				return c.Type == apiregistrationv1.Available && c.Status == status && c.Reason == reason
			}) {
				return fmt.Errorf("its conditions are %v", s.Status.Conditions)
			}
			return nil
		})
	}
	is(apiregistrationv1.ConditionFalse, "ServiceNotFound")
	must(e.CoreV1().Services("default").Create(t.Context(), service, metav1.CreateOptions{}))(t)
	is(apiregistrationv1.ConditionFalse, "FailedDiscoveryCheck")
	if _, err := e.dyn.Resource(flunders).Namespace("default").List(t.Context(), metav1.ListOptions{}); !apierrors.IsServiceUnavailable(err) {
		t.Errorf("listing what is not available: %v, want 503", err)
	}
	if err := e.hasAggregated(builtin[3]); err == nil || !strings.Contains(err.Error(), "wardle") {
		t.Errorf("discovery does not name what is not available: %v", err)
	}
	must(e.AppsV1().Deployments("default").List(t.Context(), metav1.ListOptions{}))(t)
	port, _ := startFlunders(t, e.kubeconfig(t))
	must(api.Patch(t.Context(), registration.Name, types.MergePatchType, fmt.Appendf(nil, `{"spec":{"service":{"port":%d}}}`, port), metav1.PatchOptions{}))(t)
	is(apiregistrationv1.ConditionTrue, "Passed")
	eventually(t, "flunders are listed", func(ctx context.Context) error {
		_, err := e.dyn.Resource(flunders).Namespace("default").List(ctx, metav1.ListOptions{})
		return err
	})
}

// localhost listens on a free port.
func localhost(t *testing.T) (net.Listener, int) {
	t.Helper()
	l := must(net.Listen("tcp", "127.0.0.1:0"))(t)
	return l, l.Addr().(*net.TCPAddr).Port
}
