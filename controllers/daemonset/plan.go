package daemonset

import (
	"slices"
	"time"

	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/util/intstr"
	"k8s.io/component-helpers/scheduling/corev1/nodeaffinity"

	"coracle.dev/coracle/controllers/internal/podstatus"
)

// burst is the most pods that one pass creates or deletes.
const burst = 250

// observed is what a pass knows. Nothing of it is changed.
type observed struct {
	set   *appsv1.DaemonSet
	nodes []*corev1.Node
	pods  []*corev1.Pod
	// hash is that of the present template.
	hash string
	// settled tells that the pods written last are among them.
	settled bool
	// delays are how long a daemon that failed is to be left before another takes
	// its place, by node.
	delays map[string]time.Duration
}

// actions are what a pass does.
type actions struct {
	create []string // names of nodes
	remove []*corev1.Pod
	// failed and succeeded are those removed because they ended.
	failed, succeeded []*corev1.Pod
	status            appsv1.DaemonSetStatus
	// after is when the set is to be looked at again; zero: on events.
	after time.Duration
}

// place is a node and the set's pods on it, the oldest first.
type place struct {
	node      string
	run, stay bool
	pods      []*corev1.Pod
}

type pass struct {
	observed
	now    time.Time
	places []*place
	out    actions
}

// plan decides what is to be done for a daemon set.
func plan(o observed, now time.Time) actions {
	p := &pass{observed: o, now: now}
	p.arrange()
	if o.settled && o.set.DeletionTimestamp == nil {
		for _, pl := range p.places {
			p.manage(pl)
		}
		if o.set.Spec.UpdateStrategy.Type != appsv1.OnDeleteDaemonSetStrategyType {
			p.roll()
		}
		p.out.create = p.out.create[:min(len(p.out.create), burst)]
		p.out.remove = p.out.remove[:min(len(p.out.remove), burst)]
	}
	p.out.status = p.status()
	return p.out
}

// arrange sorts the pods by their nodes. Pods whose node is gone are left to
// the pod garbage collector.
func (p *pass) arrange() {
	byNode := map[string][]*corev1.Pod{}
	for _, pod := range p.pods {
		byNode[nodeOf(pod)] = append(byNode[nodeOf(pod)], pod)
	}
	template := daemon(p.set)
	affinity := nodeaffinity.GetRequiredNodeAffinity(template)
	for _, n := range p.nodes {
		pl := &place{node: n.Name, pods: byNode[n.Name]}
		pl.run, pl.stay = fits(template, affinity, n)
		slices.SortStableFunc(pl.pods, func(a, b *corev1.Pod) int { return a.CreationTimestamp.Compare(b.CreationTimestamp.Time) })
		p.places = append(p.places, pl)
	}
}

// manage sees to it that there is one daemon where there is to be one.
func (p *pass) manage(pl *place) {
	switch {
	case pl.run && len(pl.pods) == 0:
		p.out.create = append(p.out.create, pl.node)
	case !pl.stay:
		for _, pod := range pl.pods {
			if pod.DeletionTimestamp == nil {
				p.out.remove = append(p.out.remove, pod)
			}
		}
	default:
		p.tidy(pl)
	}
}

// tidy removes daemons that ended, and those in surplus.
func (p *pass) tidy(pl *place) {
	var running []*corev1.Pod
	for _, pod := range pl.pods {
		switch {
		case pod.DeletionTimestamp != nil:
		case pod.Status.Phase == corev1.PodFailed:
			if wait := p.delays[pl.node]; wait > 0 {
				p.again(wait)
				continue
			}
			p.out.failed = append(p.out.failed, pod)
			p.out.remove = append(p.out.remove, pod)
		case pod.Status.Phase == corev1.PodSucceeded:
			p.out.succeeded = append(p.out.succeeded, pod)
			p.out.remove = append(p.out.remove, pod)
		default:
			running = append(running, pod)
		}
	}
	if len(running) < 2 {
		return
	}
	if surge, _ := p.bounds(); surge == 0 {
		p.out.remove = append(p.out.remove, running[1:]...)
		return
	}
	p.tidySurge(running)
}

// tidySurge keeps the oldest pod of the present template and, until that is
// available, the oldest of another, as long as it works.
func (p *pass) tidySurge(running []*corev1.Pod) {
	var fresh, stale *corev1.Pod
	for _, pod := range running {
		switch {
		case p.current(pod) && fresh == nil:
			fresh = pod
		case !p.current(pod) && stale == nil:
			stale = pod
		default:
			p.out.remove = append(p.out.remove, pod)
		}
	}
	if fresh != nil && stale != nil && (!podstatus.Ready(stale) || p.available(fresh)) {
		p.out.remove = append(p.out.remove, stale)
	}
}

// roll takes the next step of a rolling update.
func (p *pass) roll() {
	surge, unavailable := p.bounds()
	if surge > 0 {
		p.rollBySurge(surge)
		return
	}
	var broken, working []*corev1.Pod
	missing := 0
	for _, pl := range p.places {
		if !pl.run {
			continue
		}
		fresh, stale := p.activeOn(pl)
		switch {
		case fresh != nil && stale == nil:
			if !p.available(fresh) {
				missing++
			}
		case fresh == nil && stale != nil && p.available(stale):
			working = append(working, stale)
		case fresh == nil && stale != nil:
			broken = append(broken, stale)
			missing++
		default:
			missing++
		}
	}
	p.out.remove = append(p.out.remove, broken...)
	p.out.remove = append(p.out.remove, working[:min(len(working), max(0, unavailable-missing))]...)
}

func (p *pass) rollBySurge(surge int) {
	var broken, working []string
	surging := 0
	for _, pl := range p.places {
		if !pl.run {
			continue
		}
		fresh, stale := p.activeOn(pl)
		switch {
		case fresh != nil && stale != nil:
			surging++
		case fresh == nil && stale != nil && p.available(stale):
			working = append(working, pl.node)
		case fresh == nil && stale != nil:
			broken = append(broken, pl.node)
		}
	}
	p.out.create = append(p.out.create, broken...)
	p.out.create = append(p.out.create, working[:min(len(working), max(0, surge-surging))]...)
}

// activeOn returns the active pods on a node, of the present template and of
// another.
func (p *pass) activeOn(pl *place) (fresh, stale *corev1.Pod) {
	for _, pod := range pl.pods {
		switch {
		case !podstatus.Active(pod) || slices.Contains(p.out.remove, pod):
		case p.current(pod):
			fresh = pod
		default:
			stale = pod
		}
	}
	return fresh, stale
}

func (p *pass) current(pod *corev1.Pod) bool {
	return pod.Labels[appsv1.DefaultDaemonSetUniqueLabelKey] == p.hash
}

func (p *pass) available(pod *corev1.Pod) bool {
	ok, at := podstatus.Available(pod, p.set.Spec.MinReadySeconds, p.now)
	if !at.IsZero() {
		p.again(at.Sub(p.now))
	}
	return ok
}

// bounds resolves maxSurge and maxUnavailable, both rounded up, by the number of
// nodes that are to have a daemon.
func (p *pass) bounds() (surge, unavailable int) {
	ru := p.set.Spec.UpdateStrategy.RollingUpdate
	if ru == nil {
		return 0, 1
	}
	desired := 0
	for _, pl := range p.places {
		if pl.run {
			desired++
		}
	}
	scale := func(v *intstr.IntOrString) int {
		n, err := intstr.GetScaledValueFromIntOrPercent(intstr.ValueOrDefault(v, intstr.FromInt32(0)), desired, true)
		if err != nil {
			return 0
		}
		return n
	}
	surge, unavailable = scale(ru.MaxSurge), scale(ru.MaxUnavailable)
	if surge == 0 && unavailable == 0 {
		unavailable = 1
	}
	return surge, unavailable
}

func (p *pass) status() appsv1.DaemonSetStatus {
	st := *p.set.Status.DeepCopy()
	st.ObservedGeneration = p.set.Generation
	st.DesiredNumberScheduled, st.CurrentNumberScheduled, st.NumberMisscheduled = 0, 0, 0
	st.NumberReady, st.NumberAvailable, st.UpdatedNumberScheduled = 0, 0, 0
	for _, pl := range p.places {
		switch {
		case !pl.run:
			if len(pl.pods) > 0 {
				st.NumberMisscheduled++
			}
			continue
		case len(pl.pods) > 0:
			p.countPod(&st, pl.pods[0])
		}
		st.DesiredNumberScheduled++
	}
	st.NumberUnavailable = st.DesiredNumberScheduled - st.NumberAvailable
	return st
}

func (p *pass) countPod(st *appsv1.DaemonSetStatus, pod *corev1.Pod) {
	st.CurrentNumberScheduled++
	if podstatus.Ready(pod) {
		st.NumberReady++
		if p.available(pod) {
			st.NumberAvailable++
		}
	}
	if p.current(pod) {
		st.UpdatedNumberScheduled++
	}
}

// again asks for another pass, the sooner of those asked for.
func (p *pass) again(after time.Duration) {
	if p.out.after == 0 || after < p.out.after {
		p.out.after = max(after, time.Millisecond)
	}
}
