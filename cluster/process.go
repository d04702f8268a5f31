package cluster

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"golang.org/x/sys/unix"
)

// ErrRunning says that another process runs the cluster.
var ErrRunning = errors.New("is running already")

// hold takes the cluster's lock for as long as this process lives, and leaves the process's id in
// it. With no lock file left behind to be trusted, a killed process is never taken for a live one.
func hold(c *Config) (release func(), err error) {
	path := lockPath(c)
	unlock, err := lockFile(path, false)
	if errors.Is(err, unix.EWOULDBLOCK) {
		return nil, fmt.Errorf("cluster %q %w (process %d)", c.Name, ErrRunning, Running(c))
	}
	if err != nil {
		return nil, fmt.Errorf("locking %s: %w", path, err)
	}
	if err := os.WriteFile(path, []byte(strconv.Itoa(os.Getpid())), 0o600); err != nil {
		unlock()
		return nil, err
	}
	return unlock, nil
}

// answerTime bounds how long a process that holds the cluster's lock may take to answer or to end.
const answerTime = 15 * time.Second

// AwaitRunning tells whether a process runs the cluster and its API server is ready. A process that
// is about to start or to end is waited for.
func AwaitRunning(ctx context.Context, c *Config) (pid int, err error) {
	ctx, cancel := context.WithTimeout(ctx, answerTime)
	defer cancel()
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	for {
		if pid = Running(c); pid == 0 {
			return 0, nil
		}
		if err = apiReady(ctx, c); err == nil {
			return pid, nil
		}
		select {
		case <-ctx.Done():
			return pid, fmt.Errorf("cluster %q %w (process %d), but does not answer: %w; stop it by 'coracle down --name %s'", c.Name, ErrRunning, pid, err, c.Name)
		case <-tick.C:
		}
	}
}

func lockPath(c *Config) string { return filepath.Join(c.RunDir, "lock") }

// Running returns the id of the process that runs the cluster, or 0.
func Running(c *Config) int {
	unlock, err := lockFile(lockPath(c), false)
	if err == nil {
		unlock()
		return 0
	}
	if !errors.Is(err, unix.EWOULDBLOCK) {
		return 0
	}
	data, err := os.ReadFile(lockPath(c))
	if err != nil {
		return 0
	}
	pid, err := strconv.Atoi(strings.TrimSpace(string(data)))
	if err != nil {
		return 0
	}
	return pid
}

// stopGrace is how long a process may take to end by itself.
const stopGrace = 30 * time.Second

// stopProcess asks a process to end, and kills it if it has not after stopGrace.
func stopProcess(ctx context.Context, pid int) error {
	fd, err := unix.PidfdOpen(pid, 0)
	if errors.Is(err, unix.ESRCH) {
		return nil
	}
	if err != nil {
		return fmt.Errorf("opening process %d: %w", pid, err)
	}
	defer unix.Close(fd)
	for _, signal := range []unix.Signal{unix.SIGTERM, unix.SIGKILL} {
		if err := unix.PidfdSendSignal(fd, signal, nil, 0); err != nil {
			return nil // it is gone
		}
		if ended(ctx, fd, stopGrace) {
			return nil
		}
		if err := ctx.Err(); err != nil {
			return err
		}
	}
	return fmt.Errorf("process %d does not end", pid)
}

// ended waits until the process of fd has ended.
func ended(ctx context.Context, fd int, limit time.Duration) bool {
	const slice = 100 // milliseconds between looks at the context
	deadline := time.Now().Add(limit)
	for time.Now().Before(deadline) && ctx.Err() == nil {
		p := []unix.PollFd{{Fd: int32(fd), Events: unix.POLLIN}}
		if n, err := unix.Poll(p, slice); err == nil && n > 0 {
			return true
		}
	}
	return false
}

// peerProcess is the id of the process that listens on a unix socket, or 0.
func peerProcess(socket string) int {
	conn, err := net.Dial("unix", socket)
	if err != nil {
		return 0
	}
	defer conn.Close()
	raw, err := conn.(*net.UnixConn).SyscallConn()
	if err != nil {
		return 0
	}
	pid := 0
	err = raw.Control(func(fd uintptr) {
		if cred, err := unix.GetsockoptUcred(int(fd), unix.SOL_SOCKET, unix.SO_PEERCRED); err == nil {
			pid = int(cred.Pid)
		}
	})
	if err != nil {
		return 0
	}
	return pid
}
