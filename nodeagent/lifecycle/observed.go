package lifecycle

import (
	"sort"
	"time"

	corev1 "k8s.io/api/core/v1"
)

// State is where a container is in its life. It only ever grows.
type State int

// The states in order.
const (
	Created State = iota
	Running
	Exited
	Unknown
)

// Container is one instance of a container as the runtime knows it.
type Container struct {
	ID, Name, SandboxID string
	State               State
	// RestartCount is the number of instances before this one.
	RestartCount int
	// Hash is that of the definition which it was made from.
	Hash                             string
	CreatedAt, StartedAt, FinishedAt time.Time
	ExitCode                         int32
	Reason, Message                  string
	Image, ImageID                   string
	User                             *corev1.ContainerUser
	// LogPath and MessageFile are files of the host.
	LogPath, MessageFile string
	// GracePeriod of the pod when the container was made, in seconds.
	GracePeriod int64
}

// Sandbox is one instance of a pod's sandbox.
type Sandbox struct {
	ID          string
	Attempt     uint32
	Ready       bool
	HostNetwork bool
	CreatedAt   time.Time
	IPs         []string
}

// Observed is all that the runtime knows of one pod.
type Observed struct {
	Sandboxes  map[string]Sandbox
	Containers map[string]Container
}

// NewObserved knows nothing.
func NewObserved() Observed {
	return Observed{Sandboxes: map[string]Sandbox{}, Containers: map[string]Container{}}
}

// MergeContainer adds what was learnt of a container. News that arrive late
// do not take it back to an earlier state. It tells whether anything changed.
func (o Observed) MergeContainer(c Container) bool {
	old, known := o.Containers[c.ID]
	if known && c.State < old.State {
		return false
	}
	if known && c.State == old.State {
		return false
	}
	o.Containers[c.ID] = c
	return true
}

// MergeSandbox adds what was learnt of a sandbox.
func (o Observed) MergeSandbox(s Sandbox) bool {
	old, known := o.Sandboxes[s.ID]
	if known && (!old.Ready || (s.Ready && len(s.IPs) <= len(old.IPs))) {
		return false
	}
	if known && len(s.IPs) == 0 {
		s.IPs = old.IPs
	}
	o.Sandboxes[s.ID] = s
	return true
}

// Sandbox is the newest one, ready or not.
func (o Observed) Sandbox() (Sandbox, bool) {
	var newest Sandbox
	found := false
	for _, s := range o.Sandboxes {
		if !found || s.Attempt > newest.Attempt || (s.Attempt == newest.Attempt && s.CreatedAt.After(newest.CreatedAt)) {
			newest, found = s, true
		}
	}
	return newest, found
}

// Instances lists a container's instances, the newest first.
func (o Observed) Instances(name string) []Container {
	var out []Container
	for _, c := range o.Containers {
		if c.Name == name {
			out = append(out, c)
		}
	}
	sort.Slice(out, func(i, j int) bool {
		if out[i].RestartCount != out[j].RestartCount {
			return out[i].RestartCount > out[j].RestartCount
		}
		return out[i].CreatedAt.After(out[j].CreatedAt)
	})
	return out
}

// Newest is a container's newest instance.
func (o Observed) Newest(name string) (Container, bool) {
	if all := o.Instances(name); len(all) > 0 {
		return all[0], true
	}
	return Container{}, false
}

// Running lists what may still run, by name and then by id.
func (o Observed) Running() []Container {
	var out []Container
	for _, c := range o.Containers {
		if c.State == Running || c.State == Unknown {
			out = append(out, c)
		}
	}
	sort.Slice(out, func(i, j int) bool {
		if out[i].Name != out[j].Name {
			return out[i].Name < out[j].Name
		}
		return out[i].ID < out[j].ID
	})
	return out
}
