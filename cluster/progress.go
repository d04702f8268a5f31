package cluster

import (
	"encoding/json"
	"io"
	"sync"
	"time"
)

// Stages of a start, in the order in which they end.
const (
	StagePreflight    = "preflight checks"
	StageCertificates = "certificates"
	StageAPIServer    = "API server"
	StageControllers  = "controllers"
	StageScheduler    = "scheduler"
	StageNode         = "node"
	// StageReady ends the start: everything works.
	StageReady = "ready"
)

// Event says that a stage has ended.
type Event struct {
	Stage  string        `json:"stage"`
	Detail string        `json:"detail,omitempty"`
	Took   time.Duration `json:"took"`
	// Error is the reason of a failed start; no more events follow.
	Error string `json:"error,omitempty"`
}

// Progress receives the events of a start. It may be called by several goroutines at once.
type Progress func(Event)

// EncodeProgress writes events to w, a line of JSON each: how a detached process tells the one
// that started it. Errors of w are ignored, since the reader may have left.
func EncodeProgress(w io.Writer) Progress {
	var mu sync.Mutex
	enc := json.NewEncoder(w)
	return func(e Event) {
		mu.Lock()
		defer mu.Unlock()
		_ = enc.Encode(e)
	}
}

// DecodeProgress passes the events that r carries to p, and returns the last one: that the cluster is
// ready, that its start failed, or whatever came before r ended.
func DecodeProgress(r io.Reader, p Progress) (last Event) {
	for dec := json.NewDecoder(r); ; {
		var e Event
		if dec.Decode(&e) != nil {
			return last
		}
		last = e
		p(e)
		if e.Stage == StageReady || e.Error != "" {
			return last
		}
	}
}
