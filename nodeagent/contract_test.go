package nodeagent

import (
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	runtimev1 "k8s.io/cri-api/pkg/apis/runtime/v1"
	"k8s.io/utils/ptr"

	"coracle.dev/coracle/nodeagent/crifake"
)

// TestContract does with pods what users do, on both runtimes. What a program
// does in containerd, the fake is told by variables FAKE_*.
func TestContract(t *testing.T) {
	contracts := []struct {
		name string
		run  func(*testing.T, *world)
	}{
		{"CrashLoop", crashLoop}, {"RunsOnce", runsOnce}, {"InitContainers", initContainers}, {"InitFails", initFails},
		{"SidecarOfJob", sidecarOfJob}, {"Liveness", liveness}, {"Readiness", readiness}, {"ConfigMapEnv", configMapEnv},
		{"ConfigMapVolume", configMapVolume}, {"NeverPull", neverPull}, {"PullBackOff", pullBackOff}, {"PreStop", preStop},
		{"TerminationMessage", terminationMessageOf}, {"Deadline", deadline}, {"ImageChange", imageChange}, {"HostNetwork", hostNetwork},
		{"ReadinessGate", readinessGate}, {"Environment", environment},
		{"Resize", resizeInPlace}, {"ResizeWithRestart", resizeWithRestart}, {"ResizeThatDoesNotFit", resizeThatDoesNotFit},
	}
	both(t, func(t *testing.T, w *world) {
		w.cri.setUp()
		t.Run("pods", func(t *testing.T) {
			for _, c := range contracts {
				t.Run(c.name, func(t *testing.T) { t.Parallel(); c.run(t, w.with(t)) })
			}
		})
	})
}

// with is the same world for another test.
func (w *world) with(t *testing.T) *world {
	next := *w
	next.t, next.ctx = t, t.Context()
	return &next
}

// fake is the fake runtime, or nil.
type fake struct{ *crifake.Runtime }

func (f *fake) setUp() {
	if f == nil {
		return
	}
	f.AddImage("docker.io/library/app:v2")
	f.Behave = func(c *runtimev1.ContainerConfig) crifake.Behaviour {
		env := envOf(c)
		var b crifake.Behaviour
		if code, err := strconv.Atoi(env["FAKE_EXIT"]); err == nil {
			after, _ := time.ParseDuration(env["FAKE_AFTER"])
			b.ExitAfter, b.ExitCode = max(after, time.Millisecond), int32(code)
		}
		b.Log, b.Message = env["FAKE_LOG"], env["FAKE_MESSAGE"]
		return b
	}
	f.OnExec = func(c *runtimev1.ContainerConfig, cmd []string) (string, int32) {
		// cat of a file in a volume, or true and false.
		switch cmd[0] {
		case "false":
			return "", 1
		case "cat", "touch":
			for _, m := range c.Mounts {
				rel, ok := strings.CutPrefix(cmd[1], m.ContainerPath+"/")
				if !ok {
					continue
				}
				path := filepath.Join(m.HostPath, rel)
				if cmd[0] == "touch" {
					return "", btoi(os.WriteFile(path, nil, 0o644) != nil)
				}
				data, err := os.ReadFile(path)
				return string(data), btoi(err != nil)
			}
			return "no such file", 1
		}
		return "", 0
	}
	f.OnPull = func(image string, _ *runtimev1.AuthConfig) error {
		return fmt.Errorf("failed to pull and unpack image %q: connection refused", image)
	}
}

func btoi(b bool) int32 {
	if b {
		return 1
	}
	return 0
}

func envOf(c *runtimev1.ContainerConfig) map[string]string {
	env := map[string]string{}
	for _, e := range c.Envs {
		env[e.Key] = string(e.Value)
	}
	return env
}

// script makes a container that runs a shell script, which the fake is told
// in its own words.
func script(c *corev1.Container, shell string, fake ...string) {
	c.Command = []string{"sh", "-c", shell}
	for _, f := range fake {
		name, value, _ := strings.Cut(f, "=")
		c.Env = append(c.Env, corev1.EnvVar{Name: name, Value: value})
	}
}

func container(name, shell string, fake ...string) corev1.Container {
	c := corev1.Container{Name: name, Image: "app", ImagePullPolicy: corev1.PullIfNotPresent}
	script(&c, shell, fake...)
	return c
}

func restartPolicy(p corev1.RestartPolicy) func(*corev1.Pod) {
	return func(pod *corev1.Pod) { pod.Spec.RestartPolicy = p }
}

func runs(shell string, fake ...string) func(*corev1.Pod) {
	return func(p *corev1.Pod) { script(&p.Spec.Containers[0], shell, fake...) }
}

func phase(want corev1.PodPhase) func(*corev1.Pod) bool {
	return func(p *corev1.Pod) bool { return p != nil && p.Status.Phase == want }
}

func waiting(reason string) func(*corev1.Pod) bool {
	return func(p *corev1.Pod) bool {
		return p != nil && len(p.Status.ContainerStatuses) > 0 && p.Status.ContainerStatuses[0].State.Waiting != nil &&
			p.Status.ContainerStatuses[0].State.Waiting.Reason == reason
	}
}

func condition(p *corev1.Pod, kind corev1.PodConditionType) corev1.PodCondition {
	for _, c := range p.Status.Conditions {
		if c.Type == kind {
			return c
		}
	}
	return corev1.PodCondition{}
}

// wantEvent waits for an event about a pod.
func (w *world) wantEvent(pod, event string) {
	w.t.Helper()
	eventually(w.t, "event "+event, func() bool { return slices.Contains(w.events(pod), event) })
}

func crashLoop(t *testing.T, w *world) {
	w.create(appPod("crash", runs("exit 3", "FAKE_EXIT=3")))
	p := w.until("crash", "in back-off", waiting("CrashLoopBackOff"))
	s := p.Status.ContainerStatuses[0]
	want := fmt.Sprintf("back-off 10s restarting failed container=crash pod=crash_default(%s)", p.UID)
	if s.State.Waiting.Message != want {
		t.Errorf("message %q, want %q", s.State.Waiting.Message, want)
	}
	if last := s.LastTerminationState.Terminated; s.RestartCount != 1 || last == nil || last.ExitCode != 3 || last.Reason != "Error" {
		t.Errorf("status: %+v", s)
	}
	if p.Status.Phase != corev1.PodRunning {
		t.Errorf("phase %s", p.Status.Phase)
	}
	w.wantEvent("crash", fmt.Sprintf("BackOff: Back-off restarting failed container crash in pod crash_default(%s)", p.UID))
}

func runsOnce(t *testing.T, w *world) {
	w.create(appPod("good", runs("exit 0", "FAKE_EXIT=0"), restartPolicy(corev1.RestartPolicyNever)))
	w.create(appPod("bad", runs("exit 7", "FAKE_EXIT=7"), restartPolicy(corev1.RestartPolicyNever)))
	p := w.until("good", "succeeded", phase(corev1.PodSucceeded))
	if end := p.Status.ContainerStatuses[0].State.Terminated; end == nil || end.Reason != "Completed" || end.ContainerID == "" {
		t.Errorf("state %+v", p.Status.ContainerStatuses[0].State)
	}
	if c := condition(p, corev1.PodReady); c.Status != corev1.ConditionFalse || c.Reason != "PodCompleted" {
		t.Errorf("Ready: %+v", c)
	}
	if c := condition(p, corev1.PodInitialized); c.Status != corev1.ConditionTrue || c.Reason != "PodCompleted" {
		t.Errorf("Initialized: %+v", c)
	}
	p = w.until("bad", "failed", phase(corev1.PodFailed))
	if end := p.Status.ContainerStatuses[0].State.Terminated; end == nil || end.ExitCode != 7 || end.Reason != "Error" {
		t.Errorf("state %+v", p.Status.ContainerStatuses[0].State)
	}
}

func initContainers(t *testing.T, w *world) {
	w.create(appPod("init", func(p *corev1.Pod) {
		p.Spec.InitContainers = []corev1.Container{
			container("first", "sleep 0.3", "FAKE_EXIT=0", "FAKE_AFTER=300ms"), container("second", "sleep 0.3", "FAKE_EXIT=0", "FAKE_AFTER=300ms"),
		}
	}))
	p := w.until("init", "at its second init container", func(p *corev1.Pod) bool {
		return p != nil && len(p.Status.InitContainerStatuses) == 2 && p.Status.InitContainerStatuses[1].State.Running != nil
	})
	if p.Status.InitContainerStatuses[0].State.Terminated == nil || !p.Status.InitContainerStatuses[0].Ready {
		t.Errorf("first: %+v", p.Status.InitContainerStatuses[0])
	}
	if s := p.Status.ContainerStatuses[0].State.Waiting; s == nil || s.Reason != "PodInitializing" || p.Status.Phase != corev1.PodPending {
		t.Errorf("app: %+v", p.Status)
	}
	if c := condition(p, corev1.PodInitialized); c.Status != corev1.ConditionFalse || c.Reason != "ContainersNotInitialized" || c.Message != "containers with incomplete status: [second]" {
		t.Errorf("Initialized: %+v", c)
	}
	w.until("init", "ready", ready)
}

func initFails(t *testing.T, w *world) {
	w.create(appPod("initfails", restartPolicy(corev1.RestartPolicyNever), func(p *corev1.Pod) {
		p.Spec.InitContainers = []corev1.Container{container("first", "exit 1", "FAKE_EXIT=1")}
	}))
	p := w.until("initfails", "failed", phase(corev1.PodFailed))
	if s := p.Status.ContainerStatuses[0].State.Waiting; s == nil || s.Reason != "PodInitializing" {
		t.Errorf("app: %+v", p.Status.ContainerStatuses[0].State)
	}
}

func sidecarOfJob(t *testing.T, w *world) {
	w.create(appPod("job", restartPolicy(corev1.RestartPolicyNever), runs("sleep 0.5", "FAKE_EXIT=0", "FAKE_AFTER=500ms"), func(p *corev1.Pod) {
		side := container("side", "trap 'exit 0' TERM; while true; do sleep 0.1; done")
		side.RestartPolicy = ptr.To(corev1.ContainerRestartPolicyAlways)
		p.Spec.InitContainers = []corev1.Container{side}
	}))
	w.until("job", "ready", ready)
	p := w.until("job", "succeeded", phase(corev1.PodSucceeded))
	eventually(t, "the sidecar has ended", func() bool {
		p, _ = w.client.CoreV1().Pods("default").Get(w.ctx, "job", metav1.GetOptions{})
		return p.Status.InitContainerStatuses[0].State.Terminated != nil
	})
}

func liveness(t *testing.T, w *world) {
	w.create(appPod("alive", func(p *corev1.Pod) {
		p.Spec.Containers[0].LivenessProbe = &corev1.Probe{
			ProbeHandler: corev1.ProbeHandler{Exec: &corev1.ExecAction{Command: []string{"false"}}}, PeriodSeconds: 1, FailureThreshold: 1,
		}
	}))
	p := w.until("alive", "restarted", func(p *corev1.Pod) bool {
		return p != nil && len(p.Status.ContainerStatuses) > 0 && p.Status.ContainerStatuses[0].RestartCount >= 1
	})
	if p.Status.ContainerStatuses[0].LastTerminationState.Terminated == nil {
		t.Errorf("status: %+v", p.Status.ContainerStatuses[0])
	}
	w.wantEvent("alive", "Unhealthy: Liveness probe failed: ")
	w.wantEvent("alive", "Killing: Container alive failed liveness probe, will be restarted")
}

func readiness(t *testing.T, w *world) {
	w.create(appPod("probed", func(p *corev1.Pod) {
		p.Spec.Volumes = []corev1.Volume{{Name: "v", VolumeSource: corev1.VolumeSource{EmptyDir: &corev1.EmptyDirVolumeSource{}}}}
		p.Spec.Containers[0].VolumeMounts = []corev1.VolumeMount{{Name: "v", MountPath: "/v"}}
		p.Spec.Containers[0].ReadinessProbe = &corev1.Probe{
			ProbeHandler: corev1.ProbeHandler{Exec: &corev1.ExecAction{Command: []string{"cat", "/v/ready"}}}, PeriodSeconds: 1, FailureThreshold: 1,
		}
	}))
	p := w.until("probed", "running", phase(corev1.PodRunning))
	if ready(p) || p.Status.ContainerStatuses[0].Ready {
		t.Errorf("ready without its file: %+v", p.Status)
	}
	file := filepath.Join(w.options.RootDir, "pods", string(p.UID), "volumes", "kubernetes.io~empty-dir", "v", "ready")
	if err := os.WriteFile(file, nil, 0o644); err != nil {
		t.Fatal(err)
	}
	w.until("probed", "ready", ready)
	if err := os.Remove(file); err != nil {
		t.Fatal(err)
	}
	begun := time.Now()
	p = w.until("probed", "unready", func(p *corev1.Pod) bool { return !ready(p) })
	if took := time.Since(begun); took > 2500*time.Millisecond {
		t.Errorf("unready only after %v", took)
	}
	if c := condition(p, corev1.PodReady); c.Reason != "ContainersNotReady" || c.Message != "containers with unready status: [probed]" {
		t.Errorf("Ready: %+v", c)
	}
}

func (w *world) configMap(name string, data map[string]string) {
	w.t.Helper()
	_, err := w.client.CoreV1().ConfigMaps("default").Create(w.ctx, &corev1.ConfigMap{ObjectMeta: metav1.ObjectMeta{Name: name}, Data: data}, metav1.CreateOptions{})
	if err != nil {
		w.t.Fatal(err)
	}
}

func configMapEnv(t *testing.T, w *world) {
	w.create(appPod("needy", func(p *corev1.Pod) {
		p.Spec.Containers[0].EnvFrom = []corev1.EnvFromSource{{ConfigMapRef: &corev1.ConfigMapEnvSource{LocalObjectReference: corev1.LocalObjectReference{Name: "late"}}}}
	}))
	p := w.until("needy", "waiting for its config map", waiting("CreateContainerConfigError"))
	if m := p.Status.ContainerStatuses[0].State.Waiting.Message; m != `configmap "late" not found` {
		t.Errorf("message %q", m)
	}
	w.wantEvent("needy", `Failed: Error: configmap "late" not found`)
	w.configMap("late", map[string]string{"A": "1"})
	begun := time.Now()
	w.until("needy", "ready", ready)
	if took := time.Since(begun); took > 2*time.Second {
		t.Errorf("ready only %v after the config map came", took)
	}
}

func configMapVolume(t *testing.T, w *world) {
	w.configMap("files", map[string]string{"a": "one"})
	w.create(appPod("reader", func(p *corev1.Pod) {
		p.Spec.Volumes = []corev1.Volume{{Name: "v", VolumeSource: corev1.VolumeSource{ConfigMap: &corev1.ConfigMapVolumeSource{LocalObjectReference: corev1.LocalObjectReference{Name: "files"}}}}}
		p.Spec.Containers[0].VolumeMounts = []corev1.VolumeMount{{Name: "v", MountPath: "/v"}}
	}))
	p := w.until("reader", "ready", ready)
	file := filepath.Join(w.options.RootDir, "pods", string(p.UID), "volumes", "kubernetes.io~configmap", "v", "a")
	if data, err := os.ReadFile(file); err != nil || string(data) != "one" {
		t.Fatalf("file: %q, %v", data, err)
	}
	cm, err := w.client.CoreV1().ConfigMaps("default").Get(w.ctx, "files", metav1.GetOptions{})
	if err != nil {
		t.Fatal(err)
	}
	cm.Data["a"] = "two"
	if _, err := w.client.CoreV1().ConfigMaps("default").Update(w.ctx, cm, metav1.UpdateOptions{}); err != nil {
		t.Fatal(err)
	}
	eventually(t, "the file follows the config map", func() bool {
		data, err := os.ReadFile(file)
		return err == nil && string(data) == "two"
	})
}

func neverPull(t *testing.T, w *world) {
	w.create(appPod("never", func(p *corev1.Pod) {
		p.Spec.Containers[0].Image, p.Spec.Containers[0].ImagePullPolicy = "absent", corev1.PullNever
	}))
	p := w.until("never", "without image", waiting("ErrImageNeverPull"))
	if m := p.Status.ContainerStatuses[0].State.Waiting.Message; m != `Container image "absent" is not present with pull policy of Never` {
		t.Errorf("message %q", m)
	}
}

func pullBackOff(t *testing.T, w *world) {
	const image = "127.0.0.1:1/absent:v1"
	w.create(appPod("pulling", func(p *corev1.Pod) { p.Spec.Containers[0].Image = image }))
	p := w.until("pulling", "failing to pull", waiting("ErrImagePull"))
	if m := p.Status.ContainerStatuses[0].State.Waiting.Message; !strings.Contains(m, "connection refused") {
		t.Errorf("message %q", m)
	}
	p = w.until("pulling", "in back-off", waiting("ImagePullBackOff"))
	if m := p.Status.ContainerStatuses[0].State.Waiting.Message; !strings.HasPrefix(m, fmt.Sprintf("Back-off pulling image %q: ErrImagePull: ", image)) {
		t.Errorf("message %q", m)
	}
	w.wantEvent("pulling", fmt.Sprintf("Pulling: Pulling image %q", image))
	w.wantEvent("pulling", "Failed: Error: ErrImagePull")
	w.wantEvent("pulling", "Failed: Error: ImagePullBackOff")
	w.wantEvent("pulling", fmt.Sprintf("BackOff: Back-off pulling image %q", image))
}

func preStop(t *testing.T, w *world) {
	dir := t.TempDir()
	w.create(appPod("polite", func(p *corev1.Pod) {
		p.Spec.Volumes = []corev1.Volume{{Name: "v", VolumeSource: corev1.VolumeSource{HostPath: &corev1.HostPathVolumeSource{Path: dir}}}}
		p.Spec.Containers[0].VolumeMounts = []corev1.VolumeMount{{Name: "v", MountPath: "/v"}}
		p.Spec.Containers[0].Lifecycle = &corev1.Lifecycle{
			PostStart: &corev1.LifecycleHandler{Exec: &corev1.ExecAction{Command: []string{"touch", "/v/started"}}},
			PreStop:   &corev1.LifecycleHandler{Exec: &corev1.ExecAction{Command: []string{"touch", "/v/stopping"}}},
		}
	}))
	w.until("polite", "ready", ready)
	if _, err := os.Stat(filepath.Join(dir, "started")); err != nil {
		t.Errorf("postStart did not run: %v", err)
	}
	if err := w.client.CoreV1().Pods("default").Delete(w.ctx, "polite", metav1.DeleteOptions{}); err != nil {
		t.Fatal(err)
	}
	w.until("polite", "gone", gone)
	if _, err := os.Stat(filepath.Join(dir, "stopping")); err != nil {
		t.Errorf("preStop did not run: %v", err)
	}
}

func terminationMessageOf(t *testing.T, w *world) {
	w.create(appPod("lastword", runs("echo -n bye > /dev/termination-log; exit 1", "FAKE_EXIT=1", "FAKE_MESSAGE=bye"), restartPolicy(corev1.RestartPolicyNever)))
	w.create(appPod("lastlog", runs("echo from the log; exit 1", "FAKE_EXIT=1", "FAKE_LOG=from the log\n"), restartPolicy(corev1.RestartPolicyNever), func(p *corev1.Pod) {
		p.Spec.Containers[0].TerminationMessagePolicy = corev1.TerminationMessageFallbackToLogsOnError
	}))
	p := w.until("lastword", "failed", phase(corev1.PodFailed))
	if end := p.Status.ContainerStatuses[0].State.Terminated; end == nil || end.Message != "bye" {
		t.Errorf("state %+v", end)
	}
	p = w.until("lastlog", "failed", phase(corev1.PodFailed))
	if end := p.Status.ContainerStatuses[0].State.Terminated; end == nil || end.Message != "from the log\n" {
		t.Errorf("state %+v", end)
	}
}

func deadline(t *testing.T, w *world) {
	w.create(appPod("late", func(p *corev1.Pod) { p.Spec.ActiveDeadlineSeconds = ptr.To[int64](1) }))
	p := w.until("late", "failed", phase(corev1.PodFailed))
	if p.Status.Reason != "DeadlineExceeded" || p.Status.Message != "Pod was active on the node longer than the specified deadline" {
		t.Errorf("reason %q, message %q", p.Status.Reason, p.Status.Message)
	}
}

func imageChange(t *testing.T, w *world) {
	w.create(appPod("two", func(p *corev1.Pod) {
		p.Spec.Containers = append(p.Spec.Containers, container("other", "sleep 100000"))
	}))
	before := w.until("two", "ready", ready)
	before = before.DeepCopy()
	before.Spec.Containers[0].Image = "app:v2"
	if _, err := w.client.CoreV1().Pods("default").Update(w.ctx, before, metav1.UpdateOptions{}); err != nil {
		t.Fatal(err)
	}
	p := w.until("two", "running the new image", func(p *corev1.Pod) bool {
		return ready(p) && p.Status.ContainerStatuses[0].RestartCount == 1 && strings.HasSuffix(p.Status.ContainerStatuses[0].Image, ":v2")
	})
	if diff := cmp.Diff(before.Status.ContainerStatuses[1].ContainerID, p.Status.ContainerStatuses[1].ContainerID); diff != "" {
		t.Errorf("the other container was replaced: %s", diff)
	}
	w.wantEvent("two", "Killing: Container two definition changed, will be restarted")
}

func hostNetwork(t *testing.T, w *world) {
	w.create(appPod("hosted", func(p *corev1.Pod) { p.Spec.HostNetwork = true }))
	p := w.until("hosted", "ready", ready)
	if p.Status.PodIP != w.options.NodeIP.String() {
		t.Errorf("address %q, not the node's", p.Status.PodIP)
	}
}

func readinessGate(t *testing.T, w *world) {
	w.create(appPod("gated", func(p *corev1.Pod) {
		p.Spec.ReadinessGates = []corev1.PodReadinessGate{{ConditionType: "example.com/go"}}
	}))
	p := w.until("gated", "held by its gate", func(p *corev1.Pod) bool {
		return p != nil && condition(p, corev1.ContainersReady).Status == corev1.ConditionTrue && !ready(p)
	})
	if c := condition(p, corev1.PodReady); c.Reason != "ReadinessGatesNotReady" || c.Message != `corresponding condition of pod readiness gate "example.com/go" does not exist.` {
		t.Errorf("Ready: %+v", c)
	}
	p = p.DeepCopy()
	p.Status.Conditions = append(p.Status.Conditions, corev1.PodCondition{Type: "example.com/go", Status: corev1.ConditionTrue})
	if _, err := w.client.CoreV1().Pods("default").UpdateStatus(w.ctx, p, metav1.UpdateOptions{}); err != nil {
		t.Fatal(err)
	}
	p = w.until("gated", "ready", ready)
	if condition(p, "example.com/go").Status != corev1.ConditionTrue {
		t.Error("the gate's condition was lost")
	}
}

func environment(t *testing.T, w *world) {
	w.create(appPod("downward", restartPolicy(corev1.RestartPolicyNever), runs("env > /out/env; hostname > /out/hostname; cat /etc/hosts > /out/hosts", "FAKE_EXIT=0"), func(p *corev1.Pod) {
		p.Spec.Volumes = []corev1.Volume{{Name: "out", VolumeSource: corev1.VolumeSource{HostPath: &corev1.HostPathVolumeSource{Path: t.TempDir()}}}}
		c := &p.Spec.Containers[0]
		c.VolumeMounts = []corev1.VolumeMount{{Name: "out", MountPath: "/out"}}
		c.Env = append(c.Env,
			corev1.EnvVar{Name: "IP", ValueFrom: &corev1.EnvVarSource{FieldRef: &corev1.ObjectFieldSelector{APIVersion: "v1", FieldPath: "status.podIP"}}},
			corev1.EnvVar{Name: "GREETING", Value: "hello $(IP) $$(IP) $(NONE)"})
		p.Spec.Hostname, p.Spec.Subdomain = "me", "sub"
		p.Spec.HostAliases = []corev1.HostAlias{{IP: "192.0.2.7", Hostnames: []string{"seven"}}}
	}))
	p := w.until("downward", "succeeded", phase(corev1.PodSucceeded))
	if w.cri != nil {
		return // nothing was really run
	}
	dir := p.Spec.Volumes[0].HostPath.Path
	for file, want := range map[string]string{
		"env":      "GREETING=hello " + p.Status.PodIP + " $(IP) $(NONE)\n",
		"hostname": "me\n",
		"hosts":    p.Status.PodIP + "\tme.sub.default.svc.cluster.local\tme\n\n# Entries added by HostAliases.\n192.0.2.7\tseven\n",
	} {
		data, err := os.ReadFile(filepath.Join(dir, file))
		if err != nil || !strings.Contains(string(data), want) {
			t.Errorf("%s is %q (%v), want in it %q", file, data, err, want)
		}
	}
}
