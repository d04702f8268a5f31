package sandbox

import (
	"encoding/json"
	"fmt"
	"golang.org/x/sys/unix"
	"os"
	"path/filepath"
	"time"

	"coracle.dev/coracle/nodeagent/runtime/internal/pidfd"
)

const recordName = "sandbox.json"

// instance is one sandbox. Its fields are set before it is in the controller's
// map and are constant from then on.
type instance struct {
	id      string
	created time.Time
	holder  *pidfd.Process
	shim    *pidfd.Process
	socket  string
	// ended is closed when either process has ended and the other has been told.
	ended chan struct{}
}

// record is what is on disk of an instance.
type record struct {
	// Boot names the run of the kernel, since start times begin anew with each.
	Boot    string        `json:"boot"`
	Created time.Time     `json:"created"`
	Holder  pidfd.Process `json:"holder"`
	Shim    pidfd.Process `json:"shim"`
	Socket  string        `json:"socket"`
}

// save writes the record so that it is there whole or not at all. It is not
// synced: after a crash of the machine the processes are gone as well, and a
// record that is empty or missing says just that.
func (c *Controller) save(s *instance) error {
	data, err := json.Marshal(&record{
		Boot:    pidfd.BootID(),
		Created: s.created,
		Holder:  pidfd.Process{PID: s.holder.PID, Started: s.holder.Started},
		Shim:    pidfd.Process{PID: s.shim.PID, Started: s.shim.Started},
		Socket:  s.socket,
	})
	if err != nil {
		return err
	}
	path := filepath.Join(c.root, s.id, recordName)
	if err := os.WriteFile(path+".new", data, 0o600); err != nil {
		return fmt.Errorf("writing the sandbox's record: %w", err)
	}
	if err := os.Rename(path+".new", path); err != nil {
		return fmt.Errorf("writing the sandbox's record: %w", err)
	}
	return nil
}

// load takes up a sandbox from its record.
func (c *Controller) load(id string) (*instance, error) {
	data, err := os.ReadFile(filepath.Join(c.root, id, recordName))
	if err != nil {
		return nil, err
	}
	var r record
	if err := json.Unmarshal(data, &r); err != nil {
		return nil, fmt.Errorf("decoding the record of sandbox %s: %w", id, err)
	}
	resume := pidfd.Resume
	if r.Boot != pidfd.BootID() {
		resume = pidfd.Dead
	}
	s := &instance{
		id:      id,
		created: r.Created,
		holder:  resume(r.Holder.PID, r.Holder.Started),
		shim:    resume(r.Shim.PID, r.Shim.Started),
		socket:  r.Socket,
		ended:   make(chan struct{}),
	}
	go s.follow()
	return s, nil
}

// follow ends the one process when the other ends.
func (s *instance) follow() {
	select {
	case <-s.holder.Done():
	case <-s.shim.Done():
		_ = s.holder.Signal(unix.SIGKILL)
		<-s.holder.Done()
	}
	close(s.ended)
}

func (s *instance) ready() bool { return s.holder.Alive() && s.shim.Alive() }
