package plugin

import (
	"testing"

	corev1 "k8s.io/api/core/v1"

	"coracle.dev/coracle/scheduler/framework"
	"coracle.dev/coracle/scheduler/snapshot"
)

// TestHints asks whether a pod that a rule turned down is worth another try after a change.
func TestHints(t *testing.T) {
	c := world(node("a", zone("z")), node("full"), pod("x", on("full"), asks("cpu=4")))
	web, db := snapshot.NewPod(pod("web", app("web"))), snapshot.NewPod(pod("db", app("db")))
	a, full := c.Node("a"), c.Node("full")
	other := pod("elsewhere", app("web"))
	other.Namespace = "other"
	for _, tc := range []struct {
		name   string
		plugin framework.Plugin
		pod    *corev1.Pod
		change framework.Change
		want   bool
	}{
		{"an event of another kind", NodePorts(), pod("p"), framework.Change{Event: framework.NodeLabels, Node: a}, false},
		{"room on a node where it fits", NodeResourcesFit(Fit{}), pod("p", asks("cpu=1")), framework.Change{Event: framework.PodRemoved, Node: a, Pod: web}, true},
		{"room on a node where it does not", NodeResourcesFit(Fit{}), pod("p", asks("cpu=1")), framework.Change{Event: framework.PodRemoved, Node: full, Pod: web}, false},
		{"a label that it selects", NodeAffinity(nil), pod("p", selects(corev1.LabelTopologyZone+"=z")), framework.Change{Event: framework.NodeLabels, Node: a}, true},
		{"a label that it does not select", NodeAffinity(nil), pod("p", selects("disk=ssd")), framework.Change{Event: framework.NodeLabels, Node: a}, false},
		{"whom it wants to be near came", InterPodAffinity(Affinity{}), pod("p", near("db", corev1.LabelHostname)), framework.Change{Event: framework.PodAdded, Node: a, Pod: db}, true},
		{"somebody else came", InterPodAffinity(Affinity{}), pod("p", near("db", corev1.LabelHostname)), framework.Change{Event: framework.PodAdded, Node: a, Pod: web}, false},
		{"whom it wants to be away from left", InterPodAffinity(Affinity{}), pod("p", away("db", corev1.LabelHostname)), framework.Change{Event: framework.PodRemoved, Node: a, Pod: db, Was: db}, true},
		{"who wanted to be away from it left", InterPodAffinity(Affinity{}), pod("p", app("web")),
			framework.Change{Event: framework.PodRemoved, Node: a, Pod: snapshot.NewPod(pod("q", away("web", corev1.LabelHostname)))}, true},
		{"whom it wants to be away from came", InterPodAffinity(Affinity{}), pod("p", away("db", corev1.LabelHostname)), framework.Change{Event: framework.PodAdded, Node: a, Pod: db}, false},
		{"a pod that is counted left", PodTopologySpread(nil), pod("p", spread(corev1.LabelTopologyZone, 1, corev1.DoNotSchedule, "web")), framework.Change{Event: framework.PodRemoved, Node: a, Pod: web, Was: web}, true},
		{"a pod that is not counted left", PodTopologySpread(nil), pod("p", spread(corev1.LabelTopologyZone, 1, corev1.DoNotSchedule, "web")), framework.Change{Event: framework.PodRemoved, Node: a, Pod: db, Was: db}, false},
		{"a pod of another namespace left", PodTopologySpread(nil), pod("p", spread(corev1.LabelTopologyZone, 1, corev1.DoNotSchedule, "web")),
			framework.Change{Event: framework.PodRemoved, Node: a, Pod: snapshot.NewPod(other)}, false},
		{"a node came", PodTopologySpread(nil), pod("p", spread(corev1.LabelTopologyZone, 1, corev1.DoNotSchedule, "web")), framework.Change{Event: framework.NodeAdded, Node: a}, true},
		{"its claim changed", VolumeBinding(), pod("p", uses("mine")), framework.Change{Event: framework.ClaimChanged, Claim: "default/mine"}, true},
		{"another claim changed", VolumeBinding(), pod("p", uses("mine")), framework.Change{Event: framework.ClaimChanged, Claim: "default/yours"}, false},
		{"a volume came", VolumeBinding(), pod("p", uses("mine")), framework.Change{Event: framework.VolumeChanged}, true},
		{"a pod with its claim left", VolumeRestrictions(), pod("p", uses("mine")), framework.Change{Event: framework.PodRemoved, Node: a, Pod: snapshot.NewPod(pod("q", uses("mine")))}, true},
		{"a pod without its claim left", VolumeRestrictions(), pod("p", uses("mine")), framework.Change{Event: framework.PodRemoved, Node: a, Pod: web}, false},
	} {
		if got := tc.plugin.Worth(c, snapshot.NewPod(tc.pod), tc.change); got != tc.want {
			t.Errorf("%s, %s: worth another try: %v", tc.plugin.Name, tc.name, got)
		}
	}
}
