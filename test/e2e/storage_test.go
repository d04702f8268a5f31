package e2e

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	corev1 "k8s.io/api/core/v1"
)

// eventuallyPrints runs kubectl until it prints what is wanted.
func (n *namespace) eventuallyPrints(want string, args ...string) {
	n.t.Helper()
	n.eventually(fmt.Sprintf("kubectl %s to print %q", strings.Join(args, " "), want), func() (bool, string) {
		out, err := n.try(args...)
		return err == nil && strings.TrimSpace(out) == want, fmt.Sprint(out, err)
	})
}

// phase waits for the phase of a claim or volume.
func (n *namespace) phase(object, want string) {
	n.t.Helper()
	n.eventuallyPrints(want, "get", object, "-o", "jsonpath={.status.phase}")
}

func (n *namespace) eventuallyGone(object string) {
	n.t.Helper()
	n.eventuallyPrints("", "get", object, "--ignore-not-found")
}

// claimUser is a pod of another user than root that uses a claim.
func claimUser(name, claim string) string {
	return fmt.Sprintf(`
apiVersion: v1
kind: Pod
metadata: {name: %s}
spec:
  terminationGracePeriodSeconds: 1
  securityContext: {runAsUser: 1000, runAsGroup: 1000, fsGroup: 2000}
  containers:
  - name: main
    image: busybox
    imagePullPolicy: IfNotPresent
    command: [sleep, "3600"]
    volumeMounts: [{name: data, mountPath: /data}]
  volumes:
  - name: data
    persistentVolumeClaim: {claimName: %s}
`, name, claim)
}

func TestS17ClaimOfTheDefaultClass(t *testing.T) {
	t.Parallel()
	n := newNamespace(t)
	if out := n.kubectl("get", "storageclass"); !lineWith(out, "local-path (default)", "coracle.dev/local-path", "Delete", "WaitForFirstConsumer", "true") {
		t.Errorf("the storage classes are\n%s", out)
	}
	n.apply(`
apiVersion: v1
kind: PersistentVolumeClaim
metadata: {name: data}
spec:
  accessModes: [ReadWriteOnce]
  resources: {requests: {storage: 1Gi}}
`)
	n.awaitEvent("data", "WaitForFirstConsumer")
	n.phase("pvc/data", "Pending")
	n.apply(claimUser("writer", "data"))
	n.awaitPod("writer", "ready", ready)
	n.phase("pvc/data", "Bound")
	n.exec("writer", "sh", "-c", "echo kept > /data/file")
	if out := n.exec("writer", "stat", "-c", "%u:%g", "/data/file"); strings.TrimSpace(out) != "1000:2000" {
		t.Errorf("the file belongs to %s", out)
	}
	volume := strings.TrimSpace(n.kubectl("get", "pvc", "data", "-o", "jsonpath={.spec.volumeName}"))
	folder := strings.TrimSpace(n.kubectl("get", "pv", volume, "-o", "jsonpath={.spec.local.path}"))
	if data, err := os.ReadFile(filepath.Join(folder, "file")); err != nil || string(data) != "kept\n" {
		t.Errorf("on the node the file holds %q, %v", data, err)
	}
	if out := n.kubectl("get", "pvc"); !lineWith(out, "data", "Bound", volume, "1Gi", "RWO", "local-path") {
		t.Errorf("the claims are\n%s", out)
	}

	n.kubectl("patch", "pvc", "data", "-p", `{"spec":{"resources":{"requests":{"storage":"2Gi"}}}}`)
	n.eventuallyPrints("2Gi", "get", "pvc", "data", "-o", "jsonpath={.status.capacity.storage}")
	n.refused([]string{"patch", "pvc", "data", "-p", `{"spec":{"resources":{"requests":{"storage":"1Gi"}}}}`}, "field can not be less than")

	n.kubectl("delete", "pod", "writer")
	n.apply(claimUser("reader", "data"))
	n.awaitPod("reader", "ready", ready)
	if out := n.exec("reader", "cat", "/data/file"); out != "kept\n" {
		t.Errorf("the next pod reads %q", out)
	}

	// In use, it stays; then it goes with the volume and the folder.
	n.kubectl("delete", "pvc", "data", "--wait=false")
	if out := n.kubectl("get", "pvc", "data", "-o", "jsonpath={.metadata.deletionTimestamp} {.metadata.finalizers}"); !strings.Contains(out, "kubernetes.io/pvc-protection") || strings.HasPrefix(out, " ") {
		t.Errorf("a claim that is deleted in use is %q", out)
	}
	if out := n.exec("reader", "cat", "/data/file"); out != "kept\n" {
		t.Errorf("with the claim deleted, the pod reads %q", out)
	}
	n.kubectl("delete", "pod", "reader")
	n.eventuallyGone("pvc/data")
	n.eventuallyGone("pv/" + volume)
	n.eventually("the folder to be gone", func() (bool, string) {
		_, err := os.Stat(folder)
		return os.IsNotExist(err), fmt.Sprint(err)
	})
}

func TestS17VolumesByHand(t *testing.T) {
	t.Parallel()
	n := newNamespace(t)
	volume := func(name, policy string) (dir string) {
		t.Helper()
		dir = t.TempDir()
		if err := os.Chmod(dir, 0o777); err != nil {
			t.Fatal(err)
		}
		n.apply(fmt.Sprintf(`
apiVersion: v1
kind: PersistentVolume
metadata: {name: %s-%s}
spec:
  capacity: {storage: 1Gi}
  accessModes: [ReadWriteOnce]
  storageClassName: %s-%s
  persistentVolumeReclaimPolicy: %s
  hostPath: {path: %s, type: Directory}
---
apiVersion: v1
kind: PersistentVolumeClaim
metadata: {name: %s}
spec:
  accessModes: [ReadWriteOnce]
  storageClassName: %s-%s
  resources: {requests: {storage: 500Mi}}
`, n.name, name, n.name, name, policy, dir, name, n.name, name))
		t.Cleanup(func() {
			if _, err := n.command(t.Context(), "delete", "pv", n.name+"-"+name, "--ignore-not-found", "--wait=false").CombinedOutput(); err != nil && t.Context().Err() == nil {
				t.Error(err)
			}
		})
		n.phase("pvc/"+name, "Bound")
		n.phase("pv/"+n.name+"-"+name, "Bound")
		return dir
	}
	kept, emptied := volume("kept", "Retain"), volume("emptied", "Recycle")
	for claim, dir := range map[string]string{"kept": kept, "emptied": emptied} {
		n.apply(claimUser(claim, claim))
		n.awaitPod(claim, "ready", ready)
		n.exec(claim, "sh", "-c", "mkdir /data/.hidden && echo here > /data/.hidden/file")
		if data, err := os.ReadFile(filepath.Join(dir, ".hidden/file")); err != nil || string(data) != "here\n" {
			t.Errorf("on the node the file holds %q, %v", data, err)
		}
		n.kubectl("delete", "pod/"+claim, "pvc/"+claim)
	}
	n.phase("pv/"+n.name+"-kept", "Released")
	if _, err := os.Stat(filepath.Join(kept, ".hidden/file")); err != nil {
		t.Errorf("what is to be kept: %v", err)
	}
	n.phase("pv/"+n.name+"-emptied", "Available")
	if left, err := os.ReadDir(emptied); err != nil || len(left) > 0 {
		t.Errorf("what is to be emptied holds %v, %v", left, err)
	}
	n.kubectl("delete", "pv", n.name+"-kept", n.name+"-emptied")
}

func TestS17EphemeralClaim(t *testing.T) {
	t.Parallel()
	n := newNamespace(t)
	n.apply(`
apiVersion: v1
kind: Pod
metadata: {name: p}
spec:
  terminationGracePeriodSeconds: 1
  containers:
  - name: main
    image: busybox
    imagePullPolicy: IfNotPresent
    command: [sh, -c, "echo x > /data/file && sleep 3600"]
    volumeMounts: [{name: data, mountPath: /data}]
  volumes:
  - name: data
    ephemeral:
      volumeClaimTemplate:
        spec:
          accessModes: [ReadWriteOnce]
          resources: {requests: {storage: 1Gi}}
`)
	n.awaitPod("p", "running", func(p *corev1.Pod) bool { return p.Status.Phase == corev1.PodRunning })
	n.phase("pvc/p-data", "Bound")
	volume := strings.TrimSpace(n.kubectl("get", "pvc", "p-data", "-o", "jsonpath={.spec.volumeName}"))
	n.kubectl("delete", "pod", "p")
	n.eventuallyGone("pvc/p-data")
	n.eventuallyGone("pv/" + volume)
}

func TestS27Quota(t *testing.T) {
	t.Parallel()
	n := newNamespace(t)
	n.apply(`
apiVersion: v1
kind: ResourceQuota
metadata: {name: all}
spec:
  hard: {pods: "2", requests.cpu: 500m, services: "1", persistentvolumeclaims: "1", requests.storage: 2Gi, count/configmaps: "3"}
---
apiVersion: v1
kind: LimitRange
metadata: {name: range}
spec:
  limits:
  - {type: Container, defaultRequest: {cpu: 100m}, default: {cpu: 200m}, max: {cpu: 400m}, min: {cpu: 50m}, maxLimitRequestRatio: {cpu: "4"}}
`)
	used := func(name, want string) {
		t.Helper()
		n.eventuallyPrints(want, "get", "quota", "all", "-o", "jsonpath={.status.used."+strings.ReplaceAll(name, ".", `\.`)+"}")
	}
	used("pods", "0")
	pod := func(name, resources string) []string {
		return []string{"apply", "-f", writeFile(t, fmt.Sprintf(`
apiVersion: v1
kind: Pod
metadata: {name: %s}
spec:
  terminationGracePeriodSeconds: 1
  containers:
  - {name: main, image: busybox, imagePullPolicy: IfNotPresent, command: [sleep, "3600"], resources: %s}
`, name, resources))}
	}
	n.kubectl(pod("a", "{}")...)
	if out := n.kubectl("get", "pod", "a", "-o", "jsonpath={.spec.containers[0].resources.requests.cpu} {.spec.containers[0].resources.limits.cpu}"); out != "100m 200m" {
		t.Errorf("the defaults of a container are %q", out)
	}
	n.refused(pod("b", "{limits: {cpu: 500m}}"), "maximum cpu usage per Container is 400m, but limit is 500m")
	n.refused(pod("b", "{requests: {cpu: 60m}, limits: {cpu: 400m}}"), "cpu max limit to request ratio per Container is 4, but provided ratio is 6.66")
	n.kubectl(pod("b", "{requests: {cpu: 300m}, limits: {cpu: 400m}}")...)
	n.refused(pod("c", "{}"), "exceeded quota: all, requested: pods=1, used: pods=2, limited: pods=2")
	used("pods", "2")
	used("requests.cpu", "400m")
	if out := n.kubectl("describe", "quota", "all"); !lineWith(out, "requests.cpu", "400m", "500m") {
		t.Errorf("the quota is described as\n%s", out)
	}
	n.kubectl("delete", "pod", "a", "b")
	used("pods", "0")
	used("requests.cpu", "0")
	n.kubectl(pod("c", "{}")...)
	n.kubectl("create", "service", "clusterip", "one", "--tcp=80")
	n.refused([]string{"create", "service", "clusterip", "two", "--tcp=80"}, "exceeded quota: all, requested: services=1, used: services=1, limited: services=1")
}
