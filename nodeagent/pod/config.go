package pod

import (
	"context"
	"time"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/tools/record"
	runtimev1 "k8s.io/cri-api/pkg/apis/runtime/v1"

	"coracle.dev/coracle/nodeagent/probe"
	"coracle.dev/coracle/nodeagent/pull"
	"coracle.dev/coracle/nodeagent/spec"
)

// Volumes makes and removes a pod's volumes.
type Volumes interface {
	PodDir(types.UID) string
	Setup(ctx context.Context, pod *corev1.Pod) (map[string]string, error)
	SubPath(uid types.UID, volume, container string, mount int, volumeDir, subPath string) (string, error)
	NextRefresh(types.UID) time.Time
	Teardown(types.UID) error
}

// Cgroups makes and removes a pod's cgroup.
type Cgroups interface {
	PodPath(uid string) string
	Create(uid string, r *runtimev1.LinuxContainerResources) error
	Remove(uid string) error
}

// Objects knows the config maps and secrets that pods refer to.
type Objects interface {
	spec.Objects
	Track(pod *corev1.Pod)
	Forget(uid types.UID)
}

// Config is what a Manager needs.
type Config struct {
	NodeName string
	HostIPs  []string
	// Hostname of the node, for pods in its network.
	Hostname string
	// ClusterDomain and DNS describe name resolution.
	ClusterDomain string
	ClusterDNS    []string
	HostResolver  func() spec.Resolver
	// Spec are the node's settings for containers.
	Spec spec.Options

	Client  kubernetes.Interface
	CRI     runtimev1.RuntimeServiceClient
	Volumes Volumes
	Cgroups Cgroups
	Objects Objects
	Puller  *pull.Puller
	Probes  probe.Runner
	Events  record.EventRecorder
	// Services lists the services that environment variables show; it blocks
	// until they are known.
	Services func(ctx context.Context) ([]*corev1.Service, error)
	// Allocatable of the node.
	Allocatable func() corev1.ResourceList
	// RuntimeHandler chooses the runtime handler for namespaces that a pod
	// without a runtime class wants; nil means the runtime's default for all.
	RuntimeHandler func(*runtimev1.NamespaceOption) string
	// Admit refuses a pod with a reason and a message; nil admits all.
	Admit func(pod *corev1.Pod, others []*corev1.Pod) (reason, message string, ok bool)
	// FitsResize says why the node cannot give a running pod other resources,
	// with the reason of the condition PodResizePending, empty if it can. Nil
	// means that it always can.
	FitsResize func(pod *corev1.Pod, others []*corev1.Pod) (reason, message string)
}
