package resilience

import (
	"bufio"
	"bytes"
	"context"
	"crypto/tls"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/watch"
	"k8s.io/client-go/kubernetes"
)

// write creates a ConfigMap with a value of a size.
func write(ctx context.Context, cs kubernetes.Interface, name string, size int) error {
	cm := &corev1.ConfigMap{ObjectMeta: metav1.ObjectMeta{Name: name}, Data: map[string]string{"k": strings.Repeat("x", size)}}
	_, err := cs.CoreV1().ConfigMaps("default").Create(ctx, cm, metav1.CreateOptions{})
	return err
}

// TestHalfOpenConnections keeps a thousand connections at various points of a request, none of which
// goes on, and uses the server meanwhile.
func TestHalfOpenConnections(t *testing.T) {
	server, cs := serverFor(t)
	insecure := &tls.Config{InsecureSkipVerify: true}
	started := [][]byte{
		nil, // no more than the connection
		[]byte("\x16\x03\x01\x02\x00\x01\x00"),
	}
	afterHandshake := []string{
		"", "GET /api HTTP/1.1\r\nHost: x\r\n",
		"POST " + configMaps + " HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer " + token + "\r\nContent-Type: application/json\r\nContent-Length: 1000\r\n\r\n{\"apiV",
	}
	const each = 200
	before := server.resident(t)
	for range each {
		for _, b := range started {
			conn := dial(t, server.address)
			if _, err := conn.Write(b); err != nil {
				t.Fatal(err)
			}
		}
		for _, text := range afterHandshake {
			conn := tls.Client(dial(t, server.address), insecure)
			if err := conn.HandshakeContext(t.Context()); err != nil {
				t.Fatal(err)
			}
			if _, err := io.WriteString(conn, text); err != nil {
				t.Fatal(err)
			}
		}
	}
	for i := range 50 {
		if err := write(t.Context(), cs, fmt.Sprint("c", i), 100); err != nil {
			t.Fatalf("beside the half-open connections: %v", err)
		}
	}
	if after := server.resident(t); after > before+300 {
		t.Errorf("the server has %d MiB, had %d", after, before)
	}
}

func dial(t *testing.T, address string) net.Conn {
	t.Helper()
	conn, err := (&net.Dialer{}).DialContext(t.Context(), "tcp", address)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { conn.Close() })
	return conn
}

// TestSlowReaders opens watches that are never read, and reads another while much is written.
func TestSlowReaders(t *testing.T) {
	server, cs := serverFor(t)
	const slow, writes, size = 100, 400, 100 << 10
	for range slow {
		conn := tls.Client(dial(t, server.address), &tls.Config{InsecureSkipVerify: true})
		if err := conn.HandshakeContext(t.Context()); err != nil {
			t.Fatal(err)
		}
		if _, err := fmt.Fprintf(conn, "GET %s?watch=1 HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer %s\r\n\r\n", configMaps, token); err != nil {
			t.Fatal(err)
		}
		status, err := bufio.NewReaderSize(conn, 16).ReadString('\n')
		if err != nil || !strings.Contains(status, "200") {
			t.Fatalf("a watch begins with %q, %v", status, err)
		}
	}
	list, err := cs.CoreV1().ConfigMaps("default").List(t.Context(), metav1.ListOptions{})
	if err != nil {
		t.Fatal(err)
	}
	seen := make(chan error, 1)
	go func() { seen <- follow(t.Context(), cs, list.ResourceVersion, writes) }()
	before := server.resident(t)
	for i := range writes {
		if err := write(t.Context(), cs, fmt.Sprint("big-", i), size); err != nil {
			t.Fatalf("write %d beside slow readers: %v", i, err)
		}
	}
	if err := <-seen; err != nil {
		t.Errorf("a reader that keeps up: %v", err)
	}
	// What is written is 40 MiB, and each event is made once for all; a hundred copies would be 4 GiB.
	if after := server.resident(t); after > before+1500 {
		t.Errorf("the server has %d MiB, had %d", after, before)
	}
}

// follow watches until it has seen a number of additions, and goes on where a watch was ended.
func follow(ctx context.Context, cs kubernetes.Interface, version string, count int) error {
	for seen := 0; seen < count; {
		w, err := cs.CoreV1().ConfigMaps("default").Watch(ctx, metav1.ListOptions{ResourceVersion: version})
		if err != nil {
			return err
		}
		for ev := range w.ResultChan() {
			cm, ok := ev.Object.(*corev1.ConfigMap)
			if !ok {
				return fmt.Errorf("the watch sees %v", ev)
			}
			if version = cm.ResourceVersion; ev.Type == watch.Added {
				if seen++; seen == count {
					break
				}
			}
		}
		w.Stop()
	}
	return nil
}

// TestManyWatchers has ten thousand clients watch, of whom each gets each event.
func TestManyWatchers(t *testing.T) {
	const watchers, events, streams = 10_000, 3, 100
	server, cs := serverFor(t)
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	before := server.resident(t)
	var open, received atomic.Int64
	ready, done := make(chan struct{}), make(chan struct{})
	failed := make(chan error, watchers)
	var wg sync.WaitGroup
	for range watchers / streams {
		// A connection carries a hundred streams.
		c := &http.Client{Transport: &http.Transport{TLSClientConfig: &tls.Config{InsecureSkipVerify: true}, ForceAttemptHTTP2: true, MaxConnsPerHost: 1}}
		defer c.CloseIdleConnections()
		for range streams {
			wg.Go(func() {
				opened := func() {
					if open.Add(1) == watchers {
						close(ready)
					}
				}
				got := func() {
					if received.Add(1) == watchers*events {
						close(done)
					}
				}
				if err := watchRaw(ctx, c, "https://"+server.address+configMaps+"?watch=1&labelSelector=seen%3Dyes", opened, got); err != nil && ctx.Err() == nil {
					failed <- err
				}
			})
		}
	}
	await(t, "all watches are open", ready, failed, &open)
	for i := range events {
		cm := &corev1.ConfigMap{ObjectMeta: metav1.ObjectMeta{Name: fmt.Sprint("seen-", i), Labels: map[string]string{"seen": "yes"}}}
		if _, err := cs.CoreV1().ConfigMaps("default").Create(t.Context(), cm, metav1.CreateOptions{}); err != nil {
			t.Fatalf("beside %d watches: %v", watchers, err)
		}
	}
	await(t, "all events are received", done, failed, &received)
	after := server.resident(t)
	t.Logf("%d MiB, %d before, %d KiB for each watch", after, before, (after-before)<<10/watchers)
	if after > before+2000 {
		t.Errorf("the server has %d MiB, had %d", after, before)
	}
	cancel()
	wg.Wait()
}

func await(t *testing.T, what string, done <-chan struct{}, failed <-chan error, count *atomic.Int64) {
	t.Helper()
	select {
	case <-done:
	case err := <-failed:
		t.Fatalf("waiting until %s: %v", what, err)
	case <-time.After(2 * time.Minute):
		t.Fatalf("waiting until %s: %d", what, count.Load())
	}
}

// watchRaw reads a watch, and tells of its start and of each event.
func watchRaw(ctx context.Context, c *http.Client, url string, opened, got func()) error {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, url, nil)
	if err != nil {
		return err
	}
	req.Header.Set("Authorization", "Bearer "+token)
	resp, err := c.Do(req)
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	if resp.StatusCode != http.StatusOK {
		return fmt.Errorf("status %s", resp.Status)
	}
	opened()
	r := bufio.NewReaderSize(resp.Body, 1024)
	for {
		line, err := r.ReadSlice('\n')
		if bytes.Contains(line, []byte(`"ADDED"`)) {
			got()
		}
		if err != nil && err != bufio.ErrBufferFull {
			return err
		}
	}
}
