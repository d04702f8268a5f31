package spec

import (
	"context"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	runtimev1 "k8s.io/cri-api/pkg/apis/runtime/v1"
	"k8s.io/utils/ptr"
)

func TestExpand(t *testing.T) {
	lookup := func(name string) (string, bool) {
		v, ok := map[string]string{"A": "1", "EMPTY": ""}[name]
		return v, ok
	}
	for in, want := range map[string]string{
		"": "", "plain": "plain", "$(A)": "1", "x$(A)y$(A)": "x1y1", "$$(A)": "$(A)", "$$$(A)": "$1", "$(B)": "$(B)", "$(A": "$(A",
		"$A": "$A", "$": "$", "a$": "a$", "$(EMPTY)!": "!", "$()": "$()", "$(A)$": "1$", "$$": "$",
	} {
		if got := Expand(in, lookup); got != want {
			t.Errorf("%q: %q, want %q", in, got, want)
		}
	}
}

func FuzzExpand(f *testing.F) {
	f.Add("$(A) $$ $(")
	f.Fuzz(func(t *testing.T, in string) {
		if !strings.Contains(in, "$") && Expand(in, nil) != in {
			t.Errorf("%q changed", in)
		}
		Expand(in, func(string) (string, bool) { return "", true })
	})
}

func service(namespace, name, ip string, ports ...corev1.ServicePort) *corev1.Service {
	return &corev1.Service{ObjectMeta: metav1.ObjectMeta{Namespace: namespace, Name: name}, Spec: corev1.ServiceSpec{ClusterIP: ip, Ports: ports}}
}

func TestServiceEnv(t *testing.T) {
	services := []*corev1.Service{
		service("default", "kubernetes", "10.0.0.1", corev1.ServicePort{Port: 443}),
		service("ns", "my-db", "10.0.0.2", corev1.ServicePort{Name: "sql", Port: 3306, Protocol: corev1.ProtocolTCP}, corev1.ServicePort{Name: "dns-x", Port: 53, Protocol: corev1.ProtocolUDP}),
		service("ns", "headless", "None", corev1.ServicePort{Port: 1}), service("other", "x", "10.0.0.3", corev1.ServicePort{Port: 1}),
	}
	kubernetes := []EnvVar{
		{"KUBERNETES_SERVICE_HOST", "10.0.0.1"}, {"KUBERNETES_SERVICE_PORT", "443"}, {"KUBERNETES_PORT", "tcp://10.0.0.1:443"},
		{"KUBERNETES_PORT_443_TCP", "tcp://10.0.0.1:443"}, {"KUBERNETES_PORT_443_TCP_PROTO", "tcp"}, {"KUBERNETES_PORT_443_TCP_PORT", "443"}, {"KUBERNETES_PORT_443_TCP_ADDR", "10.0.0.1"},
	}
	db := []EnvVar{
		{"MY_DB_SERVICE_HOST", "10.0.0.2"}, {"MY_DB_SERVICE_PORT", "3306"}, {"MY_DB_SERVICE_PORT_SQL", "3306"}, {"MY_DB_SERVICE_PORT_DNS_X", "53"},
		{"MY_DB_PORT", "tcp://10.0.0.2:3306"}, {"MY_DB_PORT_3306_TCP", "tcp://10.0.0.2:3306"}, {"MY_DB_PORT_3306_TCP_PROTO", "tcp"}, {"MY_DB_PORT_3306_TCP_PORT", "3306"}, {"MY_DB_PORT_3306_TCP_ADDR", "10.0.0.2"},
		{"MY_DB_PORT_53_UDP", "udp://10.0.0.2:53"}, {"MY_DB_PORT_53_UDP_PROTO", "udp"}, {"MY_DB_PORT_53_UDP_PORT", "53"}, {"MY_DB_PORT_53_UDP_ADDR", "10.0.0.2"},
	}
	if diff := cmp.Diff(append(append([]EnvVar{}, kubernetes...), db...), ServiceEnv(services, "ns", true)); diff != "" {
		t.Error(diff)
	}
	if diff := cmp.Diff(kubernetes, ServiceEnv(services, "ns", false)); diff != "" {
		t.Errorf("without links: %s", diff)
	}
}

// objects are config maps and secrets by name.
type objects struct {
	configMaps map[string]map[string]string
	secrets    map[string]map[string][]byte
}

func (o objects) ConfigMap(_ context.Context, _, name string) (*corev1.ConfigMap, error) {
	if data, ok := o.configMaps[name]; ok {
		return &corev1.ConfigMap{Data: data}, nil
	}
	return nil, apierrors.NewNotFound(corev1.Resource("configmap"), name)
}

func (o objects) Secret(_ context.Context, _, name string) (*corev1.Secret, error) {
	if data, ok := o.secrets[name]; ok {
		return &corev1.Secret{Data: data}, nil
	}
	return nil, apierrors.NewNotFound(corev1.Resource("secret"), name)
}

func TestEnv(t *testing.T) {
	dir := t.TempDir()
	if err := os.WriteFile(filepath.Join(dir, "env"), []byte("# comment\nK='v w'\nM='two\nlines'\n"), 0o644); err != nil {
		t.Fatal(err)
	}
	pod := &corev1.Pod{ObjectMeta: metav1.ObjectMeta{Name: "p", Namespace: "ns", UID: "u", Labels: map[string]string{"l": "1"}}}
	pod.Spec.Containers = []corev1.Container{{Name: "c", Resources: corev1.ResourceRequirements{Requests: corev1.ResourceList{corev1.ResourceCPU: resource.MustParse("1500m")}}}}
	in := EnvInput{
		Pod: pod, PodIPs: []string{"10.1.1.1", "fd00::1"}, HostIPs: []string{"192.0.2.1"}, VolumePaths: map[string]string{"v": dir},
		Services:    []*corev1.Service{service("ns", "db", "10.0.0.2", corev1.ServicePort{Port: 1})},
		Allocatable: corev1.ResourceList{corev1.ResourceMemory: resource.MustParse("2Gi")},
		Objects:     objects{map[string]map[string]string{"cm": {"a": "1", "b": "2"}}, map[string]map[string][]byte{"s": {"k": []byte("secret")}}},
	}
	from := func(s corev1.EnvVarSource) *corev1.EnvVarSource { return &s }
	field := func(path string) *corev1.EnvVarSource {
		return from(corev1.EnvVarSource{FieldRef: &corev1.ObjectFieldSelector{FieldPath: path}})
	}
	named := func(name string) corev1.LocalObjectReference { return corev1.LocalObjectReference{Name: name} }
	c := pod.Spec.Containers[0]
	c.EnvFrom = []corev1.EnvFromSource{
		{Prefix: "P_", ConfigMapRef: &corev1.ConfigMapEnvSource{LocalObjectReference: named("cm")}},
		{SecretRef: &corev1.SecretEnvSource{LocalObjectReference: named("absent"), Optional: ptr.To(true)}},
	}
	c.Env = []corev1.EnvVar{
		{Name: "P_a", Value: "over"}, {Name: "REF", Value: "$(P_b)-$(P_a)-$(DB_SERVICE_PORT)-$(LATER)"}, {Name: "LATER", Value: "x"},
		{Name: "IP", ValueFrom: field("status.podIP")}, {Name: "IPS", ValueFrom: field("status.podIPs")}, {Name: "LABEL", ValueFrom: field("metadata.labels['l']")}, {Name: "UID", ValueFrom: field("metadata.uid")},
		{Name: "CPU", ValueFrom: from(corev1.EnvVarSource{ResourceFieldRef: &corev1.ResourceFieldSelector{Resource: "requests.cpu"}})},
		{Name: "MEM", ValueFrom: from(corev1.EnvVarSource{ResourceFieldRef: &corev1.ResourceFieldSelector{Resource: "limits.memory", Divisor: resource.MustParse("1Mi")}})},
		{Name: "KEY", ValueFrom: from(corev1.EnvVarSource{SecretKeyRef: &corev1.SecretKeySelector{LocalObjectReference: named("s"), Key: "k"}})},
		{Name: "NONE", ValueFrom: from(corev1.EnvVarSource{ConfigMapKeyRef: &corev1.ConfigMapKeySelector{LocalObjectReference: named("cm"), Key: "z", Optional: ptr.To(true)}})},
		{Name: "FILE", ValueFrom: from(corev1.EnvVarSource{FileKeyRef: &corev1.FileKeySelector{VolumeName: "v", Path: "env", Key: "M"}})},
	}
	got, err := Env(t.Context(), &c, in)
	if err != nil {
		t.Fatal(err)
	}
	want := []EnvVar{
		{"P_a", "over"}, {"P_b", "2"}, {"REF", "2-over-1-$(LATER)"}, {"LATER", "x"}, {"IP", "10.1.1.1"}, {"IPS", "10.1.1.1,fd00::1"}, {"LABEL", "1"}, {"UID", "u"},
		{"CPU", "2"}, {"MEM", "2048"}, {"KEY", "secret"}, {"FILE", "two\nlines"},
	}
	if diff := cmp.Diff(want, got[:len(want)]); diff != "" {
		t.Error(diff)
	}
	for message, source := range map[string]*corev1.EnvVarSource{
		`configmap "no" not found`:                             from(corev1.EnvVarSource{ConfigMapKeyRef: &corev1.ConfigMapKeySelector{LocalObjectReference: named("no"), Key: "k"}}),
		`secret "no" not found`:                                from(corev1.EnvVarSource{SecretKeyRef: &corev1.SecretKeySelector{LocalObjectReference: named("no"), Key: "k"}}),
		"couldn't find key z in ConfigMap ns/cm":               from(corev1.EnvVarSource{ConfigMapKeyRef: &corev1.ConfigMapKeySelector{LocalObjectReference: named("cm"), Key: "z"}}),
		"couldn't find key z in Secret ns/s":                   from(corev1.EnvVarSource{SecretKeyRef: &corev1.SecretKeySelector{LocalObjectReference: named("s"), Key: "z"}}),
		"unsupported fieldPath: status.no":                     field("status.no"),
		`environment variable key "Z" not found in file "env"`: from(corev1.EnvVarSource{FileKeyRef: &corev1.FileKeySelector{VolumeName: "v", Path: "env", Key: "Z"}}),
	} {
		bad := corev1.Container{Env: []corev1.EnvVar{{Name: "X", ValueFrom: source}}}
		if _, err := Env(t.Context(), &bad, in); err == nil || err.Error() != message {
			t.Errorf("error %v, want %s", err, message)
		}
	}
}

func TestDNS(t *testing.T) {
	in := DNSInput{Host: ParseResolver("# c\nnameserver 192.0.2.53\nsearch a.example. b.example\noptions rotate ndots:1\n"), ClusterDNS: []string{"10.96.0.10"}, ClusterDomain: "cluster.local"}
	cluster := &runtimev1.DNSConfig{Servers: []string{"10.96.0.10"}, Searches: []string{"ns.svc.cluster.local", "svc.cluster.local", "cluster.local", "a.example", "b.example"}, Options: []string{"ndots:5"}}
	host := &runtimev1.DNSConfig{Servers: []string{"192.0.2.53"}, Searches: []string{"a.example", "b.example"}, Options: []string{"rotate", "ndots:1"}}
	for name, c := range map[string]struct {
		spec corev1.PodSpec
		want *runtimev1.DNSConfig
	}{
		"cluster first":           {corev1.PodSpec{DNSPolicy: corev1.DNSClusterFirst}, cluster},
		"cluster first, host":     {corev1.PodSpec{DNSPolicy: corev1.DNSClusterFirst, HostNetwork: true}, host},
		"cluster first with host": {corev1.PodSpec{DNSPolicy: corev1.DNSClusterFirstWithHostNet, HostNetwork: true}, cluster},
		"default":                 {corev1.PodSpec{DNSPolicy: corev1.DNSDefault}, host},
		"none": {corev1.PodSpec{DNSPolicy: corev1.DNSNone, DNSConfig: &corev1.PodDNSConfig{Nameservers: []string{"1.1.1.1"}, Searches: []string{"x"}, Options: []corev1.PodDNSConfigOption{{Name: "edns0"}}}},
			&runtimev1.DNSConfig{Servers: []string{"1.1.1.1"}, Searches: []string{"x"}, Options: []string{"edns0"}}},
		"merged": {corev1.PodSpec{DNSPolicy: corev1.DNSDefault, DNSConfig: &corev1.PodDNSConfig{Nameservers: []string{"192.0.2.53", "1.1.1.1"}, Searches: []string{"a.example", "x"}, Options: []corev1.PodDNSConfigOption{{Name: "ndots", Value: ptr.To("3")}}}},
			&runtimev1.DNSConfig{Servers: []string{"192.0.2.53", "1.1.1.1"}, Searches: []string{"a.example", "b.example", "x"}, Options: []string{"rotate", "ndots:3"}}},
	} {
		pod := &corev1.Pod{ObjectMeta: metav1.ObjectMeta{Namespace: "ns"}, Spec: c.spec}
		got := DNS(pod, in)
		if diff := cmp.Diff([][]string{c.want.Servers, c.want.Searches, c.want.Options}, [][]string{got.Servers, got.Searches, got.Options}); diff != "" {
			t.Errorf("%s: %s", name, diff)
		}
	}
}

func TestHostname(t *testing.T) {
	long := strings.Repeat("a", 70)
	for name, c := range map[string]struct {
		pod                     corev1.Pod
		hostname, domain, shown string
	}{
		"plain":     {corev1.Pod{ObjectMeta: metav1.ObjectMeta{Name: "p"}}, "p", "", "p"},
		"long":      {corev1.Pod{ObjectMeta: metav1.ObjectMeta{Name: long}}, long[:63], "", long[:63]},
		"own":       {corev1.Pod{ObjectMeta: metav1.ObjectMeta{Name: "p"}, Spec: corev1.PodSpec{Hostname: "h"}}, "h", "", "h"},
		"subdomain": {corev1.Pod{ObjectMeta: metav1.ObjectMeta{Name: "p", Namespace: "n"}, Spec: corev1.PodSpec{Subdomain: "s"}}, "p", "s.n.svc.d", "p"},
		"full":      {corev1.Pod{ObjectMeta: metav1.ObjectMeta{Name: "p", Namespace: "n"}, Spec: corev1.PodSpec{Subdomain: "s", SetHostnameAsFQDN: ptr.To(true)}}, "p", "s.n.svc.d", "p.s.n.svc.d"},
	} {
		hostname, domain, err := Hostname(&c.pod, "d")
		shown, utsErr := UTSHostname(&c.pod, hostname, domain)
		if err != nil || utsErr != nil || hostname != c.hostname || domain != c.domain || shown != c.shown {
			t.Errorf("%s: %q %q %q, %v, %v", name, hostname, domain, shown, err, utsErr)
		}
	}
}

func TestResources(t *testing.T) {
	list := func(cpu, memory string) corev1.ResourceList {
		out := corev1.ResourceList{}
		if cpu != "" {
			out[corev1.ResourceCPU] = resource.MustParse(cpu)
		}
		if memory != "" {
			out[corev1.ResourceMemory] = resource.MustParse(memory)
		}
		return out
	}
	for name, c := range map[string]struct {
		requests, limits corev1.ResourceList
		qos              corev1.PodQOSClass
		shares, quota    int64
		oom              int64
	}{
		"best effort": {nil, nil, corev1.PodQOSBestEffort, 2, 0, 1000},
		"guaranteed":  {list("1", "1Gi"), list("1", "1Gi"), corev1.PodQOSGuaranteed, 1024, 100000, -997},
		"limits only": {nil, list("500m", "1Gi"), corev1.PodQOSGuaranteed, 512, 50000, -997},
		"burstable":   {list("250m", "2Gi"), list("1", ""), corev1.PodQOSBurstable, 256, 100000, 750},
		"little":      {list("1m", ""), list("1m", ""), corev1.PodQOSBurstable, 2, 1000, 999},
	} {
		pod := &corev1.Pod{Spec: corev1.PodSpec{Containers: []corev1.Container{{Resources: corev1.ResourceRequirements{Requests: c.requests, Limits: c.limits}}}}}
		r := LinuxResources(pod, &pod.Spec.Containers[0], Options{MemoryCapacity: 8 << 30})
		if QOSClass(pod) != c.qos || r.CpuShares != c.shares || r.CpuQuota != c.quota || r.OomScoreAdj != c.oom {
			t.Errorf("%s: %s, %+v", name, QOSClass(pod), r)
		}
	}
}

func TestMounts(t *testing.T) {
	pod := &corev1.Pod{Spec: corev1.PodSpec{Volumes: []corev1.Volume{
		{Name: "cm", VolumeSource: corev1.VolumeSource{ConfigMap: &corev1.ConfigMapVolumeSource{}}}, {Name: "dir", VolumeSource: corev1.VolumeSource{EmptyDir: &corev1.EmptyDirVolumeSource{}}},
		{Name: "image", VolumeSource: corev1.VolumeSource{Image: &corev1.ImageVolumeSource{Reference: "i"}}},
	}}}
	mounts := func(m ...corev1.VolumeMount) ([]*runtimev1.Mount, error) {
		return Mounts(MountInput{
			Pod: pod, Container: &corev1.Container{Name: "c", VolumeMounts: m, TerminationMessagePath: "/dev/log"}, Volumes: map[string]string{"cm": "/h/cm", "dir": "/h/dir"},
			SubPath: func(i int, dir, sub string) (string, error) { return dir + "!" + sub, nil }, Env: []EnvVar{{"X", "x"}}, HostsFile: "/h/hosts", MessageFile: "/h/message",
		})
	}
	got, err := mounts(
		corev1.VolumeMount{Name: "cm", MountPath: "/cm"}, corev1.VolumeMount{Name: "dir", MountPath: "rel", SubPathExpr: "$(X)/y", MountPropagation: ptr.To(corev1.MountPropagationBidirectional)},
		corev1.VolumeMount{Name: "image", MountPath: "/i", SubPath: "s"},
	)
	if err != nil {
		t.Fatal(err)
	}
	var lines []string
	for _, m := range got {
		lines = append(lines, strings.Join([]string{m.HostPath, m.ContainerPath, map[bool]string{true: "ro"}[m.Readonly], m.GetImage().GetImage() + m.ImageSubPath, m.Propagation.String()}, " "))
	}
	want := []string{
		"/h/cm /cm ro  PROPAGATION_PRIVATE", "/h/dir!x/y /rel   PROPAGATION_BIDIRECTIONAL", " /i ro is PROPAGATION_PRIVATE",
		"/h/hosts /etc/hosts   PROPAGATION_PRIVATE", "/h/message /dev/log   PROPAGATION_PRIVATE",
	}
	if diff := cmp.Diff(want, lines); diff != "" {
		t.Error(diff)
	}
	for _, bad := range []corev1.VolumeMount{{Name: "none", MountPath: "/x"}, {Name: "dir", MountPath: "/x", SubPath: "../up"}, {Name: "dir", MountPath: "/x", SubPath: "/abs"}, {Name: "dir", MountPath: "/x", SubPathExpr: "$(NO)"}} {
		if _, err := mounts(bad); err == nil {
			t.Errorf("%+v was accepted", bad)
		}
	}
	got, _ = mounts(corev1.VolumeMount{Name: "dir", MountPath: EtcHostsPath})
	if len(got) != 2 {
		t.Errorf("a pod's own hosts file is mounted over: %v", got)
	}
}

func TestNonRoot(t *testing.T) {
	root, user := new(int64), ptr.To[int64](1)
	yes := ptr.To(true)
	for name, c := range map[string]struct {
		pod, container *int64
		image          ImageUser
		want           string
	}{
		"image is root":       {nil, nil, ImageUser{UID: root}, "container has runAsNonRoot and image will run as root (pod: \"p_n(u)\", container: c)"},
		"image has a number":  {nil, nil, ImageUser{UID: user}, ""},
		"image has a name":    {nil, nil, ImageUser{Name: "www"}, "container has runAsNonRoot and image has non-numeric user (www), cannot verify user is non-root (pod: \"p_n(u)\", container: c)"},
		"pod says root":       {root, nil, ImageUser{UID: user}, "container's runAsUser breaks non-root policy (pod: \"p_n(u)\", container: c)"},
		"container overrides": {root, user, ImageUser{UID: root}, ""},
	} {
		pod := &corev1.Pod{ObjectMeta: metav1.ObjectMeta{Name: "p", Namespace: "n", UID: "u"}, Spec: corev1.PodSpec{SecurityContext: &corev1.PodSecurityContext{RunAsNonRoot: yes, RunAsUser: c.pod}}}
		got := ""
		if err := VerifyNonRoot(pod, &corev1.Container{Name: "c", SecurityContext: &corev1.SecurityContext{RunAsUser: c.container}}, c.image); err != nil {
			got = err.Error()
		}
		if got != c.want {
			t.Errorf("%s: %q, want %q", name, got, c.want)
		}
	}
}

func TestSecurity(t *testing.T) {
	pod := &corev1.Pod{}
	config := func(sc *corev1.SecurityContext, o Options) *runtimev1.LinuxContainerSecurityContext {
		t.Helper()
		c, err := Container(ContainerInput{Pod: pod, Container: &corev1.Container{Name: "c", SecurityContext: sc}}, o)
		if err != nil {
			t.Fatal(err)
		}
		return c.Linux.SecurityContext
	}
	plain := config(nil, Options{})
	if len(plain.MaskedPaths) == 0 || plain.NoNewPrivs || plain.Seccomp.ProfileType != runtimev1.SecurityProfile_Unconfined || plain.NamespaceOptions.Pid != runtimev1.NamespaceMode_CONTAINER {
		t.Errorf("plain: %+v", plain)
	}
	if got := config(nil, Options{SeccompDefault: true}); got.Seccomp.ProfileType != runtimev1.SecurityProfile_RuntimeDefault {
		t.Errorf("seccomp: %+v", got.Seccomp)
	}
	privileged := config(&corev1.SecurityContext{Privileged: ptr.To(true), SeccompProfile: &corev1.SeccompProfile{Type: corev1.SeccompProfileTypeRuntimeDefault}}, Options{})
	if !privileged.Privileged || len(privileged.MaskedPaths) > 0 || privileged.Seccomp.ProfileType != runtimev1.SecurityProfile_Unconfined {
		t.Errorf("privileged: %+v", privileged)
	}
	unmasked := config(&corev1.SecurityContext{ProcMount: ptr.To(corev1.UnmaskedProcMount), Capabilities: &corev1.Capabilities{Add: []corev1.Capability{"CAP_NET_ADMIN"}, Drop: []corev1.Capability{"ALL"}}}, Options{})
	if len(unmasked.MaskedPaths) > 0 || unmasked.Capabilities.AddCapabilities[0] != "NET_ADMIN" || unmasked.Capabilities.DropCapabilities[0] != "ALL" {
		t.Errorf("unmasked: %+v", unmasked)
	}
}
