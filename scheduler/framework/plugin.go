package framework

import (
	"coracle.dev/coracle/scheduler/snapshot"
)

// MaxScore is the best that a plugin can say of a node; 0 is the worst.
const MaxScore int64 = 100

// Status is why a node does not do. A nil Status means that it does.
type Status struct {
	Reasons []string
	// Final tells that the node would not do even if all other pods left it, so that preemption is of no use.
	Final bool
}

// Unfit is a Status that could change if pods left the node.
func Unfit(reasons ...string) *Status { return &Status{Reasons: reasons} }

// Never is a Status that no leaving pod changes.
func Never(reasons ...string) *Status { return &Status{Reasons: reasons, Final: true} }

// FilterFunc judges a node for the pod that it was made for.
type FilterFunc func(*snapshot.Node) *Status

// Plugin is one rule. Each of its functions may be nil, and each may return nil when the rule has nothing to say about
// the pod.
type Plugin struct {
	Name string

	// Gate judges a pod by itself, before it is queued. A reason keeps it from being tried until it changes.
	Gate func(*snapshot.Pod) (reason string)

	// Filter prepares the rule for a pod. A Status instead of a function condemns all nodes.
	Filter func(*snapshot.Cluster, *snapshot.Pod) (FilterFunc, *Status)

	// Narrow names the only nodes that can do, when the pod itself tells.
	Narrow func(*snapshot.Pod) (nodes []string, narrowed bool)

	// Score rates the nodes that fit, each from 0 to MaxScore.
	Score  func(*snapshot.Cluster, *snapshot.Pod, []*snapshot.Node) []int64
	Weight int64

	// Reserve notes in the cluster what a pod takes on the node that was chosen for it, besides room.
	Reserve func(*snapshot.Cluster, *snapshot.Pod, *snapshot.Node) (*Reservation, *Status)

	// Dry says why the rule itself can make no room for a pod that fits nowhere.
	Dry func(*snapshot.Pod) string

	// Wakes are the events after which a pod that this rule turned down may be worth another try.
	Wakes Event
	// Hint tells whether one of them is. Nil is always.
	Hint func(*snapshot.Cluster, *snapshot.Pod, Change) bool
	// Local tells that Filter looks at the one node alone: an event about a node then wakes only pods that it
	// would let onto that node.
	Local bool
}

// Worth tells whether a pod that the rule turned down is worth another try after a change.
func (pl *Plugin) Worth(c *snapshot.Cluster, p *snapshot.Pod, change Change) bool {
	switch {
	case pl.Wakes&change.Event == 0:
		return false
	case pl.Local && change.Node != nil:
		return pl.Fits(c, p, change.Node)
	}
	return pl.Hint == nil || pl.Hint(c, p, change)
}

// Change is what happened, and to what. Fields that do not apply are nil.
type Change struct {
	Event Event
	Node  *snapshot.Node // that the event is about, or on which the pod is
	Pod   *snapshot.Pod  // that came, changed or went
	Was   *snapshot.Pod  // the pod before it changed
	Claim string         // namespace/name of the claim, of whichever kind
}

// Event is a set of things that happen in a cluster and can make room for a pod.
type Event uint32

// Events.
const (
	NodeAdded Event = 1 << iota
	NodeAllocatable
	NodeLabels
	NodeTaints // or unschedulable
	PodAdded   // bound to a node
	PodLabels  // of a bound pod
	PodRemoved // deleted, finished or made smaller
	NamespaceChanged
	ClaimChanged  // a PersistentVolumeClaim
	VolumeChanged // volumes, their classes and drivers
	DeviceClaimChanged
	DevicesChanged // slices and classes

	NodeAny = NodeAdded | NodeAllocatable | NodeLabels | NodeTaints
	Any     = ^Event(0)
)
