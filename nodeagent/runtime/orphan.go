package runtime

import (
	"encoding/json"
	"errors"
	"os"
	"path/filepath"
	"strconv"
	"strings"

	"coracle.dev/coracle/nodeagent/runtime/internal/pidfd"
)

// runcState is what we read of runc's own record of a container.
type runcState struct {
	PID         int               `json:"init_process_pid"`
	Started     uint64            `json:"init_process_start"`
	CgroupPaths map[string]string `json:"cgroup_paths"`
}

// runcStates reads the records of all containers that runc has.
func (c Config) runcStates() []runcState {
	files, err := filepath.Glob(filepath.Join(c.runcDir(), "*", "*", "state.json"))
	if err != nil {
		return nil
	}
	var states []runcState
	for _, file := range files {
		var s runcState
		if data, err := os.ReadFile(file); err == nil && json.Unmarshal(data, &s) == nil {
			states = append(states, s)
		}
	}
	return states
}

// orphans are the processes of containers, also of those whose shim is gone.
func (c Config) orphans() []*pidfd.Process {
	var found []*pidfd.Process
	for _, s := range c.runcStates() {
		if p, err := pidfd.Watch(s.PID, s.Started, nil); err == nil {
			found = append(found, p)
		}
		for _, path := range s.CgroupPaths {
			data, err := os.ReadFile(filepath.Join(path, "cgroup.procs"))
			if err != nil {
				continue
			}
			for field := range strings.FieldsSeq(string(data)) {
				pid, err := strconv.Atoi(field)
				if err != nil || pid == os.Getpid() {
					continue
				}
				if p, err := pidfd.Watch(pid, 0, nil); err == nil {
					found = append(found, p)
				}
			}
		}
	}
	return found
}

// removeCgroups removes the containers' own cgroups; those above are the caller's.
func (c Config) removeCgroups() error {
	var errs []error
	for _, s := range c.runcStates() {
		for _, path := range s.CgroupPaths {
			if err := os.Remove(path); err != nil && !errors.Is(err, os.ErrNotExist) {
				errs = append(errs, err)
			}
		}
	}
	return errors.Join(errs...)
}
