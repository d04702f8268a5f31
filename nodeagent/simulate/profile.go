package simulate

import (
	"fmt"
	"hash/fnv"
	"strconv"
	"strings"
	"time"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/types"
)

// Prefix begins the annotations by which a pod says what it does. Followed by "." and a container's name,
// an annotation is that container's alone.
//
// Times are durations ("1.5s"), or two of them ("1s-3s"), of which each pod takes one in between. A wrong
// value counts as none.
const Prefix = "simulation.coracle.dev/"

// The annotations of pods, and, for Down, of nodes.
const (
	// StartAfter is how long a container takes to start, from when it may.
	StartAfter = Prefix + "start-after"
	// ReadyAfter is how long it takes from its start to be ready.
	ReadyAfter = Prefix + "ready-after"
	// FinishAfter is when it ends by itself, from its start. "never" is the default, save for pods of Jobs.
	FinishAfter = Prefix + "finish-after"
	// ExitCode is what it ends with. With "1,1,0" it fails twice and succeeds at its third run.
	ExitCode = Prefix + "exit-code"
	// ExitReason is the reason that is shown for an exit code other than 0, such as OOMKilled.
	ExitReason = Prefix + "exit-reason"
	// PullError, if set, keeps it from starting: its image cannot be pulled, for the reason given.
	PullError = Prefix + "pull-error"
	// StopAfter is how long it takes to end after the pod was deleted, at most its grace period.
	StopAfter = Prefix + "stop-after"
	// Ready, if "false", makes a running container unready. It can be changed at any time.
	Ready = Prefix + "ready"
	// UsageCPU and UsageMemory are what it uses, as quantities. Default: what it requests.
	UsageCPU    = Prefix + "cpu"
	UsageMemory = Prefix + "memory"
	// Logs is what it has written.
	Logs = Prefix + "logs"
	// Down, on a node, is a machine without power while it is "true".
	Down = Prefix + "down"
)

// Profile is what the containers of a pod do where no annotation says otherwise.
type Profile struct {
	StartAfter, ReadyAfter, StopAfter time.Duration
	// FinishAfter is for pods of Jobs; others run until they are stopped.
	FinishAfter time.Duration
}

// DefaultFinish is when containers of a Job's pods end, with Profile's FinishAfter 0.
const DefaultFinish = 100 * time.Millisecond

// course is what one container does.
type course struct {
	start, ready time.Duration
	finish       time.Duration // less than 0 is never
	exits        []int32       // of each run in turn; the last one again and again
	exitReason   string
	pullError    string
	unready      bool
}

// courses are what the containers of a pod do, by name, and how long it takes to stop.
type courses struct {
	containers map[string]course
	stop       time.Duration
}

// read finds out what a pod is to do.
func (p Profile) read(pod *corev1.Pod) courses {
	finish := time.Duration(-1)
	if ofJob(pod) {
		if finish = p.FinishAfter; finish == 0 {
			finish = DefaultFinish
		}
	}
	out := courses{containers: map[string]course{}, stop: span(pod, StopAfter, "", p.StopAfter)}
	for i := range pod.Spec.InitContainers {
		c := &pod.Spec.InitContainers[i]
		end := time.Duration(0)
		if sidecar(c) {
			end = -1
		}
		// A time for all containers to end is not meant for those that run before them.
		own := p.course(pod, c.Name, end)
		if _, said := pod.Annotations[FinishAfter+"."+c.Name]; !said {
			own.finish = end
		}
		if _, said := pod.Annotations[ExitCode+"."+c.Name]; !said {
			own.exits = []int32{0}
		}
		out.containers[c.Name] = own
	}
	for i := range pod.Spec.Containers {
		name := pod.Spec.Containers[i].Name
		out.containers[name] = p.course(pod, name, finish)
	}
	return out
}

func (p Profile) course(pod *corev1.Pod, container string, finish time.Duration) course {
	c := course{
		start: span(pod, StartAfter, container, p.StartAfter), ready: span(pod, ReadyAfter, container, p.ReadyAfter),
		finish: span(pod, FinishAfter, container, finish), pullError: annotation(pod, PullError, container),
		unready: annotation(pod, Ready, container) == "false", exitReason: annotation(pod, ExitReason, container),
	}
	for code := range strings.SplitSeq(annotation(pod, ExitCode, container), ",") {
		if n, err := strconv.ParseInt(strings.TrimSpace(code), 10, 32); err == nil {
			c.exits = append(c.exits, int32(n))
		}
	}
	if len(c.exits) == 0 {
		c.exits = []int32{0}
	}
	return c
}

// exit is the code with which the run of this number ends.
func (c course) exit(run int32) int32 { return c.exits[min(int(run), len(c.exits)-1)] }

func sidecar(c *corev1.Container) bool {
	return c.RestartPolicy != nil && *c.RestartPolicy == corev1.ContainerRestartPolicyAlways
}

func ofJob(pod *corev1.Pod) bool {
	for _, o := range pod.OwnerReferences {
		if o.Kind == "Job" && o.Controller != nil && *o.Controller {
			return true
		}
	}
	return false
}

// annotation is a container's own, or else the one for all of the pod.
func annotation(pod *corev1.Pod, key, container string) string {
	if own, ok := pod.Annotations[key+"."+container]; ok && container != "" {
		return own
	}
	return pod.Annotations[key]
}

// span is a time that an annotation says, or else the default.
func span(pod *corev1.Pod, key, container string, otherwise time.Duration) time.Duration {
	text := strings.TrimSpace(annotation(pod, key, container))
	if text == "never" {
		return -1
	}
	low, high, ranged := strings.Cut(text, "-")
	from, err := time.ParseDuration(low)
	if err != nil || from < 0 {
		return otherwise
	}
	if !ranged {
		return from
	}
	to, err := time.ParseDuration(high)
	if err != nil || to < from {
		return otherwise
	}
	return from + time.Duration(share(pod.UID, key+container)*float64(to-from))
}

// share is a number from 0 to 1 that is always the same for the same pod and purpose.
func share(uid types.UID, purpose string) float64 {
	h := fnv.New32a()
	fmt.Fprint(h, uid, purpose)
	return float64(h.Sum32()) / float64(1<<32)
}
