package config

import (
	"fmt"
	"slices"
	"time"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/runtime"
	configv1 "k8s.io/kube-scheduler/config/v1"

	"coracle.dev/coracle/scheduler"
	"coracle.dev/coracle/scheduler/framework"
	"coracle.dev/coracle/scheduler/plugin"
)

// Plugins that every profile has, and that are no list of functions here.
const (
	prioritySort      = "PrioritySort"
	defaultBinder     = "DefaultBinder"
	defaultPreemption = "DefaultPreemption"
)

func schedulerName(p *configv1.KubeSchedulerProfile) string {
	if p.SchedulerName == nil {
		return corev1.DefaultSchedulerName
	}
	return *p.SchedulerName
}

func profile(p *configv1.KubeSchedulerProfile, c *configv1.KubeSchedulerConfiguration, ignored []string, extra []framework.Plugin) (_ scheduler.Profile, bindTimeout time.Duration, _ error) {
	out := scheduler.Profile{SchedulerName: schedulerName(p)}
	if out.SchedulerName == "" {
		return out, 0, fmt.Errorf("schedulerName: it is empty")
	}
	for _, percent := range []*int32{c.PercentageOfNodesToScore, p.PercentageOfNodesToScore} {
		if percent != nil {
			out.NodesToScore = int(*percent)
		}
	}
	args, err := arguments(p.PluginConfig)
	if err != nil {
		return out, 0, err
	}
	known, err := built(args, ignored)
	if err != nil {
		return out, 0, err
	}
	usual := len(known)
	known = append(known, extra...)
	plugins := p.Plugins
	if plugins == nil {
		plugins = &configv1.Plugins{}
	}
	set, err := chosen(plugins, known, usual)
	if err != nil {
		return out, 0, err
	}
	out.Plugins = set.plugins
	out.NeverPreempts = !set.preempts
	if a, is := args[defaultPreemption].(*configv1.DefaultPreemptionArgs); is {
		if out.Candidates, err = candidates(a); err != nil {
			return out, 0, err
		}
	}
	if a, is := args["VolumeBinding"].(*configv1.VolumeBindingArgs); is {
		bindTimeout = seconds(a.BindTimeoutSeconds)
	}
	return out, bindTimeout, nil
}

// arguments are the plugins' own configurations, by plugin.
func arguments(in []configv1.PluginConfig) (map[string]runtime.Object, error) {
	out := map[string]runtime.Object{}
	for i := range in {
		if _, twice := out[in[i].Name]; twice {
			return nil, fmt.Errorf("pluginConfig[%d]: %s is configured twice", i, in[i].Name)
		}
		out[in[i].Name] = in[i].Args.Object
	}
	return out, nil
}

// built are the plugins of the binary, configured.
func built(args map[string]runtime.Object, ignored []string) ([]framework.Plugin, error) {
	list := plugin.Default()
	for name := range args {
		known := slices.ContainsFunc(list, func(p framework.Plugin) bool { return p.Name == name })
		if !known && name != defaultPreemption && args[name] != nil {
			return nil, fmt.Errorf("pluginConfig: there is no plugin %s", name)
		}
	}
	for i := range list {
		configured, err := configure(list[i], args[list[i].Name], ignored)
		if err != nil {
			return nil, fmt.Errorf("pluginConfig of %s: %w", list[i].Name, err)
		}
		list[i] = configured
	}
	return list, nil
}

// point is an extension point, and what of a plugin it turns on.
type point struct {
	set  *configv1.PluginSet
	has  func(*framework.Plugin) bool
	take func(to, from *framework.Plugin)
}

func points(p *configv1.Plugins) []point {
	return []point{
		{&p.PreEnqueue, func(p *framework.Plugin) bool { return p.Gate != nil }, func(to, from *framework.Plugin) { to.Gate = from.Gate }},
		{&p.Filter, func(p *framework.Plugin) bool { return p.Filter != nil || p.Narrow != nil }, func(to, from *framework.Plugin) {
			to.Filter, to.Narrow, to.Wakes, to.Hint, to.Local = from.Filter, from.Narrow, from.Wakes, from.Hint, from.Local
		}},
		{&p.Score, func(p *framework.Plugin) bool { return p.Score != nil }, func(to, from *framework.Plugin) { to.Score, to.Weight = from.Score, from.Weight }},
		{&p.PreBind, func(p *framework.Plugin) bool { return p.Reserve != nil }, func(to, from *framework.Plugin) { to.Reserve = from.Reserve }},
		{&p.PostFilter, func(p *framework.Plugin) bool { return p.Dry != nil }, func(to, from *framework.Plugin) { to.Dry = from.Dry }},
	}
}

// choice is what a profile turned on.
type choice struct {
	plugins  []framework.Plugin
	preempts bool
}

// chosen applies a profile's lists. The plugins that are named at an extension point come first there, then those of
// multiPoint, then the usual ones.
func chosen(p *configv1.Plugins, known []framework.Plugin, usual int) (choice, error) {
	if err := named(p, known); err != nil {
		return choice{}, err
	}
	multi := multiPoint(p.MultiPoint, known, usual)
	var out choice
	index := map[string]int{}
	for _, at := range points(p) {
		order, weights := at.order(multi)
		for _, name := range order {
			i := slices.IndexFunc(known, func(k framework.Plugin) bool { return k.Name == name })
			if i < 0 || !at.has(&known[i]) {
				continue
			}
			j, there := index[name]
			if !there {
				j = len(out.plugins)
				index[name] = j
				out.plugins = append(out.plugins, framework.Plugin{Name: name})
			}
			at.take(&out.plugins[j], &known[i])
			if w := weights[name]; w != 0 && out.plugins[j].Score != nil {
				out.plugins[j].Weight = w
			}
		}
		if at.set == &p.PostFilter {
			out.preempts = slices.Contains(order, defaultPreemption)
		}
	}
	return out, nil
}

// weighed is a plugin in multiPoint. A weight of 0 is the plugin's own.
type weighed struct {
	name   string
	weight int64
}

func multiPoint(set configv1.PluginSet, known []framework.Plugin, usual int) []weighed {
	var out []weighed
	for _, k := range known[:usual] {
		out = append(out, weighed{name: k.Name})
	}
	for _, name := range []string{prioritySort, defaultBinder, defaultPreemption} {
		out = append(out, weighed{name: name})
	}
	out = slices.DeleteFunc(out, func(w weighed) bool { return disabled(set, w.name) })
	for _, e := range set.Enabled {
		w := weighed{name: e.Name, weight: weight(e)}
		if i := slices.IndexFunc(out, func(o weighed) bool { return o.name == e.Name }); i >= 0 {
			out[i] = w
			continue
		}
		out = append(out, w)
	}
	return out
}

func disabled(set configv1.PluginSet, name string) bool {
	return slices.ContainsFunc(set.Disabled, func(p configv1.Plugin) bool { return p.Name == "*" || p.Name == name })
}

func weight(p configv1.Plugin) int64 {
	if p.Weight == nil {
		return 0
	}
	return int64(*p.Weight)
}

// order is the plugins that may be on at a point, with the weights given.
func (at *point) order(multi []weighed) (names []string, weights map[string]int64) {
	weights = map[string]int64{}
	for _, e := range at.set.Enabled {
		names = append(names, e.Name)
		weights[e.Name] = weight(e)
	}
	for _, w := range multi {
		if !slices.Contains(names, w.name) && !disabled(*at.set, w.name) {
			names = append(names, w.name)
			weights[w.name] = w.weight
		}
	}
	return names, weights
}

// named checks that all plugins that are turned on exist, and that each is turned on once.
func named(p *configv1.Plugins, known []framework.Plugin) error {
	for where, set := range map[string]configv1.PluginSet{
		"preEnqueue": p.PreEnqueue, "queueSort": p.QueueSort, "preFilter": p.PreFilter, "filter": p.Filter, "postFilter": p.PostFilter,
		"preScore": p.PreScore, "score": p.Score, "reserve": p.Reserve, "permit": p.Permit, "preBind": p.PreBind, "bind": p.Bind,
		"postBind": p.PostBind, "multiPoint": p.MultiPoint,
	} {
		seen := map[string]bool{}
		for _, e := range set.Enabled {
			fixed := e.Name == prioritySort || e.Name == defaultBinder || e.Name == defaultPreemption
			if !fixed && !slices.ContainsFunc(known, func(k framework.Plugin) bool { return k.Name == e.Name }) {
				return fmt.Errorf("plugins.%s.enabled: there is no plugin %s", where, e.Name)
			}
			if seen[e.Name] {
				return fmt.Errorf("plugins.%s.enabled: %s is there twice", where, e.Name)
			}
			seen[e.Name] = true
		}
	}
	return nil
}
