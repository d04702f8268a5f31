package config

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"

	"coracle.dev/coracle/scheduler"
	"coracle.dev/coracle/scheduler/framework"
	"coracle.dev/coracle/scheduler/plugin"
	"coracle.dev/coracle/scheduler/snapshot"
)

const header = "apiVersion: kubescheduler.config.k8s.io/v1\nkind: KubeSchedulerConfiguration\n"

func read(t *testing.T, text string) scheduler.Options {
	t.Helper()
	o, err := Read([]byte(header + text))
	if err != nil {
		t.Fatal(err)
	}
	return o
}

// summary says of each plugin what of it is on: g(ate), f(ilter), s(core) with its weight, r(eserve).
func summary(p scheduler.Profile) string {
	var out []string
	for _, pl := range p.Plugins {
		s := pl.Name + ":"
		if pl.Gate != nil {
			s += "g"
		}
		if pl.Filter != nil {
			s += "f"
		}
		if pl.Score != nil {
			s += fmt.Sprintf("s%d", pl.Weight)
		}
		if pl.Reserve != nil {
			s += "r"
		}
		out = append(out, s)
	}
	return strings.Join(out, " ")
}

// TestUsual: an empty file is the scheduler that there is without one.
func TestUsual(t *testing.T) {
	o := read(t, "")
	if len(o.Profiles) != 1 || o.Profiles[0].SchedulerName != "default-scheduler" || !o.LeaderElect || o.Profiles[0].NeverPreempts {
		t.Fatalf("an empty file reads as %+v", o)
	}
	want := strings.Split(summary(scheduler.Profile{Plugins: plugin.Default()}), " ")
	got := strings.Split(summary(o.Profiles[0]), " ")
	slices.Sort(want)
	slices.Sort(got)
	if !slices.Equal(got, want) {
		t.Errorf("plugins\ngot  %s\nwant %s", got, want)
	}
}

func TestPlugins(t *testing.T) {
	for _, tc := range []struct{ name, text, want string }{
		{"only two", "multiPoint: {disabled: [{name: '*'}], enabled: [{name: NodeName}, {name: ImageLocality, weight: 7}]}", "NodeName:f ImageLocality:s7"},
		{"one point", "multiPoint: {disabled: [{name: '*'}]}\n    score: {enabled: [{name: TaintToleration, weight: 5}]}", "TaintToleration:s5"},
		{"off at one point", "multiPoint: {disabled: [{name: '*'}], enabled: [{name: TaintToleration}, {name: NodeAffinity}]}\n    filter: {disabled: [{name: TaintToleration}]}", "NodeAffinity:fs2 TaintToleration:s3"},
		{"first in order", "multiPoint: {disabled: [{name: '*'}], enabled: [{name: NodeName}, {name: NodePorts}]}\n    filter: {enabled: [{name: NodePorts}]}", "NodePorts:f NodeName:f"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			o := read(t, "profiles:\n- plugins:\n    "+tc.text+"\n")
			if got := summary(o.Profiles[0]); got != tc.want {
				t.Errorf("got %s, want %s", got, tc.want)
			}
			if !o.Profiles[0].NeverPreempts {
				t.Error("preemption is on without its plugin")
			}
		})
	}
	o, err := Read([]byte(header+"profiles: [{plugins: {multiPoint: {disabled: [{name: '*'}], enabled: [{name: Mine}, {name: DefaultPreemption}]}}}]"),
		framework.Plugin{Name: "Mine", Gate: func(*snapshot.Pod) string { return "never" }})
	if err != nil || summary(o.Profiles[0]) != "Mine:g" || o.Profiles[0].NeverPreempts {
		t.Errorf("a plugin of the caller's: %v, %+v", err, o.Profiles)
	}
}

// TestArguments reads much of what there is to configure, and sees that it decides.
func TestArguments(t *testing.T) {
	o := read(t, `
leaderElection: {leaderElect: false, resourceName: mine, leaseDuration: 30s}
percentageOfNodesToScore: 30
podInitialBackoffSeconds: 2
podMaxBackoffSeconds: 20
profiles:
- schedulerName: packing
  percentageOfNodesToScore: 70
  pluginConfig:
  - name: NodeResourcesFit
    args: {ignoredResourceGroups: [example.com], scoringStrategy: {type: MostAllocated, resources: [{name: cpu, weight: 1}]}}
  - name: DefaultPreemption
    args: {minCandidateNodesPercentage: 5, minCandidateNodesAbsolute: 3}
  - name: VolumeBinding
    args: {bindTimeoutSeconds: 60}
- schedulerName: pinned
  pluginConfig:
  - name: NodeAffinity
    args:
      addedAffinity:
        requiredDuringSchedulingIgnoredDuringExecution:
          nodeSelectorTerms: [{matchExpressions: [{key: pool, operator: In, values: [blue]}]}]
- schedulerName: spreading
  pluginConfig:
  - name: PodTopologySpread
    args: {defaultingType: List, defaultConstraints: [{maxSkew: 1, topologyKey: kubernetes.io/hostname, whenUnsatisfiable: DoNotSchedule}]}
  - name: InterPodAffinity
    args: {hardPodAffinityWeight: 0}
`)
	if o.LeaderElect || o.Lease.Name != "mine" || o.Lease.Duration != 30*time.Second || o.InitialBackoff != 2*time.Second || o.MaxBackoff != 20*time.Second || o.BindTimeout != time.Minute {
		t.Errorf("options: %+v", o)
	}
	if p := o.Profiles[0]; p.NodesToScore != 70 || p.Candidates != (framework.Candidates{Percent: 5, Least: 3}) {
		t.Errorf("profile %+v", p)
	}
	if p := o.Profiles[1]; p.NodesToScore != 30 {
		t.Errorf("percentage of the second profile: %d", p.NodesToScore)
	}
	c := snapshot.NewCluster()
	for name, pool := range map[string]string{"a": "", "b": "blue", "c": ""} {
		n := &corev1.Node{ObjectMeta: metav1.ObjectMeta{Name: name, Labels: map[string]string{corev1.LabelHostname: name, "pool": pool}}}
		n.Status.Allocatable = corev1.ResourceList{"cpu": resource.MustParse("4"), "memory": resource.MustParse("8Gi"), "pods": resource.MustParse("10")}
		c.SetNode(n)
	}
	c.SetService("default", "web", map[string]string{"app": "web"})
	c.SetPod(pod("x", "c", "1"))
	for i, want := range []string{"c", "b", "a"} {
		p := pod("p", "", "1")
		if i == 0 {
			p.Labels = nil // no service spreads it
		}
		if got := framework.Schedule(o.Profiles[i].Plugins, c, snapshot.NewPod(p), framework.Choice{}); got.Node != want {
			t.Errorf("profile %s chose %s, want %s", o.Profiles[i].SchedulerName, got.Node, want)
		}
	}
	extended := pod("p", "", "1")
	extended.Spec.Containers[0].Resources.Requests["example.com/gpu"] = resource.MustParse("1")
	if got := framework.Schedule(o.Profiles[0].Plugins, c, snapshot.NewPod(extended), framework.Choice{}); got.Node == "" {
		t.Errorf("an ignored resource matters: %s", got.Failure.Message())
	}
}

func pod(name, node, cpu string) *corev1.Pod {
	p := &corev1.Pod{ObjectMeta: metav1.ObjectMeta{Namespace: "default", Name: name, UID: types.UID(name), Labels: map[string]string{"app": "web"}}}
	p.Spec.NodeName = node
	p.Spec.Containers = []corev1.Container{{Name: "c", Resources: corev1.ResourceRequirements{Requests: corev1.ResourceList{"cpu": resource.MustParse(cpu)}}}}
	return p
}

func TestRefused(t *testing.T) {
	for _, tc := range []struct{ text, want string }{
		{"wrong: 1", `unknown field "wrong"`},
		{"parallelism: 0", "parallelism"},
		{"percentageOfNodesToScore: 101", "percentageOfNodesToScore"},
		{"podInitialBackoffSeconds: 20", "podMaxBackoffSeconds"},
		{"profiles: [{}, {}]", `there are two "default-scheduler"`},
		{"profiles: [{schedulerName: ''}]", "schedulerName"},
		{"profiles: [{plugins: {filter: {enabled: [{name: None}]}}}]", "there is no plugin None"},
		{"profiles: [{plugins: {score: {enabled: [{name: ImageLocality}, {name: ImageLocality}]}}}]", "twice"},
		{"profiles: [{pluginConfig: [{name: NodeResourcesFit, args: {scoringStrategy: {type: Best}}}]}]", `no type "Best"`},
		{"profiles: [{pluginConfig: [{name: NodeResourcesFit, args: {scoringStrategy: {type: RequestedToCapacityRatio}}}]}]", "no shape"},
		{"profiles: [{pluginConfig: [{name: NodeResourcesFit, args: {odd: 1}}]}]", "odd"},
		{"profiles: [{pluginConfig: [{name: PodTopologySpread, args: {defaultConstraints: [{maxSkew: 1, topologyKey: k, whenUnsatisfiable: ScheduleAnyway}]}}]}]", "defaultingType List"},
		{"profiles: [{pluginConfig: [{name: DefaultPreemption, args: {minCandidateNodesPercentage: 0, minCandidateNodesAbsolute: 0}}]}]", "both 0"},
		{"extenders: [{filterVerb: f}]", "urlPrefix"},
		{"extenders: [{urlPrefix: 'http://127.0.0.1:1', prioritizeVerb: p}]", "weight"},
	} {
		_, err := Read([]byte(header + tc.text))
		if err == nil || !strings.Contains(err.Error(), tc.want) {
			t.Errorf("%s\ngot  %v\nwant %s", tc.text, err, tc.want)
		}
	}
	if _, err := Read([]byte("apiVersion: v1\nkind: Pod")); err == nil {
		t.Error("a Pod is read as a configuration")
	}
}
