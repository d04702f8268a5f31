package pod

import (
	"testing"

	"github.com/google/go-cmp/cmp"
	corev1 "k8s.io/api/core/v1"
	apiresource "k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/util/intstr"
)

func quantities(pairs ...string) corev1.ResourceList {
	out := corev1.ResourceList{}
	for i := 0; i < len(pairs); i += 2 {
		out[corev1.ResourceName(pairs[i])] = apiresource.MustParse(pairs[i+1])
	}
	return out
}

func TestDefaultOfTheSmallestPod(t *testing.T) {
	got := &corev1.Pod{Spec: corev1.PodSpec{Containers: []corev1.Container{{Name: "a", Image: "nginx"}}}}
	Default(got)
	want := &corev1.Pod{Spec: corev1.PodSpec{
		Containers: []corev1.Container{{
			Name: "a", Image: "nginx", ImagePullPolicy: corev1.PullAlways,
			TerminationMessagePath: "/dev/termination-log", TerminationMessagePolicy: corev1.TerminationMessageReadFile,
		}},
		RestartPolicy: corev1.RestartPolicyAlways, DNSPolicy: corev1.DNSClusterFirst, SchedulerName: "default-scheduler",
		TerminationGracePeriodSeconds: new(int64(30)), SecurityContext: &corev1.PodSecurityContext{}, EnableServiceLinks: new(true),
	}}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("-want +got:\n%s", diff)
	}
}

func TestTemplatesGetLessThanPods(t *testing.T) {
	template := &corev1.PodTemplateSpec{Spec: corev1.PodSpec{HostNetwork: true, Containers: []corev1.Container{{
		Ports:     []corev1.ContainerPort{{ContainerPort: 80}},
		Resources: corev1.ResourceRequirements{Limits: quantities("cpu", "1")},
	}}}}
	p := &corev1.Pod{Spec: *template.Spec.DeepCopy()}
	DefaultTemplate(template)
	Default(p)
	if c := template.Spec.Containers[0]; c.Ports[0].HostPort != 0 || c.Resources.Requests != nil || template.Spec.EnableServiceLinks != nil {
		t.Errorf("template got what only pods get: %+v", template.Spec)
	}
	c := p.Spec.Containers[0]
	if c.Ports[0].HostPort != 80 || c.Ports[0].Protocol != corev1.ProtocolTCP {
		t.Errorf("port %+v, want hostPort 80, TCP", c.Ports[0])
	}
	if diff := cmp.Diff(quantities("cpu", "1"), c.Resources.Requests); diff != "" {
		t.Errorf("requests (-want +got):\n%s", diff)
	}
}

func TestPullPolicy(t *testing.T) {
	for image, want := range map[string]corev1.PullPolicy{
		"nginx":                           corev1.PullAlways,
		"nginx:latest":                    corev1.PullAlways,
		"nginx:1.27":                      corev1.PullIfNotPresent,
		"reg.example:5000/nginx":          corev1.PullAlways,
		"reg.example:5000/a/nginx:1":      corev1.PullIfNotPresent,
		"nginx@sha256:0123":               corev1.PullIfNotPresent,
		"nginx:latest@sha256:0123":        corev1.PullAlways,
		"kubeguide/tomcat-app:v1":         corev1.PullIfNotPresent,
		"reg.example:5000/nginx@sha256:0": corev1.PullIfNotPresent,
	} {
		if got := pullPolicy(image); got != want {
			t.Errorf("%s: got %s, want %s", image, got, want)
		}
	}
}

func TestDefaultContainerParts(t *testing.T) {
	s := &corev1.PodSpec{Containers: []corev1.Container{{
		Image: "a:1",
		Env: []corev1.EnvVar{
			{Name: "N", ValueFrom: &corev1.EnvVarSource{FieldRef: &corev1.ObjectFieldSelector{FieldPath: "metadata.name"}}},
			{Name: "F", ValueFrom: &corev1.EnvVarSource{FileKeyRef: &corev1.FileKeySelector{}}},
		},
		LivenessProbe:  &corev1.Probe{ProbeHandler: corev1.ProbeHandler{HTTPGet: &corev1.HTTPGetAction{Port: intstr.FromInt32(80)}}},
		ReadinessProbe: &corev1.Probe{PeriodSeconds: 3, ProbeHandler: corev1.ProbeHandler{GRPC: &corev1.GRPCAction{Port: 1}}},
		Lifecycle:      &corev1.Lifecycle{PreStop: &corev1.LifecycleHandler{HTTPGet: &corev1.HTTPGetAction{Path: "/bye"}}},
		Resources:      corev1.ResourceRequirements{Limits: quantities("cpu", "100.1m")},
	}}}
	DefaultSpec(s)
	c := s.Containers[0]
	get := &corev1.HTTPGetAction{Port: intstr.FromInt32(80), Path: "/", Scheme: corev1.URISchemeHTTP}
	for name, pair := range map[string][2]any{
		"fieldRef":  {"v1", c.Env[0].ValueFrom.FieldRef.APIVersion},
		"fileKey":   {new(false), c.Env[1].ValueFrom.FileKeyRef.Optional},
		"liveness":  {&corev1.Probe{ProbeHandler: corev1.ProbeHandler{HTTPGet: get}, TimeoutSeconds: 1, PeriodSeconds: 10, SuccessThreshold: 1, FailureThreshold: 3}, c.LivenessProbe},
		"readiness": {&corev1.Probe{ProbeHandler: corev1.ProbeHandler{GRPC: &corev1.GRPCAction{Port: 1, Service: new("")}}, TimeoutSeconds: 1, PeriodSeconds: 3, SuccessThreshold: 1, FailureThreshold: 3}, c.ReadinessProbe},
		"preStop":   {&corev1.HTTPGetAction{Path: "/bye", Scheme: corev1.URISchemeHTTP}, c.Lifecycle.PreStop.HTTPGet},
		"cpu":       {"101m", c.Resources.Limits.Cpu().String()},
	} {
		if diff := cmp.Diff(pair[0], pair[1]); diff != "" {
			t.Errorf("%s (-want +got):\n%s", name, diff)
		}
	}
}

func TestDefaultVolumes(t *testing.T) {
	s := &corev1.PodSpec{Volumes: []corev1.Volume{
		{Name: "none"},
		{VolumeSource: corev1.VolumeSource{Secret: &corev1.SecretVolumeSource{}}},
		{VolumeSource: corev1.VolumeSource{ConfigMap: &corev1.ConfigMapVolumeSource{DefaultMode: new(int32(0o400))}}},
		{VolumeSource: corev1.VolumeSource{DownwardAPI: &corev1.DownwardAPIVolumeSource{Items: []corev1.DownwardAPIVolumeFile{{FieldRef: &corev1.ObjectFieldSelector{}}}}}},
		{VolumeSource: corev1.VolumeSource{Projected: &corev1.ProjectedVolumeSource{Sources: []corev1.VolumeProjection{{ServiceAccountToken: &corev1.ServiceAccountTokenProjection{}}}}}},
		{VolumeSource: corev1.VolumeSource{HostPath: &corev1.HostPathVolumeSource{}}},
		{VolumeSource: corev1.VolumeSource{Ephemeral: &corev1.EphemeralVolumeSource{VolumeClaimTemplate: &corev1.PersistentVolumeClaimTemplate{}}}},
		{VolumeSource: corev1.VolumeSource{Image: &corev1.ImageVolumeSource{Reference: "a:1"}}},
	}}
	DefaultSpec(s)
	mode := new(int32(0o644))
	want := []corev1.VolumeSource{
		{EmptyDir: &corev1.EmptyDirVolumeSource{}},
		{Secret: &corev1.SecretVolumeSource{DefaultMode: mode}},
		{ConfigMap: &corev1.ConfigMapVolumeSource{DefaultMode: new(int32(0o400))}},
		{DownwardAPI: &corev1.DownwardAPIVolumeSource{DefaultMode: mode, Items: []corev1.DownwardAPIVolumeFile{{FieldRef: &corev1.ObjectFieldSelector{APIVersion: "v1"}}}}},
		{Projected: &corev1.ProjectedVolumeSource{DefaultMode: mode, Sources: []corev1.VolumeProjection{{ServiceAccountToken: &corev1.ServiceAccountTokenProjection{ExpirationSeconds: new(int64(3600))}}}}},
		{HostPath: &corev1.HostPathVolumeSource{Type: new(corev1.HostPathUnset)}},
		{Ephemeral: &corev1.EphemeralVolumeSource{VolumeClaimTemplate: &corev1.PersistentVolumeClaimTemplate{Spec: corev1.PersistentVolumeClaimSpec{VolumeMode: new(corev1.PersistentVolumeFilesystem)}}}},
		{Image: &corev1.ImageVolumeSource{Reference: "a:1", PullPolicy: corev1.PullIfNotPresent}},
	}
	for i := range want {
		if diff := cmp.Diff(want[i], s.Volumes[i].VolumeSource); diff != "" {
			t.Errorf("volume %d (-want +got):\n%s", i, diff)
		}
	}
}

func TestServiceAccountNames(t *testing.T) {
	for _, c := range []struct{ name, old, want string }{{"a", "", "a"}, {"", "b", "b"}, {"a", "b", "a"}, {"", "", ""}} {
		s := &corev1.PodSpec{ServiceAccountName: c.name, DeprecatedServiceAccount: c.old}
		DefaultSpec(s)
		if s.ServiceAccountName != c.want || s.DeprecatedServiceAccount != c.want {
			t.Errorf("%+v: got %q, %q", c, s.ServiceAccountName, s.DeprecatedServiceAccount)
		}
	}
}

func container(requests, limits corev1.ResourceList) corev1.Container {
	return corev1.Container{Resources: corev1.ResourceRequirements{Requests: requests, Limits: limits}}
}

func TestQOSClass(t *testing.T) {
	full := quantities("cpu", "1", "memory", "1Gi")
	sidecar := container(full, full)
	for name, c := range map[string]struct {
		spec corev1.PodSpec
		want corev1.PodQOSClass
	}{
		"nothing":              {corev1.PodSpec{Containers: []corev1.Container{{}}}, corev1.PodQOSBestEffort},
		"other resources only": {corev1.PodSpec{Containers: []corev1.Container{container(quantities("ephemeral-storage", "1"), nil)}}, corev1.PodQOSBestEffort},
		"zero":                 {corev1.PodSpec{Containers: []corev1.Container{container(quantities("cpu", "0"), nil)}}, corev1.PodQOSBestEffort},
		"request":              {corev1.PodSpec{Containers: []corev1.Container{container(quantities("cpu", "1"), nil)}}, corev1.PodQOSBurstable},
		"equal":                {corev1.PodSpec{Containers: []corev1.Container{container(full, full)}}, corev1.PodQOSGuaranteed},
		"one container less":   {corev1.PodSpec{Containers: []corev1.Container{container(full, full), {}}}, corev1.PodQOSBurstable},
		"init container less":  {corev1.PodSpec{InitContainers: []corev1.Container{{}}, Containers: []corev1.Container{container(full, full)}}, corev1.PodQOSBurstable},
		"init container equal": {corev1.PodSpec{InitContainers: []corev1.Container{sidecar}, Containers: []corev1.Container{container(full, full)}}, corev1.PodQOSGuaranteed},
		"limits above":         {corev1.PodSpec{Containers: []corev1.Container{container(full, quantities("cpu", "2", "memory", "1Gi"))}}, corev1.PodQOSBurstable},
		"memory alone":         {corev1.PodSpec{Containers: []corev1.Container{container(quantities("memory", "1"), quantities("memory", "1"))}}, corev1.PodQOSBurstable},
		"pod level":            {corev1.PodSpec{Resources: &corev1.ResourceRequirements{Requests: full, Limits: full}, Containers: []corev1.Container{{}}}, corev1.PodQOSGuaranteed},
	} {
		if got := ComputeQOSClass(&c.spec); got != c.want {
			t.Errorf("%s: got %s, want %s", name, got, c.want)
		}
	}
}

func TestContainerRequests(t *testing.T) {
	always := corev1.ContainerRestartPolicyAlways
	sidecar := container(quantities("cpu", "1"), nil)
	sidecar.RestartPolicy = &always
	got := ContainerRequests(&corev1.PodSpec{
		InitContainers: []corev1.Container{sidecar, container(quantities("cpu", "5", "memory", "1Mi"), nil)},
		Containers:     []corev1.Container{container(quantities("cpu", "2"), nil), container(quantities("memory", "3Mi"), nil)},
	})
	// The init container runs beside the sidecar: 6 CPUs, more than the 3 of what runs on.
	if got.Cpu().String() != "6" || got.Memory().String() != "3Mi" {
		t.Errorf("got %v, want cpu 6, memory 3Mi", got)
	}
}

func TestPodLevelRequests(t *testing.T) {
	p := &corev1.Pod{Spec: corev1.PodSpec{
		Resources:  &corev1.ResourceRequirements{Limits: quantities("cpu", "4", "memory", "4Gi")},
		Containers: []corev1.Container{container(quantities("cpu", "1"), nil), container(quantities("cpu", "2"), nil)},
	}}
	Default(p)
	if diff := cmp.Diff(quantities("cpu", "3", "memory", "4Gi"), p.Spec.Resources.Requests); diff != "" {
		t.Errorf("-want +got:\n%s", diff)
	}
}

func TestResolveLabelKeys(t *testing.T) {
	p := &corev1.Pod{ObjectMeta: metav1.ObjectMeta{Labels: map[string]string{"hash": "x"}}, Spec: corev1.PodSpec{
		TopologySpreadConstraints: []corev1.TopologySpreadConstraint{{
			LabelSelector: &metav1.LabelSelector{}, MatchLabelKeys: []string{"hash", "absent"},
		}},
		Affinity: &corev1.Affinity{PodAntiAffinity: &corev1.PodAntiAffinity{RequiredDuringSchedulingIgnoredDuringExecution: []corev1.PodAffinityTerm{{
			LabelSelector: &metav1.LabelSelector{}, MismatchLabelKeys: []string{"hash"},
		}}}},
	}}
	ResolveLabelKeys(p)
	ResolveLabelKeys(p)
	in := []metav1.LabelSelectorRequirement{{Key: "hash", Operator: metav1.LabelSelectorOpIn, Values: []string{"x"}}}
	if diff := cmp.Diff(in, p.Spec.TopologySpreadConstraints[0].LabelSelector.MatchExpressions); diff != "" {
		t.Errorf("spread (-want +got):\n%s", diff)
	}
	notIn := []metav1.LabelSelectorRequirement{{Key: "hash", Operator: metav1.LabelSelectorOpNotIn, Values: []string{"x"}}}
	term := p.Spec.Affinity.PodAntiAffinity.RequiredDuringSchedulingIgnoredDuringExecution[0]
	if diff := cmp.Diff(notIn, term.LabelSelector.MatchExpressions); diff != "" {
		t.Errorf("affinity (-want +got):\n%s", diff)
	}
}
