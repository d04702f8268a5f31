package transport

import (
	"bytes"
	"context"
	"io"
	"net/http"
	"sync"
)

// window is how many unread bytes a response may have before its handler has to wait.
const window = 256 << 10

// writer is the handler's ResponseWriter and the client's response body in one.
type writer struct {
	ctx    context.Context // the handler's; CloseNotify needs it
	cancel context.CancelCauseFunc

	committed chan struct{} // closed when code and sent are final
	commit    sync.Once

	header http.Header // the handler's alone until it writes

	mu     sync.Mutex
	change *sync.Cond // on buf, done, closed and the end of ctx
	buf    bytes.Buffer
	code   int
	sent   http.Header // what header was when code was set
	done   bool        // the handler has returned
	err    error       // what the reader gets after the bytes; nil means EOF
	closed bool        // the reader has left
}

var (
	_ http.ResponseWriter = &writer{}
	_ http.Flusher        = &writer{}
	_ io.ReadCloser       = &writer{}
)

func newWriter(ctx context.Context, cancel context.CancelCauseFunc) *writer {
	w := &writer{ctx: ctx, cancel: cancel, header: http.Header{}, committed: make(chan struct{})}
	w.change = sync.NewCond(&w.mu)
	context.AfterFunc(ctx, func() {
		w.mu.Lock()
		defer w.mu.Unlock()
		w.change.Broadcast()
	})
	return w
}

// Header implements http.ResponseWriter.
func (w *writer) Header() http.Header { return w.header }

// WriteHeader implements http.ResponseWriter.
func (w *writer) WriteHeader(code int) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.setCode(code)
}

// setCode takes the first final code; informational ones have no use here.
func (w *writer) setCode(code int) {
	if w.code == 0 && code >= http.StatusOK {
		w.code, w.sent = code, w.header.Clone()
	}
}

// Write implements http.ResponseWriter. It blocks while the window is full.
func (w *writer) Write(p []byte) (int, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.setCode(http.StatusOK)
	for n := 0; ; {
		if w.closed {
			return n, io.ErrClosedPipe
		}
		if err := w.ctx.Err(); err != nil {
			return n, err
		}
		if room := window - w.buf.Len(); room > 0 {
			chunk := p[n:min(len(p), n+room)]
			w.buf.Write(chunk)
			n += len(chunk)
			w.change.Broadcast()
		}
		if n == len(p) {
			return n, nil
		}
		w.release() // else the client never starts to read
		w.change.Wait()
	}
}

// Flush implements http.Flusher.
func (w *writer) Flush() {
	w.WriteHeader(http.StatusOK)
	w.release()
}

// CloseNotify implements the deprecated http.CloseNotifier, which some of the server's filters want
// of a writer that they are to pass on as one.
func (w *writer) CloseNotify() <-chan bool {
	c := make(chan bool, 1)
	context.AfterFunc(w.ctx, func() { c <- true })
	return c
}

func (w *writer) release() { w.commit.Do(func() { close(w.committed) }) }

// finish ends the response after the handler has returned.
func (w *writer) finish(err error) {
	w.mu.Lock()
	if err != nil && w.code == 0 {
		w.setCode(http.StatusInternalServerError)
	}
	w.setCode(http.StatusOK)
	w.done, w.err = true, err
	w.change.Broadcast()
	drained := w.closed || w.buf.Len() == 0
	w.mu.Unlock()
	w.release()
	if drained {
		w.cancel(nil)
	}
}

// Read implements io.Reader for the client.
func (w *writer) Read(p []byte) (int, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	for {
		switch {
		case w.closed:
			return 0, http.ErrBodyReadAfterClose
		case w.buf.Len() > 0:
			n, err := w.buf.Read(p)
			w.change.Broadcast()
			return n, err
		case w.done && w.err != nil:
			return 0, w.err
		case w.done:
			w.cancel(nil) // nothing is left that the context is needed for
			return 0, io.EOF
		case w.ctx.Err() != nil:
			return 0, w.ctx.Err()
		}
		w.change.Wait()
	}
}

// Close implements io.Closer for the client: it ends the handler's context.
func (w *writer) Close() error {
	w.mu.Lock()
	w.closed = true
	w.buf = bytes.Buffer{}
	w.change.Broadcast()
	w.mu.Unlock()
	w.cancel(context.Canceled)
	return nil
}
