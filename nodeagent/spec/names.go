package spec

import (
	"encoding/json"
	"fmt"
	"hash/fnv"
	"path/filepath"
	"strconv"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/types"
	kubelettypes "k8s.io/kubelet/pkg/types"
)

// Annotations on containers by which a new agent process learns about the
// work of the one before it; spelled as upstream's kubelet spells them, so
// that tools that read the runtime's records find what they expect.
const (
	AnnotationHash              = "io.kubernetes.container.hash"
	AnnotationRestartCount      = "io.kubernetes.container.restartCount"
	AnnotationMessagePath       = "io.kubernetes.container.terminationMessagePath"
	AnnotationMessagePolicy     = "io.kubernetes.container.terminationMessagePolicy"
	AnnotationGracePeriod       = "io.kubernetes.pod.terminationGracePeriod"
	annotationConfigSource      = "kubernetes.io/config.source"
	annotationPorts             = "io.kubernetes.container.ports"
	defaultGracePeriod      int = 30
)

// Labels identify a container, or with an empty name a sandbox, as the pod's.
func Labels(pod *corev1.Pod, container string) map[string]string {
	labels := map[string]string{
		kubelettypes.KubernetesPodNameLabel:      pod.Name,
		kubelettypes.KubernetesPodNamespaceLabel: pod.Namespace,
		kubelettypes.KubernetesPodUIDLabel:       string(pod.UID),
	}
	if container != "" {
		labels[kubelettypes.KubernetesContainerNameLabel] = container
	}
	return labels
}

// ContainerHash changes when a running container must be replaced because
// its definition changed. Of what may change in a pod, that is the image.
func ContainerHash(c *corev1.Container) string {
	data, _ := json.Marshal(struct {
		Name  string `json:"name"`
		Image string `json:"image"`
	}{c.Name, c.Image})
	h := fnv.New32a()
	h.Write(data)
	return strconv.FormatUint(uint64(h.Sum32()), 16)
}

// PodLogDir is the folder of a pod's log files below base.
func PodLogDir(base, namespace, name string, uid types.UID) string {
	return filepath.Join(base, namespace+"_"+name+"_"+string(uid))
}

// ContainerLog is a container's log file relative to the pod's log folder.
func ContainerLog(container string, attempt uint32) string {
	return filepath.Join(container, fmt.Sprintf("%d.log", attempt))
}

// Describe names a pod in messages.
func Describe(pod *corev1.Pod) string {
	return fmt.Sprintf("%s_%s(%s)", pod.Name, pod.Namespace, pod.UID)
}

// FieldPath names a container within its pod, for events about it.
func FieldPath(pod *corev1.Pod, name string) string {
	for _, c := range pod.Spec.Containers {
		if c.Name == name {
			return "spec.containers{" + name + "}"
		}
	}
	for _, c := range pod.Spec.InitContainers {
		if c.Name == name {
			return "spec.initContainers{" + name + "}"
		}
	}
	return "spec.ephemeralContainers{" + name + "}"
}

// GracePeriod is the pod's own termination grace period in seconds.
func GracePeriod(pod *corev1.Pod) int64 {
	if s := pod.Spec.TerminationGracePeriodSeconds; s != nil {
		return *s
	}
	return int64(defaultGracePeriod)
}

// IsSidecar tells whether an init container keeps running beside the app
// containers.
func IsSidecar(c *corev1.Container) bool {
	return c.RestartPolicy != nil && *c.RestartPolicy == corev1.ContainerRestartPolicyAlways
}
