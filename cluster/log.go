package cluster

import (
	"bytes"
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"

	"github.com/fsnotify/fsnotify"
	"k8s.io/klog/v2"

	"coracle.dev/coracle/nodeagent"
)

// maxLog is the size in bytes above which a log is set aside at the next start.
const maxLog = 64 << 20

// LogFile is where the cluster's process logs.
func LogFile(c *Config) string { return c.Path("log", "coracle.log") }

// ContainerdLogFile is where containerd logs.
func ContainerdLogFile(c *Config) string { return nodeagent.RuntimeConfig(agentPaths(c)).LogFile() }

// OpenLogFile opens LogFile for appending. A file that has grown too large is set aside first.
func OpenLogFile(c *Config) (*os.File, error) {
	path := LogFile(c)
	if err := os.MkdirAll(c.Path("log"), 0o755); err != nil {
		return nil, err
	}
	if info, err := os.Stat(path); err == nil && info.Size() > maxLog {
		if err := os.Rename(path, path+".1"); err != nil {
			return nil, err
		}
	}
	return os.OpenFile(path, os.O_CREATE|os.O_WRONLY|os.O_APPEND, 0o640)
}

// OpenLog sends this process's log to LogFile until the returned function is called.
func OpenLog(c *Config) (closeLog func(), err error) {
	f, err := OpenLogFile(c)
	if err != nil {
		return nil, err
	}
	var flags flag.FlagSet
	klog.InitFlags(&flags)
	if err := flags.Set("one_output", "true"); err != nil { // else errors are written once a severity
		f.Close()
		return nil, err
	}
	klog.LogToStderr(false)
	klog.SetOutput(f)
	return func() {
		klog.Flush()
		klog.LogToStderr(true)
		f.Close()
	}, nil
}

// Logs writes the last lines of a part's log to w, all if tail is negative, and with follow goes on
// as lines are written, until ctx ends.
func Logs(ctx context.Context, c *Config, part string, tail int, follow bool, w io.Writer) error {
	path := map[string]string{"coracle": LogFile(c), "containerd": ContainerdLogFile(c)}[part]
	if path == "" {
		return fmt.Errorf("there is no log of %q", part)
	}
	watcher, err := fsnotify.NewWatcher()
	if err != nil {
		return err
	}
	defer watcher.Close()
	f, err := os.Open(path)
	if err != nil {
		return err
	}
	defer f.Close()
	if err := watcher.Add(path); err != nil {
		return err
	}
	if err := seekTail(f, tail); err != nil {
		return err
	}
	for {
		if _, err := io.Copy(w, f); err != nil || !follow {
			return err
		}
		select {
		case <-ctx.Done():
			return nil
		case err := <-watcher.Errors:
			return err
		case e := <-watcher.Events:
			if e.Has(fsnotify.Remove) || e.Has(fsnotify.Rename) {
				return nil
			}
		}
	}
}

// seekTail moves to where the last n lines begin.
func seekTail(f *os.File, n int) error {
	if n < 0 {
		return nil
	}
	const chunk = 64 << 10
	end, err := f.Seek(0, io.SeekEnd)
	if err != nil || n == 0 {
		return err
	}
	buf := make([]byte, chunk)
	for pos, last := end, true; pos > 0; last = false {
		size := min(pos, chunk)
		pos -= size
		part := buf[:size]
		if _, err := f.ReadAt(part, pos); err != nil && !errors.Is(err, io.EOF) {
			return err
		}
		stop := len(part)
		if last && bytes.HasSuffix(part, []byte("\n")) {
			stop-- // the end of the last line begins no other
		}
		for {
			i := bytes.LastIndexByte(part[:stop], '\n')
			if i < 0 {
				break
			}
			if n--; n == 0 {
				_, err := f.Seek(pos+int64(i)+1, io.SeekStart)
				return err
			}
			stop = i
		}
	}
	_, err = f.Seek(0, io.SeekStart)
	return err
}
