package cluster

import (
	"bytes"
	"context"
	"io"
	"os"
	"strings"
	"testing"
	"time"
)

func TestLogsStartsWithTheLastLines(t *testing.T) {
	c := testConfig(t)
	long := strings.Repeat("x", 100_000)
	if err := writeFile(LogFile(c), []byte("one\n"+long+"\nthree\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	for tail, want := range map[int]string{-1: "one\n" + long + "\nthree\n", 0: "", 1: "three\n", 2: long + "\nthree\n", 3: "one\n" + long + "\nthree\n", 9: "one\n" + long + "\nthree\n"} {
		var out bytes.Buffer
		if err := Logs(t.Context(), c, "coracle", tail, false, &out); err != nil {
			t.Fatal(err)
		}
		if out.String() != want {
			t.Errorf("tail %d: got %d bytes %.20q, want %d bytes %.20q", tail, out.Len(), out.String(), len(want), want)
		}
	}
}

func TestLogsFollows(t *testing.T) {
	c := testConfig(t)
	if err := writeFile(LogFile(c), []byte("old\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
	defer cancel()
	r, w := io.Pipe()
	done := make(chan error, 1)
	go func() { done <- Logs(ctx, c, "coracle", 0, true, w) }()
	f, err := os.OpenFile(LogFile(c), os.O_APPEND|os.O_WRONLY, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	// The follower may look at the end of the file before or after the write: with tail 0 it may
	// miss the first line, never a later one.
	stop := make(chan struct{})
	go func() {
		tick := time.NewTicker(10 * time.Millisecond)
		defer tick.Stop()
		for {
			select {
			case <-stop:
				return
			case <-tick.C:
				_, _ = f.WriteString("new\n")
			}
		}
	}()
	buf := make([]byte, 4)
	if _, err := io.ReadFull(r, buf); err != nil || string(buf) != "new\n" {
		t.Errorf("read %q, %v", buf, err)
	}
	close(stop)
	cancel()
	go func() { _, _ = io.Copy(io.Discard, r) }()
	if err := <-done; err != nil {
		t.Error(err)
	}
}
