package e2e

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	batchv1 "k8s.io/api/batch/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

// answering is a ReplicationController or ReplicaSet of servers.
const answering = `
apiVersion: %[1]s
kind: %[2]s
metadata: {name: %[3]s}
spec:
  replicas: 2
  selector: %[4]s
  template:
    metadata: {labels: {app: %[3]s}}
    spec:
      terminationGracePeriodSeconds: 1
      containers:
      - name: main
        image: workload
        imagePullPolicy: IfNotPresent
        args: [serve, --http, "8080", --tcp, "8081", --udp, "8082"]
        readinessProbe: {httpGet: {path: /healthz, port: 8080}, periodSeconds: 1}
`

// TestReplicasAnswer asks each replica by HTTP, TCP and UDP.
func TestReplicasAnswer(t *testing.T) {
	t.Parallel()
	n := newNamespace(t)
	n.apply(fmt.Sprintf(answering, "v1", "ReplicationController", "rc", "{app: rc}") + "---" +
		fmt.Sprintf(answering, "apps/v1", "ReplicaSet", "rs", "{matchLabels: {app: rs}}"))
	for _, app := range []string{"rc", "rs"} {
		pods := n.awaitReady("app="+app, 2)
		for i, p := range pods {
			asker := pods[1-i].Name
			for _, question := range [][]string{{"get", "http://" + p.Status.PodIP + ":8080/hostname"}, {"tcp", p.Status.PodIP + ":8081"}, {"udp", p.Status.PodIP + ":8082"}} {
				if out := n.exec(asker, append([]string{"workload"}, question...)...); !strings.Contains(out, p.Name) {
					t.Errorf("%s answers %v with %q", p.Name, question, out)
				}
			}
		}
	}
}

const rollingController = `
apiVersion: v1
kind: ReplicationController
metadata: {name: %[1]s}
spec:
  replicas: 3
  selector: {app: %[1]s}
  template:
    metadata: {labels: {app: %[1]s, tier: web}}
    spec:
      terminationGracePeriodSeconds: 1
      containers:
      - name: main
        image: workload
        imagePullPolicy: IfNotPresent
        args: [serve]
        readinessProbe: {httpGet: {path: /healthz, port: 8080}, periodSeconds: 1}
        lifecycle: {preStop: {sleep: {seconds: 1}}}
`

// keepAsking asks a server until the test ends, and counts the answers that do not begin as they should.
func keepAsking(t *testing.T, url, prefix string) (asked, failed *atomic.Int32) {
	asked, failed = &atomic.Int32{}, &atomic.Int32{}
	stop, done := make(chan struct{}), make(chan struct{})
	t.Cleanup(func() {
		close(stop)
		<-done
	})
	go func() {
		defer close(done)
		for {
			select {
			case <-stop:
				return
			default:
			}
			if out := fetch(t, url); !strings.HasPrefix(out, prefix) {
				failed.Add(1)
				t.Logf("%s answered %q", url, out)
			}
			asked.Add(1)
		}
	}()
	return asked, failed
}

const rollingService = `
apiVersion: v1
kind: Service
metadata: {name: web}
spec:
  selector: {tier: web}
  ports: [{port: 80, targetPort: 8080}]
`

func TestS06RollingUpdate(t *testing.T) {
	t.Parallel()
	n := newNamespace(t)
	n.apply(fmt.Sprintf(rollingController, "myweb") + "---" + rollingService)
	n.awaitReady("tier=web", 3)
	url := "http://" + n.kubectl("get", "service", "web", "-o", "jsonpath={.spec.clusterIP}")
	n.eventually("the service to answer", func() (bool, string) {
		out := fetch(t, url+"/hostname")
		return strings.HasPrefix(out, "myweb-"), out
	})
	ctx, cancel := context.WithTimeout(t.Context(), 3*time.Minute)
	defer cancel()
	asked, failed := keepAsking(t, url+"/hostname", "myweb")
	update := func(ctx context.Context, old, file string) (string, error) {
		cmd := exec.CommandContext(ctx, filepath.Join(suite.project, "bin", "kubectl"), "rolling-update", old, "-f", file, "-n", n.name) // a plugin's name comes before flags
		cmd.Env = append(os.Environ(), "KUBECONFIG="+suite.kubeconfig, "PATH="+filepath.Join(suite.project, "bin")+":"+os.Getenv("PATH"))
		cmd.Cancel = func() error { return cmd.Process.Signal(os.Interrupt) }
		out, err := cmd.CombinedOutput()
		return string(out), err
	}
	second := writeFile(t, fmt.Sprintf(rollingController, "myweb-2"))
	interrupted, interrupt := context.WithCancel(ctx)
	type result struct {
		out string
		err error
	}
	ended := make(chan result, 1)
	go func() {
		out, err := update(interrupted, "myweb", second)
		ended <- result{out, err}
	}()
	n.awaitPods("app=myweb-2", "begun", func(pods []corev1.Pod) bool { return len(pods) > 0 })
	interrupt()
	if r := <-ended; r.err == nil {
		t.Errorf("the interrupted update succeeded: %s", r.out)
	}
	if out, err := update(ctx, "myweb", second); err != nil || !strings.Contains(out, "resuming") || !strings.Contains(out, `replicationcontroller "myweb-2" rolling updated`) {
		t.Fatalf("the resumed update: %v: %s", err, out)
	}
	n.awaitReady("app=myweb-2", 3)
	n.refused([]string{"get", "rc", "myweb"}, "not found")
	if out, err := update(ctx, "myweb-2", writeFile(t, fmt.Sprintf(rollingController, "myweb"))); err != nil {
		t.Fatalf("back again: %v: %s", err, out)
	}
	n.awaitReady("app=myweb", 3)
	n.refused([]string{"get", "rc", "myweb-2"}, "not found")
	if asked.Load() < 10 || failed.Load() > 0 {
		t.Errorf("of %d questions to the service %d failed", asked.Load(), failed.Load())
	}
}

const stateful = `
apiVersion: v1
kind: Service
metadata: {name: web}
spec: {clusterIP: None, selector: {app: web}, ports: [{port: 8080}]}
---
apiVersion: apps/v1
kind: StatefulSet
metadata: {name: web}
spec:
  serviceName: web
  replicas: 3
  selector: {matchLabels: {app: web}}
  template:
    metadata: {labels: {app: web}}
    spec:
      terminationGracePeriodSeconds: 1
      containers:
      - name: main
        image: workload
        imagePullPolicy: IfNotPresent
        args: [serve]
        readinessProbe: {httpGet: {path: /healthz, port: 8080}, periodSeconds: 1}
        volumeMounts: [{name: data, mountPath: /data}]
  volumeClaimTemplates:
  - metadata: {name: data}
    spec: {accessModes: [ReadWriteOnce], resources: {requests: {storage: 1Mi}}}
`

func TestS16StatefulSet(t *testing.T) {
	t.Parallel()
	n := newNamespace(t)
	// In order: none is made while one below it is not ready.
	complete := false
	watchPods(n, func(pods map[string]*corev1.Pod) string {
		complete = complete || len(pods) == 3
		for i := 1; i < len(pods) && !complete; i++ {
			if p := pods[fmt.Sprint("web-", i-1)]; p == nil || !ready(p) {
				return fmt.Sprintf("web-%d is there, and web-%d is not ready", i, i-1)
			}
		}
		return ""
	})
	n.apply(stateful)
	pods := n.awaitReady("app=web", 3)
	slices.SortFunc(pods, func(a, b corev1.Pod) int { return strings.Compare(a.Name, b.Name) })
	for i, p := range pods {
		if p.Name != fmt.Sprint("web-", i) || p.Spec.Hostname != p.Name {
			t.Errorf("pod %d is %s with host name %s", i, p.Name, p.Spec.Hostname)
		}
		n.exec(p.Name, "sh", "-c", "hostname > /data/owner")
	}
	n.eventually("a pod to know another by name", func() (bool, string) {
		out, err := n.try("exec", "web-0", "--", "workload", "get", "http://web-1.web:8080/hostname")
		return err == nil && strings.Contains(out, "web-1"), fmt.Sprint(out, err)
	})
	owner := func(pod string) {
		t.Helper()
		if got := strings.TrimSpace(n.exec(pod, "cat", "/data/owner")); got != pod {
			t.Errorf("%s has the volume of %s", pod, got)
		}
	}
	was := pods[1].UID
	n.kubectl("delete", "pod", "web-1")
	n.awaitPod("web-1", "back", func(p *corev1.Pod) bool { return p.UID != was && ready(p) })
	owner("web-1")

	n.kubectl("scale", "statefulset", "web", "--replicas=1")
	n.awaitReady("app=web", 1)
	if claims := strings.Fields(n.kubectl("get", "pvc", "-o", "name")); len(claims) != 3 {
		t.Errorf("after scaling down the claims are %v", claims)
	}
	n.kubectl("scale", "statefulset", "web", "--replicas=3")
	n.awaitReady("app=web", 3)
	owner("web-2")

	n.kubectl("patch", "statefulset", "web", "-p", `{"spec":{"updateStrategy":{"rollingUpdate":{"partition":2}}}}`)
	n.kubectl("set", "image", "statefulset/web", "main=workload:v2")
	n.awaitPod("web-2", "updated", func(p *corev1.Pod) bool { return p.Spec.Containers[0].Image == "workload:v2" && ready(p) })
	for _, p := range n.awaitReady("app=web", 3) {
		if p.Name != "web-2" && p.Spec.Containers[0].Image != "workload" {
			t.Errorf("%s is below the partition and runs %s", p.Name, p.Spec.Containers[0].Image)
		}
	}
	n.kubectl("patch", "statefulset", "web", "-p", `{"spec":{"updateStrategy":{"rollingUpdate":{"partition":0}}}}`)
	n.kubectl("rollout", "status", "statefulset/web", "--timeout=80s")
	n.kubectl("rollout", "undo", "statefulset/web")
	n.kubectl("rollout", "status", "statefulset/web", "--timeout=80s")
	for _, p := range n.awaitReady("app=web", 3) {
		if p.Spec.Containers[0].Image != "workload" {
			t.Errorf("after undo %s runs %s", p.Name, p.Spec.Containers[0].Image)
		}
	}

	n.kubectl("patch", "statefulset", "web", "-p", `{"spec":{"persistentVolumeClaimRetentionPolicy":{"whenScaled":"Delete","whenDeleted":"Delete"}}}`)
	n.kubectl("scale", "statefulset", "web", "--replicas=2")
	n.eventually("the claim to go with its pod", func() (bool, string) {
		out := n.kubectl("get", "pvc", "-o", "name")
		return len(strings.Fields(out)) == 2, out
	})
	n.kubectl("delete", "statefulset", "web")
	n.eventually("the claims to go with their set", func() (bool, string) {
		out := n.kubectl("get", "pods,pvc", "-o", "name")
		return out == "", out
	})
}

func TestS16Parallel(t *testing.T) {
	t.Parallel()
	n := newNamespace(t)
	_, set, _ := strings.Cut(stateful, "---")
	set, _, _ = strings.Cut(set, "  volumeClaimTemplates:")
	set = strings.Replace(set, "        volumeMounts: [{name: data, mountPath: /data}]\n", "", 1)
	// None is ever ready, so that an ordered set would stop at its first.
	set = strings.Replace(strings.Replace(set, "path: /healthz", "path: /none", 1), "replicas: 3", "replicas: 3\n  podManagementPolicy: Parallel", 1)
	n.apply(set)
	n.awaitPods("app=web", "all running", func(pods []corev1.Pod) bool {
		return len(pods) == 3 && !slices.ContainsFunc(pods, func(p corev1.Pod) bool { return p.Status.Phase != corev1.PodRunning })
	})
	n.kubectl("scale", "statefulset", "web", "--replicas=0")
	n.awaitReady("app=web", 0)
}

// jobOf is a job of a shell script, with lines of its specification.
func jobOf(name, script string, lines ...string) string {
	return fmt.Sprintf(`
apiVersion: batch/v1
kind: Job
metadata: {name: %s}
spec:
  %s
  template:
    spec:
      restartPolicy: Never
      terminationGracePeriodSeconds: 1
      containers: [{name: main, image: busybox, imagePullPolicy: IfNotPresent, command: [sh, -c, %q]}]
---`, name, strings.Join(lines, "\n  "), script)
}

// awaitJob waits until a job has ended in a condition, with a reason unless that is empty.
func (n *namespace) awaitJob(name string, kind batchv1.JobConditionType, reason string) *batchv1.Job {
	n.t.Helper()
	var j *batchv1.Job
	n.eventually(fmt.Sprintf("job %s to be %s", name, kind), func() (bool, string) {
		var err error
		if j, err = suite.client.BatchV1().Jobs(n.name).Get(n.t.Context(), name, metav1.GetOptions{}); err != nil {
			return false, err.Error()
		}
		for _, c := range j.Status.Conditions {
			if c.Type == kind && c.Status == corev1.ConditionTrue {
				return reason == "" || c.Reason == reason, c.Reason
			}
		}
		return false, fmt.Sprintf("%+v", j.Status)
	})
	return j
}

func TestS21Jobs(t *testing.T) {
	t.Parallel()
	n := newNamespace(t)
	n.apply(jobOf("one", "echo done") +
		jobOf("many", "true", "completions: 5", "parallelism: 2") +
		jobOf("queue", "test ! -e /none", "parallelism: 2") +
		jobOf("indexed", "test $JOB_COMPLETION_INDEX = ${HOSTNAME#indexed-}", "completions: 3", "parallelism: 3", "completionMode: Indexed", "backoffLimit: 0") +
		jobOf("failing", "exit 3", "backoffLimit: 1") +
		jobOf("slow", "sleep 3600", "activeDeadlineSeconds: 2") +
		jobOf("passing", "true", "ttlSecondsAfterFinished: 1") +
		jobOf("suspended", "true", "suspend: true") +
		jobOf("policy", "exit 42", "backoffLimit: 6", "podFailurePolicy: {rules: [{action: FailJob, onExitCodes: {operator: In, values: [42]}}]}") +
		jobOf("enough", "test $JOB_COMPLETION_INDEX = 0 || sleep 3600", "completions: 2", "parallelism: 2", "completionMode: Indexed", "successPolicy: {rules: [{succeededIndexes: '0'}]}"))
	n.kubectl("wait", "--for=condition=complete", "job/one", "--timeout=80s")
	if out := n.kubectl("logs", "job/one"); out != "done\n" {
		t.Errorf("the log of the job is %q", out)
	}
	for name, want := range map[string]int32{"one": 1, "many": 5, "queue": 2, "indexed": 3} {
		if j := n.awaitJob(name, batchv1.JobComplete, "CompletionsReached"); j.Status.Succeeded != want || j.Status.Failed != 0 {
			t.Errorf("%s: %d succeeded, %d failed, want %d and none", name, j.Status.Succeeded, j.Status.Failed, want)
		}
	}
	if j := n.awaitJob("failing", batchv1.JobFailed, "BackoffLimitExceeded"); j.Status.Failed != 2 {
		t.Errorf("%d pods of the failing job are counted, want 2", j.Status.Failed)
	}
	n.awaitJob("slow", batchv1.JobFailed, "DeadlineExceeded")
	if j := n.awaitJob("policy", batchv1.JobFailed, "PodFailurePolicy"); j.Status.Failed != 1 {
		t.Errorf("%d pods failed before the policy was applied", j.Status.Failed)
	}
	if j := n.awaitJob("enough", batchv1.JobComplete, "SuccessPolicy"); j.Status.CompletedIndexes != "0" {
		t.Errorf("the indexes completed are %q", j.Status.CompletedIndexes)
	}
	n.eventually("the job to go when its time is over", func() (bool, string) {
		out, err := n.try("get", "job", "passing")
		return err != nil && strings.Contains(err.Error(), "not found"), out
	})
	if pods := n.kubectl("get", "pods", "-l", "job-name=suspended", "-o", "name"); pods != "" {
		t.Errorf("the suspended job has pods %s", pods)
	}
	n.kubectl("patch", "job", "suspended", "-p", `{"spec":{"suspend":false}}`)
	n.awaitJob("suspended", batchv1.JobComplete, "")
}

const cronJob = `
apiVersion: batch/v1
kind: CronJob
metadata: {name: %s}
spec:
  schedule: "%s"
  timeZone: Etc/UTC
  jobTemplate:
    spec:
      template:
        spec:
          restartPolicy: Never
          containers: [{name: main, image: busybox, imagePullPolicy: IfNotPresent, command: ["true"]}]
`

func TestS21CronJob(t *testing.T) {
	t.Parallel()
	n := newNamespace(t)
	// The one is due every minute, the other at a time that is far off.
	n.apply(fmt.Sprintf(cronJob, "tick", "* * * * *"))
	far := time.Now().UTC().Add(-time.Hour)
	n.apply(fmt.Sprintf(cronJob, "rare", fmt.Sprintf("%d %d * * *", far.Minute(), far.Hour())))
	if out := n.kubectl("get", "cj"); !lineWith(out, "tick", "* * * * *", "Etc/UTC", "False") {
		t.Errorf("the cron jobs are\n%s", out)
	}
	n.kubectl("create", "job", "--from=cronjob/rare", "by-hand")
	n.awaitJob("by-hand", batchv1.JobComplete, "")
	n.eventually("a job to be started by schedule", func() (bool, string) {
		out := n.kubectl("get", "cronjob", "tick", "-o", "jsonpath={.status.lastSuccessfulTime}")
		return out != "", n.kubectl("get", "jobs")
	})
	if jobs := n.kubectl("get", "jobs", "-o", "name"); strings.Contains(jobs, "rare-") {
		t.Errorf("jobs are %s", jobs)
	}
}
