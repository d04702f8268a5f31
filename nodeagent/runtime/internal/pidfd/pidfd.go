// Package pidfd follows processes that need not be our children: it tells when
// they end, and signals them without ever hitting one that has taken over the id.
package pidfd

import (
	"errors"
	"fmt"
	"os"
	"strconv"
	"strings"
	"sync"
	"time"

	"golang.org/x/sys/unix"
)

// Process is one that may not be our child, and may outlive us.
type Process struct {
	PID int `json:"pid"`
	// Started is the start time in clock ticks since boot: with the id it names a
	// process for good.
	Started uint64 `json:"started"`

	file *os.File
	// done is closed once it has ended; ended is valid from then on.
	done  chan struct{}
	ended time.Time
	// reap collects our own child.
	reap func()
	once sync.Once
}

// StartTime reads when a process started, in clock ticks since boot. One that has
// ended and waits to be collected is an error.
func StartTime(pid int) (uint64, error) {
	fields, err := stat(pid)
	if err != nil {
		return 0, err
	}
	if state := fields[0]; state == "Z" || state == "X" {
		return 0, fmt.Errorf("process %d: %w", pid, unix.ESRCH)
	}
	return strconv.ParseUint(fields[19], 10, 64)
}

// Parent reads the id of a process's parent.
func Parent(pid int) (int, error) {
	fields, err := stat(pid)
	if err != nil {
		return 0, err
	}
	return strconv.Atoi(fields[1])
}

// stat reads the fields of /proc/PID/stat from the third on, the state.
func stat(pid int) ([]string, error) {
	data, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	if err != nil {
		return nil, err
	}
	// The name, field 2, is in parentheses and may hold some itself, and spaces.
	end := strings.LastIndexByte(string(data), ')')
	fields := strings.Fields(string(data[end+1:]))
	if end < 0 || len(fields) < 20 {
		return nil, fmt.Errorf("reading the state of process %d: unexpected format", pid)
	}
	return fields, nil
}

// BootID names the run of the kernel, with each of which start times begin anew.
func BootID() string {
	data, err := os.ReadFile("/proc/sys/kernel/random/boot_id")
	if err != nil {
		return ""
	}
	return strings.TrimSpace(string(data))
}

// Watch starts to follow a process that is alive. If started is not zero, the
// process must have started then. reap, which may be nil, is called when the
// process has ended, to collect a child.
func Watch(pid int, started uint64, reap func()) (*Process, error) {
	p := &Process{PID: pid, Started: started, done: make(chan struct{}), reap: reap}
	fd, err := unix.PidfdOpen(pid, unix.PIDFD_NONBLOCK)
	if err != nil {
		return nil, fmt.Errorf("opening a pidfd of process %d: %w", pid, err)
	}
	// Checked with the pidfd in hand, so that the id cannot pass on in between.
	now, err := StartTime(pid)
	if err == nil && started == 0 {
		p.Started = now
	}
	if err != nil || now != p.Started {
		unix.Close(fd)
		return nil, fmt.Errorf("process %d: %w", pid, unix.ESRCH)
	}
	p.file = os.NewFile(uintptr(fd), "pidfd")
	raw, err := p.file.SyscallConn()
	if err != nil {
		p.file.Close()
		return nil, fmt.Errorf("watching process %d: %w", pid, err)
	}
	go func() {
		// The runtime's poller waits, so that no thread has to.
		_ = raw.Read(func(fd uintptr) bool {
			n, err := unix.Poll([]unix.PollFd{{Fd: int32(fd), Events: unix.POLLIN}}, 0)
			return n > 0 || (err != nil && !errors.Is(err, unix.EINTR))
		})
		p.finish()
	}()
	return p, nil
}

func (p *Process) finish() {
	p.once.Do(func() {
		p.ended = time.Now()
		if p.reap != nil {
			p.reap()
		}
		close(p.done)
	})
}

// Dead is a process that was found to have ended.
func Dead(pid int, started uint64) *Process {
	p := &Process{PID: pid, Started: started, done: make(chan struct{})}
	p.finish()
	return p
}

// Resume takes up a process of which an earlier one of us wrote down id and start
// time, or finds it dead.
func Resume(pid int, started uint64) *Process {
	p, err := Watch(pid, started, nil)
	if err != nil {
		return Dead(pid, started)
	}
	return p
}

// Alive tells whether the process has not ended.
func (p *Process) Alive() bool {
	select {
	case <-p.done:
		return false
	default:
		return true
	}
}

// Done is closed when the process has ended.
func (p *Process) Done() <-chan struct{} { return p.done }

// Ended is when we noticed the end. It must not be called before Done is closed.
func (p *Process) Ended() time.Time { return p.ended }

// Signal sends a signal; it is no error if the process has ended.
func (p *Process) Signal(signal unix.Signal) error {
	if p == nil || !p.Alive() {
		return nil
	}
	raw, err := p.file.SyscallConn()
	if err != nil {
		return err
	}
	var failure error
	if err := raw.Control(func(fd uintptr) { failure = unix.PidfdSendSignal(int(fd), signal, nil, 0) }); err != nil {
		return err
	}
	if failure != nil && !errors.Is(failure, unix.ESRCH) {
		return fmt.Errorf("signalling process %d: %w", p.PID, failure)
	}
	return nil
}

// Close ends the watch of a process that has ended.
func (p *Process) Close() {
	if p != nil && p.file != nil {
		p.file.Close()
	}
}
