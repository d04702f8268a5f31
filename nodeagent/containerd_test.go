package nodeagent

import (
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	authenticationv1 "k8s.io/api/authentication/v1"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/util/intstr"
	"k8s.io/utils/ptr"
)

// TestContainerd is about what only a kernel can show.
func TestContainerd(t *testing.T) {
	w := newRealWorld(t)
	for name, run := range map[string]func(*testing.T, *world){
		"Security": security, "Limits": limits, "OOM": outOfMemory, "Volumes": volumes, "Probes": netProbes, "SubPath": subPath, "Token": token,
		"TwoContainers": twoContainers, "HostPort": hostPort, "Ephemeral": ephemeral,
	} {
		t.Run(name, func(t *testing.T) { run(t, w.with(t)) })
	}
}

// output runs a shell script in a pod to its end and gives what it wrote.
func (w *world) output(name, shell string, change ...func(*corev1.Pod)) string {
	w.t.Helper()
	w.create(appPod(name, append([]func(*corev1.Pod){restartPolicy(corev1.RestartPolicyNever), runs(shell)}, change...)...))
	p := w.until(name, "at its end", func(p *corev1.Pod) bool {
		return p != nil && (p.Status.Phase == corev1.PodSucceeded || p.Status.Phase == corev1.PodFailed)
	})
	logs, err := filepath.Glob(filepath.Join(w.options.RootDir, "logs", "default_"+name+"_"+string(p.UID), name, "*.log"))
	if err != nil || len(logs) != 1 {
		w.t.Fatalf("logs of %s: %v, %v, %+v", name, logs, err, p.Status)
	}
	data, err := os.ReadFile(logs[0])
	if err != nil {
		w.t.Fatal(err)
	}
	var out strings.Builder
	for line := range strings.Lines(string(data)) {
		out.WriteString(strings.SplitN(line, " ", 4)[3])
	}
	return out.String()
}

func security(t *testing.T, w *world) {
	out := w.output("secure", "id -u; id -g; id -G; touch /x 2>&1; grep -E 'CapEff|NoNewPrivs|Seccomp:' /proc/self/status; grep -c ' /proc/sys ' /proc/mounts; cat /proc/sys/net/ipv4/ip_unprivileged_port_start", func(p *corev1.Pod) {
		p.Spec.SecurityContext = &corev1.PodSecurityContext{
			RunAsUser: ptr.To[int64](1000), RunAsGroup: ptr.To[int64](2000), FSGroup: ptr.To[int64](3000), SupplementalGroups: []int64{4000}, RunAsNonRoot: ptr.To(true),
			SeccompProfile: &corev1.SeccompProfile{Type: corev1.SeccompProfileTypeRuntimeDefault},
			Sysctls:        []corev1.Sysctl{{Name: "net.ipv4.ip_unprivileged_port_start", Value: "80"}},
		}
		p.Spec.Containers[0].SecurityContext = &corev1.SecurityContext{
			ReadOnlyRootFilesystem: ptr.To(true), AllowPrivilegeEscalation: ptr.To(false), Capabilities: &corev1.Capabilities{Drop: []corev1.Capability{"ALL"}},
		}
	})
	want := "1000\n2000\n2000 3000 4000\ntouch: /x: Read-only file system\nCapEff:\t0000000000000000\nNoNewPrivs:\t1\nSeccomp:\t2\n1\n80\n"
	if out != want {
		t.Errorf("output %q, want %q", out, want)
	}
	w.create(appPod("root", func(p *corev1.Pod) { p.Spec.SecurityContext = &corev1.PodSecurityContext{RunAsNonRoot: ptr.To(true)} }))
	p := w.until("root", "refused", waiting("CreateContainerConfigError"))
	if m := p.Status.ContainerStatuses[0].State.Waiting.Message; !strings.HasPrefix(m, "container has runAsNonRoot and image will run as root (pod: ") {
		t.Errorf("message %q", m)
	}
}

func limits(t *testing.T, w *world) {
	out := w.output("limited", "for f in cpu.max memory.max cpu.weight cpu/cpu.cfs_quota_us memory/memory.limit_in_bytes cpu/cpu.shares; do cat /sys/fs/cgroup/$f 2>/dev/null; done; cat /proc/self/oom_score_adj", func(p *corev1.Pod) {
		p.Spec.Containers[0].Resources = corev1.ResourceRequirements{
			Requests: corev1.ResourceList{corev1.ResourceCPU: resource.MustParse("100m"), corev1.ResourceMemory: resource.MustParse("32Mi")},
			Limits:   corev1.ResourceList{corev1.ResourceCPU: resource.MustParse("500m"), corev1.ResourceMemory: resource.MustParse("64Mi")},
		}
	})
	v1, v2 := "50000\n67108864\n102\n", "50000 100000\n67108864\n"
	if !strings.HasPrefix(out, v1) && !strings.HasPrefix(out, v2) {
		t.Errorf("limits %q", out)
	}
}

func outOfMemory(t *testing.T, w *world) {
	w.create(appPod("hog", runs("head -c 200m /dev/zero | tail"), func(p *corev1.Pod) {
		p.Spec.Containers[0].Resources.Limits = corev1.ResourceList{corev1.ResourceMemory: resource.MustParse("20Mi")}
	}))
	p := w.until("hog", "in back-off", waiting("CrashLoopBackOff"))
	if end := p.Status.ContainerStatuses[0].LastTerminationState.Terminated; end == nil || end.Reason != "OOMKilled" || end.ExitCode != 137 {
		t.Errorf("end %+v", end)
	}
}

func volumes(t *testing.T, w *world) {
	if _, err := w.client.CoreV1().Secrets("default").Create(w.ctx, &corev1.Secret{ObjectMeta: metav1.ObjectMeta{Name: "s"}, Data: map[string][]byte{"key": []byte("hidden")}}, metav1.CreateOptions{}); err != nil {
		t.Fatal(err)
	}
	out := w.output("mounted", "cat /s/sub/k; echo; stat -c %a:%g /s/sub/k /mem /disk; echo x > /disk/x && stat -c %g /disk/x; cat /down/labels; echo; touch /s/no 2>&1; grep -c ' /mem tmpfs ' /proc/mounts", func(p *corev1.Pod) {
		p.Labels = map[string]string{"l": "v"}
		p.Spec.SecurityContext = &corev1.PodSecurityContext{FSGroup: ptr.To[int64](3000)}
		p.Spec.Volumes = []corev1.Volume{
			{Name: "s", VolumeSource: corev1.VolumeSource{Secret: &corev1.SecretVolumeSource{SecretName: "s", DefaultMode: ptr.To[int32](0o400), Items: []corev1.KeyToPath{{Key: "key", Path: "sub/k"}}}}},
			{Name: "mem", VolumeSource: corev1.VolumeSource{EmptyDir: &corev1.EmptyDirVolumeSource{Medium: corev1.StorageMediumMemory, SizeLimit: ptr.To(resource.MustParse("1Mi"))}}},
			{Name: "disk", VolumeSource: corev1.VolumeSource{EmptyDir: &corev1.EmptyDirVolumeSource{}}},
			{Name: "down", VolumeSource: corev1.VolumeSource{DownwardAPI: &corev1.DownwardAPIVolumeSource{Items: []corev1.DownwardAPIVolumeFile{{Path: "labels", FieldRef: &corev1.ObjectFieldSelector{FieldPath: "metadata.labels"}}}}}},
		}
		p.Spec.Containers[0].VolumeMounts = []corev1.VolumeMount{{Name: "s", MountPath: "/s"}, {Name: "mem", MountPath: "/mem"}, {Name: "disk", MountPath: "/disk"}, {Name: "down", MountPath: "/down"}}
	})
	want := "hidden\n440:3000\n2777:3000\n2777:3000\n3000\nl=\"v\"\ntouch: /s/no: Read-only file system\n1\n"
	if out != want {
		t.Errorf("output %q, want %q", out, want)
	}
}

func netProbes(t *testing.T, w *world) {
	probe := func(h corev1.ProbeHandler) *corev1.Probe { return &corev1.Probe{ProbeHandler: h, PeriodSeconds: 1} }
	w.create(appPod("web", runs("mkdir -p /tmp/www && echo ok > /tmp/www/index.html && httpd -p 8080 -h /tmp/www -f"), func(p *corev1.Pod) {
		c := &p.Spec.Containers[0]
		c.Ports = []corev1.ContainerPort{{Name: "http", ContainerPort: 8080}}
		c.StartupProbe = probe(corev1.ProbeHandler{TCPSocket: &corev1.TCPSocketAction{Port: intstr.FromString("http")}})
		c.ReadinessProbe = probe(corev1.ProbeHandler{HTTPGet: &corev1.HTTPGetAction{Path: "/index.html", Port: intstr.FromString("http")}})
		c.LivenessProbe = probe(corev1.ProbeHandler{HTTPGet: &corev1.HTTPGetAction{Path: "/absent", Port: intstr.FromInt32(8080)}})
		c.LivenessProbe.FailureThreshold = 2
	}))
	w.until("web", "ready", ready)
	w.until("web", "restarted", func(p *corev1.Pod) bool { return p.Status.ContainerStatuses[0].RestartCount > 0 })
	w.wantEvent("web", "Unhealthy: Liveness probe failed: HTTP probe failed with statuscode: 404")
}

func subPath(t *testing.T, w *world) {
	dir := t.TempDir()
	if err := os.Symlink("/etc", filepath.Join(dir, "out")); err != nil {
		t.Fatal(err)
	}
	mount := func(sub string) func(*corev1.Pod) {
		return func(p *corev1.Pod) {
			p.Spec.Volumes = []corev1.Volume{{Name: "v", VolumeSource: corev1.VolumeSource{HostPath: &corev1.HostPathVolumeSource{Path: dir}}}}
			p.Spec.Containers[0].VolumeMounts = []corev1.VolumeMount{{Name: "v", MountPath: "/m", SubPath: sub}}
		}
	}
	if out := w.output("inside", "echo made > /m/file; cat /m/file", mount("a/b")); out != "made\n" {
		t.Errorf("output %q", out)
	}
	if data, err := os.ReadFile(filepath.Join(dir, "a/b/file")); err != nil || string(data) != "made\n" {
		t.Errorf("file %q, %v", data, err)
	}
	w.create(appPod("outside", mount("out")))
	p := w.until("outside", "refused", waiting("CreateContainerConfigError"))
	if m := p.Status.ContainerStatuses[0].State.Waiting.Message; !strings.Contains(m, "failed to prepare subPath") {
		t.Errorf("message %q", m)
	}
}

func token(t *testing.T, w *world) {
	sa := &corev1.ServiceAccount{ObjectMeta: metav1.ObjectMeta{Name: "robot"}}
	if _, err := w.client.CoreV1().ServiceAccounts("default").Create(w.ctx, sa, metav1.CreateOptions{}); err != nil {
		t.Fatal(err)
	}
	if _, err := w.client.CoreV1().ServiceAccounts("default").CreateToken(w.ctx, "robot", &authenticationv1.TokenRequest{}, metav1.CreateOptions{}); err != nil {
		t.Fatalf("the API server gives no tokens: %v", err)
	}
	out := w.output("robot", "head -c 2 /t/token; stat -c %a /t/..data/token", func(p *corev1.Pod) {
		p.Spec.ServiceAccountName = "robot"
		p.Spec.SecurityContext = &corev1.PodSecurityContext{RunAsUser: ptr.To[int64](1000)}
		p.Spec.Volumes = []corev1.Volume{{Name: "t", VolumeSource: corev1.VolumeSource{Projected: &corev1.ProjectedVolumeSource{Sources: []corev1.VolumeProjection{
			{ServiceAccountToken: &corev1.ServiceAccountTokenProjection{Path: "token", ExpirationSeconds: ptr.To[int64](3600)}},
		}}}}}
		p.Spec.Containers[0].VolumeMounts = []corev1.VolumeMount{{Name: "t", MountPath: "/t"}}
	})
	if out != "ey600\n" {
		t.Errorf("output %q", out)
	}
}

func twoContainers(t *testing.T, w *world) {
	out := w.output("pair", "while ! cat /v/f 2>/dev/null; do sleep 0.05; done; nc 127.0.0.1 8080; ls /proc | grep -c '^[0-9]*$'", func(p *corev1.Pod) {
		p.Spec.Volumes = []corev1.Volume{{Name: "v", VolumeSource: corev1.VolumeSource{EmptyDir: &corev1.EmptyDirVolumeSource{}}}}
		other := container("other", "nc -l -p 8080 -e echo hello & sleep 0.1; echo shared > /v/f; sleep 1")
		p.Spec.Containers = append(p.Spec.Containers, other)
		for i := range p.Spec.Containers {
			p.Spec.Containers[i].VolumeMounts = []corev1.VolumeMount{{Name: "v", MountPath: "/v"}}
		}
	})
	if !strings.HasPrefix(out, "shared\nhello\n") {
		t.Errorf("output %q", out)
	}
}

func hostPort(t *testing.T, w *world) {
	w.create(appPod("ported", runs("nc -ll -p 8080 -e echo hello"), func(p *corev1.Pod) {
		p.Spec.Containers[0].Ports = []corev1.ContainerPort{{ContainerPort: 8080, HostPort: 18080, Protocol: corev1.ProtocolTCP}}
	}))
	p := w.until("ported", "ready", ready)
	out := w.output("caller", "sleep 0.3; nc "+p.Status.PodIP+" 8080; nc 10.250.0.1 18080")
	if out != "hello\nhello\n" {
		t.Errorf("output %q", out)
	}
}

func ephemeral(t *testing.T, w *world) {
	w.create(appPod("target"))
	p := w.until("target", "ready", ready).DeepCopy()
	p.Spec.EphemeralContainers = []corev1.EphemeralContainer{{
		EphemeralContainerCommon: corev1.EphemeralContainerCommon{Name: "debug", Image: "app", Command: []string{"sh", "-c", "grep -q sleep /proc/1/cmdline"}, ImagePullPolicy: corev1.PullIfNotPresent},
		TargetContainerName:      "target",
	}}
	if _, err := w.client.CoreV1().Pods("default").UpdateEphemeralContainers(w.ctx, "target", p, metav1.UpdateOptions{}); err != nil {
		t.Fatal(err)
	}
	p = w.until("target", "debugged", func(p *corev1.Pod) bool {
		return len(p.Status.EphemeralContainerStatuses) == 1 && p.Status.EphemeralContainerStatuses[0].State.Terminated != nil
	})
	if end := p.Status.EphemeralContainerStatuses[0].State.Terminated; end.ExitCode != 0 {
		t.Errorf("the debugger does not see its target's processes: %+v", end)
	}
}

// TestContainerdDies: containers do not notice, and pods go on.
func TestContainerdDies(t *testing.T) {
	w := newRealWorld(t)
	w.create(appPod("kept"))
	before := w.until("kept", "ready", ready)
	var record struct{ PID int }
	data, err := os.ReadFile(filepath.Join(w.options.RunDir, "containerd.json"))
	if err != nil {
		t.Fatal(err)
	}
	if err := json.Unmarshal(data, &record); err != nil || record.PID == 0 {
		t.Fatalf("no process in %s: %v", data, err)
	}
	if err := syscall.Kill(record.PID, syscall.SIGKILL); err != nil {
		t.Fatal(err)
	}
	w.create(appPod("new"))
	w.until("new", "ready", ready)
	after := w.until("kept", "ready", ready)
	if a, b := before.Status.ContainerStatuses[0], after.Status.ContainerStatuses[0]; a.ContainerID != b.ContainerID || b.RestartCount != 0 {
		t.Errorf("container was %s, is %s after %d restarts", a.ContainerID, b.ContainerID, b.RestartCount)
	}
	w.create(appPod("crash", runs("exit 3")))
	w.until("crash", "in back-off", waiting("CrashLoopBackOff"))
}

// TestStop: a node that was taken down starts its pods again.
func TestStop(t *testing.T) {
	w := newRealWorld(t)
	w.create(appPod("again"))
	w.create(appPod("done", runs("exit 0"), restartPolicy(corev1.RestartPolicyNever)))
	w.until("again", "ready", ready)
	before := w.until("done", "succeeded", func(p *corev1.Pod) bool { return p.Status.Phase == corev1.PodSucceeded })
	w.stop()
	if err := Stop(w.ctx, w.options); err != nil {
		t.Fatal(err)
	}
	if err := Stop(w.ctx, w.options); err != nil {
		t.Fatalf("stopping again: %v", err)
	}
	w.start()
	p := w.until("again", "ready again", func(p *corev1.Pod) bool { return ready(p) && p.Status.ContainerStatuses[0].RestartCount == 1 })
	if last := p.Status.ContainerStatuses[0].LastTerminationState.Terminated; last == nil {
		t.Errorf("status: %+v", p.Status.ContainerStatuses[0])
	}
	after, err := w.client.CoreV1().Pods("default").Get(w.ctx, "done", metav1.GetOptions{})
	if err != nil || after.Status.ContainerStatuses[0].ContainerID != before.Status.ContainerStatuses[0].ContainerID || after.Status.Phase != corev1.PodSucceeded {
		t.Errorf("the finished pod: %+v, %v", after.Status, err)
	}
}
