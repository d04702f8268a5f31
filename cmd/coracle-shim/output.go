package main

import (
	"context"
	"net"
	"os"
	"strings"
	"sync"
	"time"

	eventstypes "github.com/containerd/containerd/api/events"
	"github.com/containerd/containerd/v2/core/events"
	"github.com/containerd/containerd/v2/pkg/shim"
	"golang.org/x/sys/unix"
)

const (
	// settleTime is how long output may take from a process that has ended into
	// the pipe to containerd, if nobody is there who reads it.
	settleTime = time.Second
	firstLook  = time.Millisecond
	lastLook   = 200 * time.Millisecond
)

// outputs keeps the pipes to containerd of each container open, until containerd
// has read what is in them. Upstream's shim closes them when the container has
// ended; if containerd is away then, the kernel forgets what was last written.
type outputs struct {
	// address is containerd's socket.
	address string

	mu   sync.Mutex
	open map[string]*pipes
}

// pipes are those of one container.
type pipes struct {
	once  sync.Once
	gone  chan struct{}
	files []*os.File
}

func newOutputs(address string) *outputs {
	return &outputs{address: strings.TrimPrefix(address, "unix://"), open: map[string]*pipes{}}
}

// hold opens a container's pipes. What is no pipe is left alone.
func (o *outputs) hold(id string, paths ...string) {
	p := &pipes{gone: make(chan struct{})}
	for _, path := range paths {
		info, err := os.Stat(path)
		if err != nil || info.Mode()&os.ModeNamedPipe == 0 {
			continue
		}
		// For both directions, so that it opens at once and is a writer, without
		// which containerd's reader would not open.
		if f, err := os.OpenFile(path, os.O_RDWR|unix.O_NONBLOCK, 0); err == nil {
			p.files = append(p.files, f)
		}
	}
	o.mu.Lock()
	defer o.mu.Unlock()
	o.open[id] = p
}

// drop closes a container's pipes.
func (o *outputs) drop(id string) {
	o.mu.Lock()
	p := o.open[id]
	delete(o.open, id)
	o.mu.Unlock()
	if p == nil {
		return
	}
	p.once.Do(func() {
		close(p.gone)
		for _, f := range p.files {
			f.Close()
		}
	})
}

// ended drops the pipes of a container that has ended as soon as they are empty:
// containerd waits for that.
func (o *outputs) ended(id string) {
	o.mu.Lock()
	p := o.open[id]
	o.mu.Unlock()
	if p == nil {
		return
	}
	end, wait := time.Now(), firstLook
	for !p.empty() || (!o.reachable() && time.Since(end) < settleTime) {
		timer := time.NewTimer(wait)
		select {
		case <-p.gone:
			timer.Stop()
			return
		case <-timer.C:
		}
		wait = min(wait*2, lastLook)
	}
	o.drop(id)
}

func (p *pipes) empty() bool {
	for _, f := range p.files {
		raw, err := f.SyscallConn()
		if err != nil {
			continue
		}
		waiting := 0
		if raw.Control(func(fd uintptr) { waiting, err = unix.IoctlGetInt(int(fd), unix.TIOCINQ) }) == nil && err == nil && waiting > 0 {
			return false
		}
	}
	return true
}

// reachable tells whether there is a containerd.
func (o *outputs) reachable() bool {
	c, err := net.DialTimeout("unix", o.address, settleTime)
	if err != nil {
		return false
	}
	c.Close()
	return true
}

// publisher learns of the ends of containers from what is published.
type publisher struct {
	shim.Publisher
	outputs *outputs
}

func (p publisher) Publish(ctx context.Context, topic string, event events.Event) error {
	if e, ok := event.(*eventstypes.TaskExit); ok && e.ID == e.ContainerID {
		go p.outputs.ended(e.ContainerID)
	}
	return p.Publisher.Publish(ctx, topic, event)
}
