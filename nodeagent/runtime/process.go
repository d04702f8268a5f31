package runtime

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"os/exec"
	"strings"
	"syscall"
	"time"

	"golang.org/x/sys/unix"

	"coracle.dev/coracle/nodeagent/runtime/internal/pidfd"
)

const (
	// logLimit is the size in bytes from which on the log is put aside at a start.
	logLimit = 8 << 20
	// endGrace is how long containerd may take to end when asked.
	endGrace = 5 * time.Second
)

// record is what is on disk of the containerd that runs.
type record struct {
	Boot    string `json:"boot"`
	PID     int    `json:"pid"`
	Started uint64 `json:"started"`
	// Identity is a hash of the binary's identity and the configuration.
	Identity string `json:"identity"`
}

// child is a containerd process, ours or that of an earlier one of us.
type child struct {
	*pidfd.Process
	identity string
}

// identify says what a containerd with this configuration would be. The binary is
// known by its file rather than its content, which would take too long to read.
func identify(configuration []byte) (string, error) {
	info, err := os.Stat("/proc/self/exe")
	if err != nil {
		return "", fmt.Errorf("finding our binary: %w", err)
	}
	stat := info.Sys().(*syscall.Stat_t)
	return hash(fmt.Appendf(configuration[:len(configuration):len(configuration)], "%d %d %d %d",
		stat.Dev, stat.Ino, stat.Size, info.ModTime().UnixNano())), nil
}

// find returns the containerd that runs, or nil.
func find(c Config) (*child, error) {
	data, err := os.ReadFile(c.recordFile())
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("reading containerd's record: %w", err)
	}
	var r record
	if json.Unmarshal(data, &r) != nil || r.Boot != pidfd.BootID() {
		return nil, nil
	}
	p := pidfd.Resume(r.PID, r.Started)
	if !p.Alive() {
		return nil, nil
	}
	return &child{Process: p, identity: r.Identity}, nil
}

// spawn starts containerd detached: in a session of its own, with its output in
// the log file.
func spawn(c Config, identity string) (*child, error) {
	log, err := openLog(c.logFile())
	if err != nil {
		return nil, err
	}
	defer log.Close()
	command := exec.Command("/proc/self/exe", "containerd", "--config", c.configFile())
	command.Args[0] = os.Args[0]
	command.Dir = "/"
	command.Stdout, command.Stderr = log, log
	command.Env = environment(c)
	command.SysProcAttr = &syscall.SysProcAttr{Setsid: true}
	if err := command.Start(); err != nil {
		return nil, fmt.Errorf("starting containerd: %w", err)
	}
	p, err := pidfd.Watch(command.Process.Pid, 0, func() { _ = command.Wait() })
	if err != nil {
		_ = command.Wait()
		return nil, fmt.Errorf("starting containerd: %w\n%s", err, logTail(c))
	}
	data, err := json.Marshal(record{Boot: pidfd.BootID(), PID: p.PID, Started: p.Started, Identity: identity})
	if err == nil {
		err = replaceFile(c.recordFile(), data, 0o600)
	}
	if err != nil {
		_ = p.Signal(unix.SIGKILL)
		return nil, fmt.Errorf("writing containerd's record: %w", err)
	}
	return &child{Process: p, identity: identity}, nil
}

// environment is ours, with the helpers first on the path.
func environment(c Config) []string {
	var result []string
	for _, variable := range os.Environ() {
		// What belongs to a supervisor of ours is not containerd's, and neither are
		// Go's settings for us.
		switch name, _, _ := strings.Cut(variable, "="); name {
		case "PATH", "NOTIFY_SOCKET", "LISTEN_FDS", "LISTEN_PID", "GOMEMLIMIT", "GOGC", "GOMAXPROCS":
		default:
			result = append(result, variable)
		}
	}
	path := os.Getenv("PATH")
	if path == "" {
		path = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
	}
	return append(result, "PATH="+c.helperDir()+":"+path)
}

// end asks containerd to end, and makes it. Containers stay.
func (d *child) end(ctx context.Context) error {
	if err := d.Signal(unix.SIGTERM); err != nil {
		return err
	}
	grace := time.NewTimer(endGrace)
	defer grace.Stop()
	select {
	case <-d.Done():
		return nil
	case <-ctx.Done():
		return fmt.Errorf("waiting for containerd to end: %w", ctx.Err())
	case <-grace.C:
	}
	if err := d.Signal(unix.SIGKILL); err != nil {
		return err
	}
	select {
	case <-d.Done():
		return nil
	case <-ctx.Done():
		return fmt.Errorf("waiting for containerd to end: %w", ctx.Err())
	}
}

func openLog(path string) (*os.File, error) {
	if info, err := os.Stat(path); err == nil && info.Size() > logLimit {
		if err := os.Rename(path, path+".1"); err != nil {
			return nil, fmt.Errorf("putting containerd's log aside: %w", err)
		}
	}
	file, err := os.OpenFile(path, os.O_WRONLY|os.O_CREATE|os.O_APPEND, 0o640)
	if err != nil {
		return nil, fmt.Errorf("opening containerd's log: %w", err)
	}
	return file, nil
}

// logTail is the end of containerd's log, for error messages.
func logTail(c Config) string {
	file, err := os.Open(c.logFile())
	if err != nil {
		return ""
	}
	defer file.Close()
	const length = 2048
	if info, err := file.Stat(); err == nil && info.Size() > length {
		_, _ = file.Seek(-length, io.SeekEnd)
	}
	data, _ := io.ReadAll(io.LimitReader(file, length))
	return "the end of " + c.logFile() + ":\n" + string(data)
}
