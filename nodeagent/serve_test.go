package nodeagent

import (
	"bytes"
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"errors"
	"io"
	"math/big"
	"net"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"k8s.io/client-go/rest"
	"k8s.io/client-go/tools/portforward"
	"k8s.io/client-go/tools/remotecommand"
	"k8s.io/client-go/transport/spdy"
	"k8s.io/client-go/util/exec"
)

const apiPort = 10250

// pki makes the certificates of an agent's API in dir and a client's.
func pki(t *testing.T, dir string) (client tls.Certificate, ca []byte) {
	t.Helper()
	if err := os.MkdirAll(dir, 0o755); err != nil {
		t.Fatal(err)
	}
	issue := func(template, parent *x509.Certificate, signer *ecdsa.PrivateKey) (*x509.Certificate, *ecdsa.PrivateKey, []byte, []byte) {
		key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
		if err != nil {
			t.Fatal(err)
		}
		if signer == nil {
			parent, signer = template, key
		}
		template.SerialNumber = big.NewInt(time.Now().UnixNano())
		template.NotBefore, template.NotAfter = time.Now().Add(-time.Hour), time.Now().Add(time.Hour)
		der, err := x509.CreateCertificate(rand.Reader, template, parent, &key.PublicKey, signer)
		if err != nil {
			t.Fatal(err)
		}
		cert, _ := x509.ParseCertificate(der)
		keyDER, _ := x509.MarshalPKCS8PrivateKey(key)
		return cert, key, pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der}), pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: keyDER})
	}
	caCert, caKey, ca, _ := issue(&x509.Certificate{Subject: pkix.Name{CommonName: "ca"}, IsCA: true, BasicConstraintsValid: true, KeyUsage: x509.KeyUsageCertSign}, nil, nil)
	_, _, cert, key := issue(&x509.Certificate{Subject: pkix.Name{CommonName: "node"}, IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)}}, caCert, caKey)
	_, _, clientCert, clientKey := issue(&x509.Certificate{
		Subject: pkix.Name{CommonName: "kube-apiserver", Organization: []string{"system:masters"}}, ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth},
	}, caCert, caKey)
	for name, data := range map[string][]byte{"tls.crt": cert, "tls.key": key, "ca.crt": ca} {
		if err := os.WriteFile(filepath.Join(dir, name), data, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	client, err := tls.X509KeyPair(clientCert, clientKey)
	if err != nil {
		t.Fatal(err)
	}
	certs.cert, certs.key = clientCert, clientKey
	return client, ca
}

// certs is the client's identity in PEM.
var certs struct{ cert, key []byte }

// TestAPI asks the agent's own API for all that kubectl needs, on containerd.
func TestAPI(t *testing.T) {
	dir := t.TempDir()
	client, ca := pki(t, dir)
	w := newRealWorld(t, func(o *Options) {
		o.Port, o.TLSCertFile, o.TLSPrivateKeyFile, o.ClientCAFile = apiPort, filepath.Join(dir, "tls.crt"), filepath.Join(dir, "tls.key"), filepath.Join(dir, "ca.crt")
	})
	pool := x509.NewCertPool()
	pool.AppendCertsFromPEM(ca)
	api := &apiClient{t: t, base: "https://127.0.0.1:10250", http: &http.Client{Transport: &http.Transport{TLSClientConfig: &tls.Config{RootCAs: pool, Certificates: []tls.Certificate{client}}}}}
	anonymous := &http.Client{Transport: &http.Transport{TLSClientConfig: &tls.Config{RootCAs: pool}}}
	cfg := &rest.Config{Host: api.base, TLSClientConfig: rest.TLSClientConfig{CAData: ca, CertData: certs.cert, KeyData: certs.key}}
	w.create(appPod("talker", runs("echo one; echo two; sleep 0.2; echo three >&2; nc -ll -p 8080 -e echo hello & sleep 100000")))
	w.create(appPod("twice", runs("echo run; exit 1")))
	w.until("talker", "ready", ready)
	talker := filepath.Join(w.options.RootDir, "logs")
	eventually(t, "all lines are in the log", func() bool {
		found, _ := filepath.Glob(talker + "/*talker*/talker/0.log")
		if len(found) != 1 {
			return false
		}
		data, _ := os.ReadFile(found[0])
		return strings.Contains(string(data), "three")
	})
	w.until("twice", "in back-off", waiting("CrashLoopBackOff"))

	t.Run("Anonymous", func(t *testing.T) {
		res, err := anonymous.Get(api.base + "/pods")
		if err != nil {
			t.Fatal(err)
		}
		res.Body.Close()
		if res.StatusCode != http.StatusUnauthorized {
			t.Errorf("status %d", res.StatusCode)
		}
	})
	t.Run("Logs", func(t *testing.T) { apiLogs(t, api) })
	t.Run("Follow", func(t *testing.T) { apiFollow(t, api) })
	t.Run("Exec", func(t *testing.T) { apiExec(t, cfg) })
	t.Run("PortForward", func(t *testing.T) { apiPortForward(t, cfg) })
	t.Run("Read", func(t *testing.T) {
		for path, want := range map[string]string{
			"/healthz": "ok", "/pods": `"name":"talker"`, "/runningpods/": `"name":"talker"`, "/configz": "kubeletconfig",
			"/stats/summary": `"nodeName":"n1"`, "/metrics": "go_goroutines", "/metrics/resource": `pod_memory_working_set_bytes{namespace="default",pod="talker"}`,
			"/metrics/cadvisor": "container_memory_usage_bytes{",
		} {
			if body := api.get(path); !strings.Contains(body, want) {
				t.Errorf("%s does not have %q: %s", path, want, body)
			}
		}
	})
	t.Run("Stats", func(t *testing.T) {
		body := api.get("/stats/summary")
		for _, want := range []string{`"name":"talker"`, `"usageCoreNanoSeconds"`, `"workingSetBytes"`, `"network"`} {
			if !strings.Contains(body, want) {
				t.Errorf("no %s in %s", want, body)
			}
		}
	})
}

type apiClient struct {
	t    *testing.T
	base string
	http *http.Client
}

func (c *apiClient) get(path string) string {
	c.t.Helper()
	res, err := c.http.Get(c.base + path)
	if err != nil {
		c.t.Fatal(err)
	}
	defer res.Body.Close()
	body, err := io.ReadAll(res.Body)
	if err != nil {
		c.t.Fatal(err)
	}
	return string(body)
}

func apiLogs(t *testing.T, api *apiClient) {
	for query, want := range map[string]string{
		"talker/talker": "one\ntwo\nthree\n", "talker/talker?tailLines=1": "three\n", "talker/talker?limitBytes=5": "one\nt",
		"talker/talker?stream=Stderr": "three\n", "talker/talker?sinceSeconds=3600&tailLines=2": "two\nthree\n",
		"twice/twice?previous=true":   "run\n",
		"talker/talker?previous=true": "previous terminated container \"talker\" in pod \"talker\" not found\n",
		"nobody/x":                    "pod \"nobody\" does not exist\n",
	} {
		if got := api.get("/containerLogs/default/" + query); got != want {
			t.Errorf("%s: %q, want %q", query, got, want)
		}
	}
	stamped := api.get("/containerLogs/default/talker/talker?timestamps=true&tailLines=1")
	stamp, _, _ := strings.Cut(stamped, " ")
	if _, err := time.Parse(time.RFC3339Nano, stamp); err != nil {
		t.Errorf("no time stamp: %q", stamped)
	}
}

func apiFollow(t *testing.T, api *apiClient) {
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
	defer cancel()
	req, _ := http.NewRequestWithContext(ctx, http.MethodGet, api.base+"/containerLogs/default/talker/talker?follow=true&tailLines=1", nil)
	res, err := api.http.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer res.Body.Close()
	line := make([]byte, 6)
	if _, err := io.ReadFull(res.Body, line); err != nil || string(line) != "three\n" {
		t.Errorf("followed %q: %v", line, err)
	}
}

func apiExec(t *testing.T, cfg *rest.Config) {
	target := func(query string) *url.URL {
		u, err := url.Parse(cfg.Host + "/exec/default/talker/talker?" + strings.ReplaceAll(query, ";", "%3B"))
		if err != nil {
			t.Fatal(err)
		}
		return u
	}
	spdyExec, err := remotecommand.NewSPDYExecutor(cfg, http.MethodPost, target("command=sh&command=-c&command=cat;echo+bad+>%262;exit+7&input=1&output=1&error=1"))
	if err != nil {
		t.Fatal(err)
	}
	var out, bad bytes.Buffer
	err = spdyExec.StreamWithContext(t.Context(), remotecommand.StreamOptions{Stdin: strings.NewReader("in"), Stdout: &out, Stderr: &bad})
	var code exec.CodeExitError
	if !errors.As(err, &code) || code.Code != 7 || out.String() != "in" || bad.String() != "bad\n" {
		t.Errorf("SPDY: %v, %q, %q", err, out.String(), bad.String())
	}
	// A terminal whose input ends hangs up, so it is kept open. Its size comes when it
	// comes; until then stty says so, and succeeds all the same.
	out.Reset()
	stdin, typed := io.Pipe()
	defer typed.Close()
	go func() { _, _ = io.WriteString(typed, "line\n") }()
	socket, err := remotecommand.NewWebSocketExecutor(cfg, http.MethodGet, target("command=sh&command=-c&command=read+a;until+busybox+stty+size|grep+101;do+sleep+0.1;done;echo+got+$a&input=1&output=1&tty=1").String())
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
	defer cancel()
	err = socket.StreamWithContext(ctx, remotecommand.StreamOptions{Stdin: stdin, Stdout: &out, Tty: true, TerminalSizeQueue: &oneSize{}})
	if err != nil || !strings.Contains(out.String(), "37 101") || !strings.Contains(out.String(), "got line") {
		t.Errorf("WebSocket: %v, %q", err, out.String())
	}
}

// oneSize is a terminal that is never resized.
type oneSize struct{ told bool }

func (s *oneSize) Next() *remotecommand.TerminalSize {
	if s.told {
		return nil
	}
	s.told = true
	return &remotecommand.TerminalSize{Width: 101, Height: 37}
}

func apiPortForward(t *testing.T, cfg *rest.Config) {
	transport, upgrader, err := spdy.RoundTripperFor(cfg)
	if err != nil {
		t.Fatal(err)
	}
	u, _ := url.Parse(cfg.Host + "/portForward/default/talker")
	stop, ready := make(chan struct{}), make(chan struct{})
	var errs bytes.Buffer
	forwarder, err := portforward.New(spdy.NewDialer(upgrader, &http.Client{Transport: transport}, http.MethodPost, u), []string{"0:8080"}, stop, ready, io.Discard, &errs)
	if err != nil {
		t.Fatal(err)
	}
	done := make(chan error, 1)
	go func() { done <- forwarder.ForwardPorts() }()
	select {
	case <-ready:
	case err := <-done:
		t.Fatalf("forwarding: %v", err)
	}
	ports, err := forwarder.GetPorts()
	if err != nil {
		t.Fatal(err)
	}
	conn, err := net.Dial("tcp", net.JoinHostPort("127.0.0.1", itoa(ports[0].Local)))
	if err != nil {
		t.Fatal(err)
	}
	answer, err := io.ReadAll(conn)
	if err != nil || string(answer) != "hello\n" {
		t.Errorf("answer %q, %v, %s", answer, err, errs.String())
	}
	conn.Close()
	close(stop)
	<-done
}

func itoa(n uint16) string { return (&net.TCPAddr{Port: int(n)}).String()[1:] }
