package nodelifecycle

import (
	"maps"
	"sync"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

// health remembers when something new was last seen of each node, by this
// process's clock, and when nodes of a zone were last evicted.
type health struct {
	now func() time.Time

	mu      sync.Mutex
	nodes   map[string]*sign
	evicted map[string]time.Time // by zone
	places  map[string]place     // of all nodes there are
	tally   survey               // of places
	cutOff  bool
}

// place is what a node adds to the survey.
type place struct {
	zone  string
	ready bool
}

// sign is the last sign of life of a node.
type sign struct {
	seen      time.Time
	renewed   metav1.MicroTime // lease
	heartbeat metav1.Time      // of the condition Ready
	status    corev1.ConditionStatus
	marked    bool // its pods have been marked not ready
}

func newHealth(now func() time.Time) *health {
	return &health{now: now, nodes: map[string]*sign{}, evicted: map[string]time.Time{}, places: map[string]place{}, tally: surveyOf(nil)}
}

func (h *health) sign(node string) *sign {
	s := h.nodes[node]
	if s == nil {
		s = &sign{seen: h.now()}
		h.nodes[node] = s
	}
	return s
}

// lease takes note of a node's lease.
func (h *health) lease(node string, renewed *metav1.MicroTime) {
	h.mu.Lock()
	defer h.mu.Unlock()
	s := h.sign(node)
	if renewed != nil && renewed.After(s.renewed.Time) {
		s.renewed, s.seen = *renewed, h.now()
	}
}

// node takes note of a node's status, and returns when its agent was last heard.
func (h *health) node(n *corev1.Node) time.Time {
	h.mu.Lock()
	defer h.mu.Unlock()
	s := h.sign(n.Name)
	for _, c := range n.Status.Conditions {
		if c.Type != corev1.NodeReady {
			continue
		}
		// That the status became Unknown is this controller's own doing.
		if !c.LastHeartbeatTime.Equal(&s.heartbeat) || c.Status != s.status && c.Status != corev1.ConditionUnknown {
			s.seen = h.now()
		}
		s.heartbeat, s.status = c.LastHeartbeatTime, c.Status
	}
	return s.seen
}

func (h *health) forget(node string) {
	h.mu.Lock()
	defer h.mu.Unlock()
	delete(h.nodes, node)
}

// count takes note of where a node is and whether it is ready, so that a survey need not look at all nodes.
func (h *health) count(n *corev1.Node) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.take(n.Name)
	p := place{zone: zoneOf(n), ready: status(n.Status.Conditions, corev1.NodeReady) == corev1.ConditionTrue}
	h.places[n.Name] = p
	h.tally.add(p.zone, p.ready, 1)
}

// uncount takes note that a node is gone.
func (h *health) uncount(node string) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.take(node)
}

func (h *health) take(node string) {
	if p, counted := h.places[node]; counted {
		h.tally.add(p.zone, p.ready, -1)
		delete(h.places, node)
	}
}

// survey is the state of all zones. When some node is ready again after none was, all others are given their grace
// anew.
func (h *health) survey() survey {
	h.mu.Lock()
	defer h.mu.Unlock()
	s := survey{ready: maps.Clone(h.tally.ready), gone: maps.Clone(h.tally.gone)}
	if h.cutOff && !s.cutOff() {
		for _, sign := range h.nodes {
			sign.seen = h.now()
		}
	}
	h.cutOff = s.cutOff()
	return s
}

// mayEvict takes the zone's turn if it is due, or tells how long until it is.
func (h *health) mayEvict(zone string, pace time.Duration) (_ bool, wait time.Duration) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if pace == 0 {
		return false, 0
	}
	now := h.now()
	if due := h.evicted[zone].Add(pace); due.After(now) {
		return false, due.Sub(now)
	}
	h.evicted[zone] = now
	return true, 0
}

// unmarked tells whether a node's pods are yet to be marked not ready. A node
// that is ready has them marked anew when it no longer is.
func (h *health) unmarked(node string, ready bool) bool {
	h.mu.Lock()
	defer h.mu.Unlock()
	s := h.sign(node)
	s.marked = s.marked && !ready
	return !ready && !s.marked
}

// mark takes note that they have been.
func (h *health) mark(node string) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.sign(node).marked = true
}
