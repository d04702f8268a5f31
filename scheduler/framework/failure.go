package framework

import (
	"fmt"
	"slices"
	"strings"
)

// Failure is why no node does.
type Failure struct {
	Nodes    int                // how many there are
	All      *Status            // set if a rule condemned all nodes at once
	ByNode   map[string]*Status // by node
	Absent   *Status            // of the nodes that are not in ByNode
	Rejected Plugins            // the rules that turned a node down
	After    string             // what preemption said
}

// Plugins is a set of plugins by their place in the list.
type Plugins uint64

// Outside stands for whatever is no plugin, such as extenders: any event may change its mind.
const Outside Plugins = 1 << 63

func (f *Failure) rejected(plugin int) { f.Rejected |= 1 << plugin }

// Has tells whether the plugin at a place is in the set.
func (s Plugins) Has(plugin int) bool { return s&(1<<plugin) != 0 }

// Message says it as kube-scheduler does.
func (f *Failure) Message() string {
	if f.Nodes == 0 && f.All == nil {
		return "no nodes available to schedule pods"
	}
	msg := fmt.Sprintf("0/%d nodes are available:", f.Nodes)
	if f.All != nil {
		msg += " " + strings.Join(f.All.Reasons, ", ") + "."
	} else if h := f.histogram(); len(h) > 0 {
		msg += " " + strings.Join(h, ", ") + "."
	}
	if f.After != "" {
		msg += " " + f.After
	}
	return msg
}

// histogram counts the reasons and sorts the counted lines as text, which is kube-scheduler's order.
func (f *Failure) histogram() []string {
	count := map[string]int{}
	for _, status := range f.ByNode {
		for _, reason := range status.Reasons {
			count[reason]++
		}
	}
	if absent := f.Nodes - len(f.ByNode); absent > 0 && f.Absent != nil {
		for _, reason := range f.Absent.Reasons {
			count[reason] += absent
		}
	}
	var lines []string
	for reason, n := range count {
		lines = append(lines, fmt.Sprintf("%d %s", n, reason))
	}
	slices.Sort(lines)
	return lines
}
