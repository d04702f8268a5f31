package transport

import (
	"context"
	"errors"
	"io"
	"net/http"
	"strings"
	"sync"
	"testing"
	"time"

	"k8s.io/apiserver/pkg/authentication/user"
	"k8s.io/client-go/rest"
)

var alice = &user.DefaultInfo{Name: "alice", Groups: []string{"readers"}}

func client(t *testing.T, h http.HandlerFunc) *http.Client {
	t.Helper()
	s := &Server{}
	s.Set(h)
	c, err := rest.HTTPClientFor(s.ClientConfig(alice))
	if err != nil {
		t.Fatal(err)
	}
	return c
}

func get(t *testing.T, c *http.Client) *http.Response {
	t.Helper()
	resp, err := c.Get(Host + "/path?q=1")
	if err != nil {
		t.Fatal(err)
	}
	return resp
}

func TestNotReady(t *testing.T) {
	c, err := rest.HTTPClientFor((&Server{}).ClientConfig(alice))
	if err != nil {
		t.Fatal(err)
	}
	if _, err := c.Get(Host); !errors.Is(err, ErrNotReady) {
		t.Errorf("got %v, want ErrNotReady", err)
	}
}

func TestRequestAndResponse(t *testing.T) {
	type key struct{}
	c := client(t, func(w http.ResponseWriter, r *http.Request) {
		u, ok := UserFrom(r.Context())
		if !ok || u.GetName() != "alice" {
			t.Errorf("user is %v, want alice", u)
		}
		if r.Context().Value(key{}) != nil {
			t.Error("a value of the caller's context reached the handler")
		}
		if r.RequestURI != "/path?q=1" {
			t.Errorf("RequestURI is %q", r.RequestURI)
		}
		body, _ := io.ReadAll(r.Body)
		w.Header().Set("X-Before", "1")
		w.WriteHeader(http.StatusTeapot)
		w.Header().Set("X-After", "1")
		_, _ = w.Write(append([]byte("got "), body...))
	})
	ctx := context.WithValue(t.Context(), key{}, 1)
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, Host+"/path?q=1", strings.NewReader("body"))
	if err != nil {
		t.Fatal(err)
	}
	resp, err := c.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	if err != nil || string(body) != "got body" {
		t.Errorf("body is %q, %v", body, err)
	}
	if resp.StatusCode != http.StatusTeapot || resp.Header.Get("X-Before") != "1" || resp.Header.Get("X-After") != "" {
		t.Errorf("status %d, headers %v", resp.StatusCode, resp.Header)
	}
}

func TestStreamingEndsWithClose(t *testing.T) {
	ended := make(chan error, 1)
	c := client(t, func(w http.ResponseWriter, r *http.Request) {
		for i := 0; ; i++ {
			if _, err := w.Write([]byte("event\n")); err != nil {
				ended <- err
				return
			}
			w.(http.Flusher).Flush()
			select {
			case <-r.Context().Done():
				ended <- r.Context().Err()
				return
			case <-time.After(time.Millisecond):
			}
		}
	})
	resp := get(t, c)
	buf := make([]byte, 18)
	if _, err := io.ReadFull(resp.Body, buf); err != nil {
		t.Fatal(err)
	}
	resp.Body.Close()
	select {
	case <-ended:
	case <-time.After(5 * time.Second):
		t.Fatal("the handler went on after the body was closed")
	}
	if _, err := resp.Body.Read(buf); err == nil {
		t.Error("reading a closed body succeeded")
	}
}

func TestCancelBeforeHeaders(t *testing.T) {
	entered, left := make(chan struct{}), make(chan struct{})
	c := client(t, func(_ http.ResponseWriter, r *http.Request) {
		close(entered)
		<-r.Context().Done()
		close(left)
	})
	ctx, cancel := context.WithCancel(t.Context())
	go func() { <-entered; cancel() }()
	req, _ := http.NewRequestWithContext(ctx, http.MethodGet, Host, nil)
	if _, err := c.Do(req); !errors.Is(err, context.Canceled) {
		t.Errorf("got %v, want context.Canceled", err)
	}
	<-left
}

func TestCancelWhileReading(t *testing.T) {
	c := client(t, func(w http.ResponseWriter, r *http.Request) {
		w.(http.Flusher).Flush()
		<-r.Context().Done()
	})
	ctx, cancel := context.WithCancel(t.Context())
	req, _ := http.NewRequestWithContext(ctx, http.MethodGet, Host, nil)
	resp, err := c.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	cancel()
	if _, err := io.ReadAll(resp.Body); !errors.Is(err, context.Canceled) {
		// the handler may have returned first, which ends the body in the ordinary way
		if err != nil {
			t.Errorf("got %v, want context.Canceled or the end", err)
		}
	}
}

func TestPanic(t *testing.T) {
	c := client(t, func(w http.ResponseWriter, _ *http.Request) {
		_, _ = w.Write([]byte("half"))
		panic("broken")
	})
	resp := get(t, c)
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	if string(body) != "half" || err == nil || !strings.Contains(err.Error(), "broken") {
		t.Errorf("got %q, %v", body, err)
	}
}

func TestSlowReaderHoldsWriterBack(t *testing.T) {
	const total = 8 * window
	var mu sync.Mutex
	written := 0
	c := client(t, func(w http.ResponseWriter, _ *http.Request) {
		chunk := make([]byte, 4096)
		for sent := 0; sent < total; sent += len(chunk) {
			n, err := w.Write(chunk)
			if err != nil {
				t.Errorf("writing: %v", err)
				return
			}
			mu.Lock()
			written += n
			mu.Unlock()
		}
	})
	resp := get(t, c)
	defer resp.Body.Close()
	mu.Lock()
	if written > window {
		t.Errorf("%d bytes written before any was read, window is %d", written, window)
	}
	mu.Unlock()
	n, err := io.Copy(io.Discard, resp.Body)
	if err != nil || n != total {
		t.Errorf("read %d bytes, %v, want %d", n, err, total)
	}
}

func TestManyClients(t *testing.T) {
	c := client(t, func(w http.ResponseWriter, r *http.Request) { _, _ = io.Copy(w, r.Body) })
	var wg sync.WaitGroup
	for range 16 {
		wg.Go(func() {
			for range 50 {
				resp, err := c.Post(Host, "text/plain", strings.NewReader("ping"))
				if err != nil {
					t.Error(err)
					return
				}
				body, err := io.ReadAll(resp.Body)
				resp.Body.Close()
				if err != nil || string(body) != "ping" {
					t.Errorf("got %q, %v", body, err)
				}
			}
		})
	}
	wg.Wait()
}
