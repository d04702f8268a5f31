package pidfd

import (
	"os/exec"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

func start(t *testing.T) *exec.Cmd {
	t.Helper()
	c := exec.Command("sleep", "1000")
	if err := c.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = c.Process.Kill(); _ = c.Wait() })
	return c
}

func awaitDone(t *testing.T, p *Process) {
	t.Helper()
	select {
	case <-p.Done():
	case <-time.After(5 * time.Second):
		t.Fatal("the end was not noticed")
	}
}

func TestWatch(t *testing.T) {
	c := start(t)
	reaped := false
	p, err := Watch(c.Process.Pid, 0, func() { _ = c.Wait(); reaped = true })
	if err != nil {
		t.Fatal(err)
	}
	if !p.Alive() || p.Started == 0 {
		t.Errorf("alive: %v, started at %d", p.Alive(), p.Started)
	}
	second := Resume(p.PID, p.Started)
	before := time.Now()
	if err := second.Signal(unix.SIGKILL); err != nil {
		t.Fatal(err)
	}
	awaitDone(t, p)
	awaitDone(t, second)
	if !reaped || p.Alive() || second.Alive() || p.Ended().Before(before) {
		t.Errorf("reaped: %v, alive: %v and %v, ended at %v", reaped, p.Alive(), second.Alive(), p.Ended())
	}
	if err := p.Signal(unix.SIGKILL); err != nil {
		t.Errorf("signalling what has ended: %v", err)
	}
	p.Close()
}

// Another process that has the id is not taken for the one that had it.
func TestResumeAnother(t *testing.T) {
	c := start(t)
	started, err := StartTime(c.Process.Pid)
	if err != nil {
		t.Fatal(err)
	}
	p := Resume(c.Process.Pid, started-1)
	if p.Alive() {
		t.Error("another process was taken up")
	}
	if err := p.Signal(unix.SIGKILL); err != nil {
		t.Error(err)
	}
	if now, err := StartTime(c.Process.Pid); err != nil || now != started {
		t.Errorf("the other process was killed: %v", err)
	}
}

// One that has ended but was not collected has ended.
func TestZombie(t *testing.T) {
	c := start(t)
	if err := c.Process.Kill(); err != nil {
		t.Fatal(err)
	}
	deadline := time.Now().Add(5 * time.Second)
	for _, err := StartTime(c.Process.Pid); err == nil; _, err = StartTime(c.Process.Pid) {
		if time.Now().After(deadline) {
			t.Fatal("a process that was killed still counts as running")
		}
		time.Sleep(time.Millisecond)
	}
	if _, err := Watch(c.Process.Pid, 0, nil); err == nil {
		t.Error("it can be watched")
	}
}
