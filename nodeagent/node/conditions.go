package node

import (
	"context"
	"fmt"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	runtimev1 "k8s.io/cri-api/pkg/apis/runtime/v1"
)

// Below these the node reports pressure.
const (
	minMemory = 100 << 20
	minDisk   = 1 << 30
	// minPIDs is a share of the kernel's limit.
	minPIDs = 0.01
)

// finding is one condition as it is now.
type finding struct {
	kind            corev1.NodeConditionType
	bad             bool
	reason, message string
}

// examine looks at the machine and the runtime. Ready comes last, where tools
// look for it.
func (k *keeper) examine(ctx context.Context) []finding {
	out := []finding{
		{corev1.NodeMemoryPressure, false, "KubeletHasSufficientMemory", "kubelet has sufficient memory available"},
		{corev1.NodeDiskPressure, false, "KubeletHasNoDiskPressure", "kubelet has no disk pressure"},
		{corev1.NodePIDPressure, false, "KubeletHasSufficientPID", "kubelet has sufficient PID available"},
	}
	if free, err := meminfo("MemAvailable"); err == nil && free < minMemory {
		out[0] = finding{corev1.NodeMemoryPressure, true, "KubeletHasInsufficientMemory", "kubelet has insufficient memory available"}
	}
	var fs unix.Statfs_t
	if unix.Statfs(k.RootDir, &fs) == nil && int64(fs.Bavail)*fs.Bsize < minDisk {
		out[1] = finding{corev1.NodeDiskPressure, true, "KubeletHasDiskPressure", "kubelet has disk pressure"}
	}
	if pidsShort() {
		out[2] = finding{corev1.NodePIDPressure, true, "KubeletHasInsufficientPID", "kubelet has insufficient PID available"}
	}
	ready := finding{corev1.NodeReady, false, "KubeletReady", "kubelet is posting ready status"}
	if problems := k.problems(ctx); len(problems) > 0 {
		message := problems[0]
		if len(problems) > 1 {
			message = "[" + strings.Join(problems, ", ") + "]"
		}
		ready = finding{corev1.NodeReady, true, "KubeletNotReady", message}
	}
	return append(out, ready)
}

func pidsShort() bool {
	limit, err := strconv.Atoi(line("/proc/sys/kernel/pid_max"))
	if err != nil {
		return false
	}
	// The fourth field of loadavg is "running/all".
	fields := strings.Fields(line("/proc/loadavg"))
	if len(fields) < 4 {
		return false
	}
	_, all, _ := strings.Cut(fields[3], "/")
	n, err := strconv.Atoi(all)
	return err == nil && float64(limit-n) < minPIDs*float64(limit)
}

func (k *keeper) problems(ctx context.Context) []string {
	res, err := k.CRI.Status(ctx, &runtimev1.StatusRequest{})
	if err != nil {
		return []string{fmt.Sprintf("container runtime is down: %v", err)}
	}
	var out []string
	for _, c := range res.GetStatus().GetConditions() {
		if c.Status {
			continue
		}
		name := "container runtime"
		if c.Type == "NetworkReady" {
			name = "container runtime network"
		}
		out = append(out, fmt.Sprintf("%s not ready: %s=false reason:%s message:%s", name, c.Type, c.Reason, c.Message))
	}
	k.handlers = nil
	for _, h := range res.GetRuntimeHandlers() {
		k.handlers = append(k.handlers, corev1.NodeRuntimeHandler{Name: h.Name, Features: &corev1.NodeRuntimeHandlerFeatures{
			RecursiveReadOnlyMounts: ptrTo(h.GetFeatures().GetRecursiveReadOnlyMounts()),
			UserNamespaces:          ptrTo(h.GetFeatures().GetUserNamespaces()),
		}})
	}
	k.features = &corev1.NodeFeatures{SupplementalGroupsPolicy: ptrTo(res.GetFeatures().GetSupplementalGroupsPolicy())}
	if k.Check != nil {
		if err := k.Check(); err != nil {
			out = append(out, err.Error())
		}
	}
	return out
}

func ptrTo[T any](v T) *T { return &v }

// setConditions puts the findings at the end of the node's conditions, in
// their order.
func setConditions(s *corev1.NodeStatus, findings []finding, now metav1.Time) {
	old := map[corev1.NodeConditionType]corev1.NodeCondition{}
	var kept []corev1.NodeCondition
	ours := map[corev1.NodeConditionType]bool{}
	for _, f := range findings {
		ours[f.kind] = true
	}
	for _, c := range s.Conditions {
		old[c.Type] = c
		if !ours[c.Type] {
			kept = append(kept, c)
		}
	}
	for _, f := range findings {
		status := corev1.ConditionFalse
		if f.bad != (f.kind == corev1.NodeReady) {
			status = corev1.ConditionTrue
		}
		c := corev1.NodeCondition{Type: f.kind, Status: status, Reason: f.reason, Message: f.message, LastHeartbeatTime: now, LastTransitionTime: now}
		if before, ok := old[f.kind]; ok && before.Status == status {
			c.LastTransitionTime = before.LastTransitionTime
		}
		kept = append(kept, c)
	}
	s.Conditions = kept
}
