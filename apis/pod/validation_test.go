package pod

import (
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/util/intstr"
	"k8s.io/apimachinery/pkg/util/validation/field"
)

// valid is a pod that uses most of what there is.
func valid() *corev1.Pod {
	p := &corev1.Pod{
		ObjectMeta: metav1.ObjectMeta{Name: "web", Namespace: "default"},
		Spec: corev1.PodSpec{
			Volumes: []corev1.Volume{
				{Name: "tmp"}, {Name: "conf", VolumeSource: corev1.VolumeSource{ConfigMap: &corev1.ConfigMapVolumeSource{LocalObjectReference: corev1.LocalObjectReference{Name: "c"}}}},
				{Name: "all", VolumeSource: corev1.VolumeSource{Projected: &corev1.ProjectedVolumeSource{Sources: []corev1.VolumeProjection{
					{ServiceAccountToken: &corev1.ServiceAccountTokenProjection{Path: "token"}},
					{DownwardAPI: &corev1.DownwardAPIProjection{Items: []corev1.DownwardAPIVolumeFile{{Path: "labels", FieldRef: &corev1.ObjectFieldSelector{FieldPath: "metadata.labels"}}}}},
				}}}},
			},
			InitContainers: []corev1.Container{{Name: "init", Image: "i"}},
			Containers: []corev1.Container{{
				Name: "web", Image: "nginx:1",
				Ports:        []corev1.ContainerPort{{Name: "http", ContainerPort: 80, HostPort: 8080}},
				VolumeMounts: []corev1.VolumeMount{{Name: "tmp", MountPath: "/tmp"}, {Name: "conf", MountPath: "/etc/c", SubPath: "a/b"}},
				Env: []corev1.EnvVar{
					{Name: "A.b", Value: "c"},
					{Name: "LABEL", ValueFrom: &corev1.EnvVarSource{FieldRef: &corev1.ObjectFieldSelector{FieldPath: "metadata.labels['app']"}}},
					{Name: "CPU", ValueFrom: &corev1.EnvVarSource{ResourceFieldRef: &corev1.ResourceFieldSelector{Resource: "limits.cpu"}}},
				},
				LivenessProbe: &corev1.Probe{ProbeHandler: corev1.ProbeHandler{HTTPGet: &corev1.HTTPGetAction{Port: intstr.FromString("http")}}},
				Resources:     corev1.ResourceRequirements{Limits: quantities("cpu", "1", "memory", "1Gi", "example.com/gpu", "2")},
			}},
			Tolerations: []corev1.Toleration{{Operator: corev1.TolerationOpExists}},
		},
	}
	Default(p)
	return p
}

func TestValidPod(t *testing.T) {
	if errs := Validate(valid()); len(errs) > 0 {
		t.Errorf("unexpected: %v", errs.ToAggregate())
	}
}

// TestInvalidPods states the whole message, as that is what users and tools know.
func TestInvalidPods(t *testing.T) {
	first := func(p *corev1.Pod) *corev1.Container { return &p.Spec.Containers[0] }
	for name, c := range map[string]struct {
		edit func(*corev1.Pod)
		want []string
	}{
		"no containers":  {func(p *corev1.Pod) { p.Spec.Containers = nil }, []string{"spec.containers: Required value"}},
		"container name": {func(p *corev1.Pod) { first(p).Name = "" }, []string{"spec.containers[0].name: Required value"}},
		"no image":       {func(p *corev1.Pod) { first(p).Image = "" }, []string{"spec.containers[0].image: Required value"}},
		"duplicate name": {func(p *corev1.Pod) { p.Spec.InitContainers[0].Name = "web" }, []string{`spec.initContainers[0].name: Duplicate value: "web"`}},
		"restart policy": {func(p *corev1.Pod) { p.Spec.RestartPolicy = "Sometimes" },
			[]string{`spec.restartPolicy: Unsupported value: "Sometimes": supported values: "Always", "OnFailure", "Never"`}},
		"volume not there": {func(p *corev1.Pod) { first(p).VolumeMounts[0].Name = "data" }, []string{`spec.containers[0].volumeMounts[0].name: Not found: "data"`}},
		"mount path twice": {func(p *corev1.Pod) { first(p).VolumeMounts[1].MountPath = "/tmp" },
			[]string{`spec.containers[0].volumeMounts[1].mountPath: Invalid value: "/tmp": must be unique`}},
		"subpath up": {func(p *corev1.Pod) { first(p).VolumeMounts[0].SubPath = "../x" },
			[]string{`spec.containers[0].volumeMounts[0].subPath: Invalid value: "../x": must not contain '..'`}},
		"two volume types": {func(p *corev1.Pod) { p.Spec.Volumes[0].HostPath = &corev1.HostPathVolumeSource{Path: "/x"} },
			[]string{"spec.volumes[0].emptyDir: Forbidden: may not specify more than 1 volume type"}},
		"port range": {func(p *corev1.Pod) { first(p).Ports[0].ContainerPort = 70000 },
			[]string{"spec.containers[0].ports[0].containerPort: Invalid value: 70000: must be between 1 and 65535, inclusive"}},
		"host port twice": {func(p *corev1.Pod) {
			first(p).Ports = append(first(p).Ports, corev1.ContainerPort{ContainerPort: 81, HostPort: 8080, Protocol: "TCP"})
		}, []string{`spec.containers[0].ports[1].hostPort: Duplicate value: "TCP//8080"`}},
		"host network": {func(p *corev1.Pod) { p.Spec.HostNetwork = true },
			[]string{"spec.containers[0].ports[0].hostPort: Invalid value: 8080: must match `containerPort` when `hostNetwork` is true"}},
		"env": {func(p *corev1.Pod) {
			first(p).Env = []corev1.EnvVar{{Name: "a=b"}, {Name: "X", Value: "v", ValueFrom: &corev1.EnvVarSource{SecretKeyRef: &corev1.SecretKeySelector{Key: "k"}}}}
		}, []string{
			"spec.containers[0].env[0].name: Invalid value: \"a=b\": a valid environment variable name must consist only of printable ASCII characters other than '='",
			"spec.containers[0].env[1].valueFrom.secretKeyRef.name: Required value",
			"spec.containers[0].env[1].valueFrom: Invalid value: \"\": may not be specified when `value` is not empty",
		}},
		"field path": {func(p *corev1.Pod) { first(p).Env[1].ValueFrom.FieldRef.FieldPath = "status.phase" }, []string{
			`spec.containers[0].env[1].valueFrom.fieldRef.fieldPath: Unsupported value: "status.phase": supported values: "metadata.name", "metadata.namespace", "metadata.uid", "spec.nodeName", "spec.serviceAccountName", "status.hostIP", "status.hostIPs", "status.podIP", "status.podIPs"`,
		}},
		"field label": {func(p *corev1.Pod) { first(p).Env[1].ValueFrom.FieldRef.FieldPath = "status.color" }, []string{
			`spec.containers[0].env[1].valueFrom.fieldRef.fieldPath: Invalid value: "status.color": error converting fieldPath: field label not supported: status.color`,
		}},
		"request above limit": {func(p *corev1.Pod) { first(p).Resources.Requests = quantities("cpu", "2") },
			[]string{`spec.containers[0].resources.requests: Invalid value: "2": must be less than or equal to cpu limit of 1`}},
		"extended request": {func(p *corev1.Pod) { first(p).Resources.Requests = quantities("example.com/gpu", "1") },
			[]string{`spec.containers[0].resources.requests: Invalid value: "1": must be equal to example.com/gpu limit of 2`}},
		"resource name": {func(p *corev1.Pod) {
			first(p).Resources = corev1.ResourceRequirements{Limits: quantities("gpu", "1")}
		}, []string{
			`spec.containers[0].resources.limits[gpu]: Invalid value: "gpu": must be a standard resource type or fully qualified`,
			`spec.containers[0].resources.limits[gpu]: Invalid value: "gpu": must be a standard resource for containers`,
		}},
		"negative": {func(p *corev1.Pod) { first(p).Resources = corev1.ResourceRequirements{Limits: quantities("cpu", "-1")} },
			[]string{`spec.containers[0].resources.limits[cpu]: Invalid value: "-1": must be greater than or equal to 0`}},
		"two handlers": {func(p *corev1.Pod) { first(p).LivenessProbe.Exec = &corev1.ExecAction{Command: []string{"x"}} },
			[]string{"spec.containers[0].livenessProbe.httpGet: Forbidden: may not specify more than 1 handler type"}},
		"no handler": {func(p *corev1.Pod) { first(p).LivenessProbe.HTTPGet = nil },
			[]string{"spec.containers[0].livenessProbe: Required value: must specify a handler type"}},
		"success threshold": {func(p *corev1.Pod) { first(p).LivenessProbe.SuccessThreshold = 2 },
			[]string{"spec.containers[0].livenessProbe.successThreshold: Invalid value: 2: must be 1"}},
		"probe on init": {func(p *corev1.Pod) { p.Spec.InitContainers[0].ReadinessProbe = first(p).LivenessProbe },
			[]string{"spec.initContainers[0].readinessProbe: Forbidden: may not be set for init containers without restartPolicy=Always"}},
		"service account": {func(p *corev1.Pod) { p.Spec.ServiceAccountName = "A_b" }, []string{
			`spec.serviceAccountName: Invalid value: "A_b": a lowercase RFC 1123 subdomain must consist of lower case alphanumeric characters, '-' or '.', and must start and end with an alphanumeric character (e.g. 'example.com', regex used for validation is '[a-z0-9]([-a-z0-9]*[a-z0-9])?(\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*')`,
		}},
		"deadline": {func(p *corev1.Pod) { p.Spec.ActiveDeadlineSeconds = new(int64(0)) },
			[]string{"spec.activeDeadlineSeconds: Invalid value: 0: must be between 1 and 2147483647, inclusive"}},
		"toleration": {func(p *corev1.Pod) {
			p.Spec.Tolerations = []corev1.Toleration{{Value: "x"}, {Key: "a", Operator: "Exists", TolerationSeconds: new(int64(1))}}
		}, []string{
			"spec.tolerations[0].operator: Invalid value: \"\": operator must be Exists when `key` is empty, which means \"match all values and all keys\"",
			"spec.tolerations[1].effect: Invalid value: \"\": effect must be 'NoExecute' when `tolerationSeconds` is set",
		}},
		"node affinity": {func(p *corev1.Pod) {
			p.Spec.Affinity = &corev1.Affinity{NodeAffinity: &corev1.NodeAffinity{RequiredDuringSchedulingIgnoredDuringExecution: &corev1.NodeSelector{
				NodeSelectorTerms: []corev1.NodeSelectorTerm{{MatchExpressions: []corev1.NodeSelectorRequirement{{Key: "a", Operator: "In"}}}},
			}}}
		}, []string{
			"spec.affinity.nodeAffinity.requiredDuringSchedulingIgnoredDuringExecution.nodeSelectorTerms[0].matchExpressions[0].values: Required value: must be specified when `operator` is 'In' or 'NotIn'",
		}},
		"pod affinity": {func(p *corev1.Pod) {
			p.Spec.Affinity = &corev1.Affinity{PodAntiAffinity: &corev1.PodAntiAffinity{RequiredDuringSchedulingIgnoredDuringExecution: []corev1.PodAffinityTerm{{}}}}
		}, []string{
			"spec.affinity.podAntiAffinity.requiredDuringSchedulingIgnoredDuringExecution[0].topologyKey: Required value: can not be empty",
		}},
		"spread": {func(p *corev1.Pod) {
			p.Spec.TopologySpreadConstraints = []corev1.TopologySpreadConstraint{{TopologyKey: "zone", WhenUnsatisfiable: "Maybe"}}
		}, []string{
			"spec.topologySpreadConstraints[0].maxSkew: Invalid value: 0: must be greater than zero",
			`spec.topologySpreadConstraints[0].whenUnsatisfiable: Unsupported value: "Maybe": supported values: "DoNotSchedule", "ScheduleAnyway"`,
		}},
		"escalation": {func(p *corev1.Pod) {
			first(p).SecurityContext = &corev1.SecurityContext{Privileged: new(true), AllowPrivilegeEscalation: new(false)}
		}, []string{"spec.containers[0].securityContext: Invalid value: cannot set `allowPrivilegeEscalation` to false and `privileged` to true"}},
		"user": {func(p *corev1.Pod) { p.Spec.SecurityContext.RunAsUser = new(int64(-1)) },
			[]string{"spec.securityContext.runAsUser: Invalid value: -1: must be between 0 and 2147483647, inclusive"}},
		"sysctl": {func(p *corev1.Pod) { p.Spec.SecurityContext.Sysctls = []corev1.Sysctl{{Name: "net ipv4"}} }, []string{
			`spec.securityContext.sysctls[0].name: Invalid value: "net ipv4": must have at most 253 characters and match regex ^([a-z0-9]([-_a-z0-9]*[a-z0-9])?[\./])*[a-z0-9]([-_a-z0-9]*[a-z0-9])?$`,
		}},
		"dns none": {func(p *corev1.Pod) { p.Spec.DNSPolicy = corev1.DNSNone }, []string{"spec.dnsConfig: Required value: must provide `dnsConfig` when `dnsPolicy` is None"}},
		"token life": {func(p *corev1.Pod) {
			p.Spec.Volumes[2].Projected.Sources[0].ServiceAccountToken.ExpirationSeconds = new(int64(1))
		},
			[]string{"spec.volumes[2].projected.sources[0].serviceAccountToken.expirationSeconds: Invalid value: 1: may not specify a duration less than 10 minutes"}},
		"ephemeral": {func(p *corev1.Pod) {
			p.Spec.EphemeralContainers = []corev1.EphemeralContainer{{TargetContainerName: "x", EphemeralContainerCommon: corev1.EphemeralContainerCommon{Name: "web", Image: "i", Ports: []corev1.ContainerPort{{ContainerPort: 1}}}}}
			DefaultSpec(&p.Spec)
		}, []string{
			`spec.ephemeralContainers[0].name: Duplicate value: "web"`,
			`spec.ephemeralContainers[0].targetContainerName: Not found: "x"`,
			"spec.ephemeralContainers[0].ports: Forbidden: cannot be set for an Ephemeral Container",
			"spec.ephemeralContainers: Forbidden: cannot be set on create",
		}},
		"several at once": {func(p *corev1.Pod) { first(p).Image, first(p).Name, p.Spec.Hostname = " i", "A", "A" }, []string{
			`spec.containers[0].name: Invalid value: "A"`, `spec.containers[0].image: Invalid value: " i": must not have leading or trailing whitespace`, `spec.hostname: Invalid value: "A"`,
		}},
	} {
		p := valid()
		c.edit(p)
		expect(t, name, Validate(p), c.want)
	}
}

// expect compares errors with what each must begin with, or, for errors about objects, with what they
// are without the object.
func expect(t *testing.T, name string, errs field.ErrorList, want []string) {
	t.Helper()
	var got []string
	for _, e := range errs {
		text := e.Error()
		if strings.Contains(text, "Invalid value: {") {
			text = e.Field + ": Invalid value: " + e.Detail
		}
		i := slices.IndexFunc(want, func(w string) bool { return strings.HasPrefix(text, w) })
		if i >= 0 {
			text = want[i]
		}
		got = append(got, text)
	}
	slices.Sort(got)
	want = slices.Clone(want)
	slices.Sort(want)
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("%s (-want +got):\n%s", name, diff)
	}
}

func TestTemplateMayLeaveHostPortsOpen(t *testing.T) {
	template := &corev1.PodTemplateSpec{Spec: valid().Spec}
	template.Spec.HostNetwork = true
	template.Spec.Containers[0].Ports[0].HostPort = 0
	expect(t, "open", ValidateTemplate(template, field.NewPath("template")), nil)
	template.Spec.Containers[0].Ports[0].HostPort = 1
	expect(t, "wrong", ValidateTemplate(template, field.NewPath("template")),
		[]string{"template.spec.containers[0].ports[0].hostPort: Invalid value: 1: must match `containerPort`"})
}

func TestPodUpdates(t *testing.T) {
	fixed := "spec: Forbidden: pod updates may not change fields other than `spec.containers[*].image`,`spec.initContainers[*].image`,`spec.activeDeadlineSeconds`,`spec.tolerations` (only additions to existing tolerations),`spec.terminationGracePeriodSeconds` (allow it to be set to 1 if it was previously negative)\n"
	for name, c := range map[string]struct {
		edit func(p, old *corev1.Pod)
		want []string
	}{
		"nothing":          {func(p, old *corev1.Pod) {}, nil},
		"image":            {func(p, old *corev1.Pod) { p.Spec.Containers[0].Image = "nginx:2" }, nil},
		"image away":       {func(p, old *corev1.Pod) { p.Spec.Containers[0].Image = "" }, []string{"spec.containers[0].image: Required value"}},
		"labels":           {func(p, old *corev1.Pod) { p.Labels = map[string]string{"a": "b"} }, nil},
		"more tolerations": {func(p, old *corev1.Pod) { p.Spec.Tolerations = append(p.Spec.Tolerations, corev1.Toleration{Key: "a"}) }, nil},
		"less tolerations": {func(p, old *corev1.Pod) { p.Spec.Tolerations = nil },
			[]string{"spec.tolerations: Forbidden: existing toleration can not be modified except its tolerationSeconds"}},
		"deadline sooner": {func(p, old *corev1.Pod) {
			old.Spec.ActiveDeadlineSeconds, p.Spec.ActiveDeadlineSeconds = new(int64(9)), new(int64(3))
		}, nil},
		"deadline later": {func(p, old *corev1.Pod) {
			old.Spec.ActiveDeadlineSeconds, p.Spec.ActiveDeadlineSeconds = new(int64(3)), new(int64(9))
		}, []string{"spec.activeDeadlineSeconds: Invalid value: 9: must be less than or equal to previous value"}},
		"container away": {func(p, old *corev1.Pod) { p.Spec.InitContainers = nil },
			[]string{"spec.initContainers: Forbidden: pod updates may not add or remove containers"}},
		"command":   {func(p, old *corev1.Pod) { p.Spec.Containers[0].Command = []string{"x"} }, []string{fixed}},
		"node":      {func(p, old *corev1.Pod) { p.Spec.NodeName = "other" }, []string{fixed}},
		"gate gone": {func(p, old *corev1.Pod) { old.Spec.SchedulingGates = []corev1.PodSchedulingGate{{Name: "a.b/c"}} }, nil},
		"gate new": {func(p, old *corev1.Pod) { p.Spec.SchedulingGates = []corev1.PodSchedulingGate{{Name: "a.b/c"}} },
			[]string{"spec.schedulingGates[0].name: Forbidden: only deletion is allowed, but found new scheduling gate 'a.b/c'"}},
		"selector at a gate": {func(p, old *corev1.Pod) {
			old.Spec.SchedulingGates = []corev1.PodSchedulingGate{{Name: "a.b/c"}}
			p.Spec.SchedulingGates, p.Spec.NodeSelector = old.Spec.SchedulingGates, map[string]string{"disk": "ssd"}
		}, nil},
	} {
		p, old := valid(), valid()
		c.edit(p, old)
		expect(t, name, ValidateUpdate(p, old), c.want)
	}
}

func TestEphemeralUpdates(t *testing.T) {
	with := func(names ...string) *corev1.Pod {
		p := valid()
		for _, n := range names {
			p.Spec.EphemeralContainers = append(p.Spec.EphemeralContainers, corev1.EphemeralContainer{EphemeralContainerCommon: corev1.EphemeralContainerCommon{Name: n, Image: "i"}})
		}
		DefaultSpec(&p.Spec)
		return p
	}
	expect(t, "added", ValidateEphemeralUpdate(with("a", "b"), with("a")), nil)
	expect(t, "removed", ValidateEphemeralUpdate(with(), with("a")), []string{`spec.ephemeralContainers: Forbidden: existing ephemeral containers "a" may not be removed`})
	changed := with("a")
	changed.Spec.EphemeralContainers[0].Image = "j"
	expect(t, "changed", ValidateEphemeralUpdate(changed, with("a")), []string{`spec.ephemeralContainers: Forbidden: existing ephemeral containers "a" may not be changed`})
}

func TestStatusUpdates(t *testing.T) {
	state := func(s corev1.ContainerState) *corev1.Pod {
		p := valid()
		p.Spec.RestartPolicy = corev1.RestartPolicyNever
		p.Status.ContainerStatuses = []corev1.ContainerStatus{{Name: "web", State: s}}
		return p
	}
	over := corev1.ContainerState{Terminated: &corev1.ContainerStateTerminated{ExitCode: 1}}
	again := corev1.ContainerState{Running: &corev1.ContainerStateRunning{}}
	expect(t, "again", ValidateStatusUpdate(state(again), state(over)),
		[]string{"status.containerStatuses[0].state: Forbidden: may not be transitioned to non-terminated state"})
	expect(t, "over", ValidateStatusUpdate(state(over), state(again)), nil)
}
