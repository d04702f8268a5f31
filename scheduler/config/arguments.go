package config

import (
	"cmp"
	"fmt"
	"slices"
	"strings"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/runtime"
	configv1 "k8s.io/kube-scheduler/config/v1"

	"coracle.dev/coracle/scheduler/framework"
	"coracle.dev/coracle/scheduler/plugin"
)

// configure makes a plugin of its arguments, which are nil where none were given.
func configure(p framework.Plugin, args runtime.Object, ignored []string) (framework.Plugin, error) {
	switch a := args.(type) {
	case nil:
		if p.Name == "NodeResourcesFit" && len(ignored) > 0 {
			return plugin.NodeResourcesFit(plugin.Fit{Ignored: ignored}), nil
		}
		return p, nil
	case *configv1.NodeResourcesFitArgs:
		fit, err := fitOf(a)
		fit.Ignored = slices.Concat(fit.Ignored, ignored)
		return plugin.NodeResourcesFit(fit), err
	case *configv1.NodeResourcesBalancedAllocationArgs:
		resources, err := weights(a.Resources)
		for _, r := range resources {
			if r.Weight != 1 {
				return p, fmt.Errorf("resources: weight %d of %s is not 1", r.Weight, r.Name)
			}
		}
		return plugin.BalancedAllocation(resources), err
	case *configv1.NodeAffinityArgs:
		return plugin.NodeAffinity(a.AddedAffinity), nil
	case *configv1.InterPodAffinityArgs:
		o := plugin.Affinity{HardWeight: 1, IgnoreWishes: a.IgnorePreferredTermsOfExistingPods}
		if w := a.HardPodAffinityWeight; w != nil {
			if *w < 0 || *w > 100 {
				return p, fmt.Errorf("hardPodAffinityWeight: %d is not in 0 to 100", *w)
			}
			o.HardWeight = int64(*w)
		}
		return plugin.InterPodAffinity(o), nil
	case *configv1.PodTopologySpreadArgs:
		constraints, err := spreadOf(a)
		return plugin.PodTopologySpread(constraints), err
	}
	return p, nil // what else there is to configure is not of the plugin itself
}

func fitOf(a *configv1.NodeResourcesFitArgs) (plugin.Fit, error) {
	out := plugin.Fit{Ignored: a.IgnoredResources, IgnoredGroups: a.IgnoredResourceGroups}
	for _, g := range a.IgnoredResourceGroups {
		if strings.Contains(g, "/") {
			return out, fmt.Errorf("ignoredResourceGroups: %q has a slash", g)
		}
	}
	s := a.ScoringStrategy
	if s == nil {
		return out, nil
	}
	var err error
	if out.Resources, err = weights(s.Resources); err != nil {
		return out, err
	}
	switch out.Strategy = plugin.Strategy(s.Type); out.Strategy {
	case "", plugin.LeastAllocated, plugin.MostAllocated:
		return out, nil
	case plugin.RequestedToCapacityRatio:
	default:
		return out, fmt.Errorf("scoringStrategy: there is no type %q", s.Type)
	}
	if s.RequestedToCapacityRatio == nil || len(s.RequestedToCapacityRatio.Shape) == 0 {
		return out, fmt.Errorf("requestedToCapacityRatio: it has no shape")
	}
	last := int32(-1)
	for _, p := range s.RequestedToCapacityRatio.Shape {
		if p.Utilization <= last || p.Utilization > 100 || p.Score < 0 || p.Score > 10 {
			return out, fmt.Errorf("requestedToCapacityRatio: utilizations must rise within 0 to 100, and scores be in 0 to 10: there is %d: %d", p.Utilization, p.Score)
		}
		last = p.Utilization
		out.Shape = append(out.Shape, plugin.Point{Utilization: int64(p.Utilization), Score: int64(p.Score)})
	}
	return out, nil
}

func weights(in []configv1.ResourceSpec) ([]plugin.Weighted, error) {
	var out []plugin.Weighted
	for _, r := range in {
		if r.Weight < 0 || r.Weight > 100 {
			return nil, fmt.Errorf("resources: weight %d of %s is not in 1 to 100", r.Weight, r.Name)
		}
		out = append(out, plugin.Weighted{Name: corev1.ResourceName(r.Name), Weight: max(r.Weight, 1)})
	}
	return out, nil
}

func spreadOf(a *configv1.PodTopologySpreadArgs) ([]corev1.TopologySpreadConstraint, error) {
	switch a.DefaultingType {
	case "", configv1.SystemDefaulting:
		if len(a.DefaultConstraints) > 0 {
			return nil, fmt.Errorf("defaultConstraints: they need the defaultingType List")
		}
		return nil, nil
	case configv1.ListDefaulting:
	default:
		return nil, fmt.Errorf("defaultingType: there is no %q", a.DefaultingType)
	}
	for _, k := range a.DefaultConstraints {
		switch {
		case k.LabelSelector != nil:
			return nil, fmt.Errorf("defaultConstraints: one has a labelSelector, which is to come from the pod")
		case k.MaxSkew <= 0 || k.TopologyKey == "":
			return nil, fmt.Errorf("defaultConstraints: maxSkew must be positive and topologyKey not empty")
		case k.WhenUnsatisfiable != corev1.DoNotSchedule && k.WhenUnsatisfiable != corev1.ScheduleAnyway:
			return nil, fmt.Errorf("defaultConstraints: there is no whenUnsatisfiable %q", k.WhenUnsatisfiable)
		}
	}
	return append([]corev1.TopologySpreadConstraint{}, a.DefaultConstraints...), nil
}

func candidates(a *configv1.DefaultPreemptionArgs) (out framework.Candidates, _ error) {
	if p := a.MinCandidateNodesPercentage; p != nil {
		if *p < 0 || *p > 100 {
			return out, fmt.Errorf("minCandidateNodesPercentage: %d is not in 0 to 100", *p)
		}
		out.Percent = cmp.Or(int(*p), -1)
	}
	if n := a.MinCandidateNodesAbsolute; n != nil {
		if *n < 0 {
			return out, fmt.Errorf("minCandidateNodesAbsolute: %d is negative", *n)
		}
		out.Least = cmp.Or(int(*n), -1)
	}
	if out.Percent < 0 && out.Least < 0 {
		return out, fmt.Errorf("minCandidateNodesPercentage and minCandidateNodesAbsolute are both 0")
	}
	return out, nil
}
