package framework

import (
	"fmt"
	"slices"

	"coracle.dev/coracle/scheduler/snapshot"
)

// Choice holds what a decision leaves to its caller.
type Choice struct {
	// Tie picks one of n equally good nodes. Nil takes the first by name.
	Tie func(n int) int
	// Start is where the search for nodes begins, modulo their number. It matters above minSearched nodes alone,
	// where not all of them are looked at for each pod.
	Start int
	// Percent of the nodes is enough to look at, if so many fit. 0 is less the more nodes there are.
	Percent int
	// Extenders are asked after the plugins.
	Extenders []Extender
}

// Result is a decision.
type Result struct {
	Node    string // empty if there is none
	Looked  int    // number of nodes that were filtered
	Fitting int
	Failure *Failure // set if Node is empty, save after an error
	Err     error    // of an extender
}

// Schedule decides where a pod goes.
func Schedule(plugins []Plugin, c *snapshot.Cluster, p *snapshot.Pod, choice Choice) Result {
	nodes := c.Nodes()
	failure := &Failure{Nodes: len(nodes), ByNode: map[string]*Status{}}
	filters := prepare(plugins, c, p, failure)
	if failure.All != nil || len(nodes) == 0 {
		return Result{Failure: failure}
	}
	nodes = narrow(plugins, c, p, nodes, failure)
	if n := c.Node(c.NominatedNode(p.UID)); n != nil && slices.Contains(nodes, n) {
		if _, status := judge(filters, c, p, n); status == nil {
			if fit, err := extend(choice.Extenders, p, []*snapshot.Node{n}, failure); err == nil && len(fit) == 1 {
				return Result{Node: n.Name, Looked: 1, Fitting: 1}
			}
		}
	}
	fitting, looked := search(filters, c, p, nodes, choice, failure)
	fitting, err := extend(choice.Extenders, p, fitting, failure)
	if err != nil {
		return Result{Looked: looked, Err: err}
	}
	switch len(fitting) {
	case 0:
		return Result{Looked: looked, Failure: failure}
	case 1:
		return Result{Node: fitting[0].Name, Looked: looked, Fitting: 1}
	}
	best := best(plugins, c, p, fitting, choice.Extenders)
	i := 0
	if choice.Tie != nil && len(best) > 1 {
		i = choice.Tie(len(best))
	}
	return Result{Node: best[i].Name, Looked: looked, Fitting: len(fitting)}
}

// filter is a prepared rule and the place of its plugin in the list.
type filter struct {
	plugin int
	judge  FilterFunc
}

func prepare(plugins []Plugin, c *snapshot.Cluster, p *snapshot.Pod, failure *Failure) []filter {
	filters := make([]filter, 0, len(plugins))
	for i := range plugins {
		if plugins[i].Filter == nil {
			continue
		}
		judge, status := plugins[i].Filter(c, p)
		if status != nil {
			failure.All = status
			failure.rejected(i)
			return nil
		}
		if judge != nil {
			filters = append(filters, filter{plugin: i, judge: judge})
		}
	}
	return filters
}

func narrow(plugins []Plugin, c *snapshot.Cluster, p *snapshot.Pod, nodes []*snapshot.Node, failure *Failure) []*snapshot.Node {
	var by []string
	for i := range plugins {
		if plugins[i].Narrow == nil {
			continue
		}
		names, narrowed := plugins[i].Narrow(p)
		if !narrowed {
			continue
		}
		failure.rejected(i)
		by = append(by, plugins[i].Name)
		var rest []*snapshot.Node
		for _, name := range slices.Compact(slices.Sorted(slices.Values(names))) {
			if n := c.Node(name); n != nil && slices.Contains(nodes, n) {
				rest = append(rest, n)
			}
		}
		nodes = rest
	}
	if by != nil {
		failure.Absent = Never(fmt.Sprintf("node(s) didn't satisfy plugin(s) %v", by))
	}
	return nodes
}

// minSearched is the number of fitting nodes that is always looked for.
const minSearched = 100

// wanted is how many fitting nodes to look for among so many, as Kubernetes does: half of 1,000, a tenth of 5,000.
func wanted(nodes, percent int) int {
	if nodes <= minSearched || percent >= 100 {
		return nodes
	}
	if percent == 0 {
		percent = max(50-nodes/125, 5)
	}
	return max(nodes*percent/100, minSearched)
}

func search(filters []filter, c *snapshot.Cluster, p *snapshot.Pod, nodes []*snapshot.Node, choice Choice, failure *Failure) (fitting []*snapshot.Node, looked int) {
	want := wanted(len(nodes), choice.Percent)
	fitting = make([]*snapshot.Node, 0, want)
	for i := range nodes {
		n := nodes[(choice.Start+i)%len(nodes)]
		looked++
		if at, status := judge(filters, c, p, n); status != nil {
			failure.ByNode[n.Name] = status
			failure.rejected(at)
			continue
		}
		if fitting = append(fitting, n); len(fitting) == want {
			break
		}
	}
	return fitting, looked
}

// judge runs the filters on a node until one turns it down. Where room is kept for other pods, the node must do both
// with and without them: their coming can take room, and it can also be what an affinity waits for.
func judge(filters []filter, c *snapshot.Cluster, p *snapshot.Pod, n *snapshot.Node) (plugin int, _ *Status) {
	if nominated := c.Nominated(n.Name, p); len(nominated) > 0 {
		if plugin, status := judgeOne(filters, n.With(nominated...)); status != nil {
			return plugin, status
		}
	}
	return judgeOne(filters, n)
}

func judgeOne(filters []filter, n *snapshot.Node) (plugin int, _ *Status) {
	for _, f := range filters {
		if status := f.judge(n); status != nil {
			return f.plugin, status
		}
	}
	return 0, nil
}

// best are the nodes with the highest weighted sum of scores, in the order given.
func best(plugins []Plugin, c *snapshot.Cluster, p *snapshot.Pod, nodes []*snapshot.Node, extenders []Extender) []*snapshot.Node {
	totals := Scores(plugins, c, p, nodes)
	addExtended(totals, extenders, p, nodes)
	top := slices.Max(totals)
	var best []*snapshot.Node
	for i, n := range nodes {
		if totals[i] == top {
			best = append(best, n)
		}
	}
	return best
}

// Scores are the weighted sums of the plugins' scores of these nodes.
func Scores(plugins []Plugin, c *snapshot.Cluster, p *snapshot.Pod, nodes []*snapshot.Node) []int64 {
	totals := make([]int64, len(nodes))
	for i := range plugins {
		if plugins[i].Score == nil {
			continue
		}
		for j, score := range plugins[i].Score(c, p, nodes) {
			totals[j] += plugins[i].Weight * score
		}
	}
	return totals
}

// Fits tells whether a pod would be let onto one node by one plugin.
func (pl *Plugin) Fits(c *snapshot.Cluster, p *snapshot.Pod, n *snapshot.Node) bool {
	if pl.Filter == nil {
		return true
	}
	judge, status := pl.Filter(c, p)
	return status == nil && (judge == nil || judge(n) == nil)
}
