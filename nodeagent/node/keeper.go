package node

import (
	"context"
	"fmt"
	"net/netip"
	"slices"
	"sort"
	"time"

	coordinationv1 "k8s.io/api/coordination/v1"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/equality"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/kubernetes"
	"k8s.io/component-helpers/apimachinery/lease"
	nodeutil "k8s.io/component-helpers/node/util"
	runtimev1 "k8s.io/cri-api/pkg/apis/runtime/v1"
	"k8s.io/klog/v2"
	"k8s.io/utils/clock"
)

const (
	leaseNamespace = "kube-node-lease"
	leaseSeconds   = 40
	leaseRenewal   = 10 * time.Second
	examinePeriod  = 10 * time.Second
	// eagerPeriod is how often is looked until the node is first ready.
	eagerPeriod  = 250 * time.Millisecond
	reportPeriod = 5 * time.Minute
	maxImages    = 50
	maxNames     = 5
)

// Config describes the node.
type Config struct {
	Name, Hostname string
	IPs            []netip.Addr
	Labels         map[string]string
	Taints         []corev1.Taint
	// Port of the agent's API.
	Port int32
	// PodCIDR is the range that the node would like; a range that the Node
	// object already has stays.
	PodCIDR netip.Prefix
	RootDir string
	// Capacity and Allocatable of the machine.
	Capacity, Allocatable corev1.ResourceList
	Client                kubernetes.Interface
	CRI                   runtimev1.RuntimeServiceClient
	Images                runtimev1.ImageServiceClient
	// Check is a further condition of readiness; nil if there is none.
	Check func() error
	// OnReady is called once, when the node is first reported ready.
	OnReady func()
}

type keeper struct {
	Config
	info     corev1.NodeSystemInfo
	node     *corev1.Node
	handlers []corev1.NodeRuntimeHandler
	features *corev1.NodeFeatures
	reported time.Time
	ready    bool
}

// Run keeps the Node until ctx ends. It does not fail when the API server is
// away; it tries again.
func Run(ctx context.Context, c Config) error {
	k := &keeper{Config: c, info: Info()}
	if err := k.register(ctx); err != nil || ctx.Err() != nil {
		return err
	}
	go lease.NewController(clock.RealClock{}, c.Client, c.Name, leaseSeconds, nil, leaseRenewal, c.Name, leaseNamespace, ownLease(k.node)).Run(ctx)
	timer := time.NewTimer(0)
	defer timer.Stop()
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-timer.C:
		}
		if err := k.update(ctx); err != nil && ctx.Err() == nil {
			klog.FromContext(ctx).Error(err, "Could not report the node's status; trying again")
		}
		if k.ready {
			timer.Reset(examinePeriod)
		} else {
			timer.Reset(eagerPeriod)
		}
	}
}

// ownLease makes the lease go with the node.
func ownLease(node *corev1.Node) lease.ProcessLeaseFunc {
	if node == nil {
		return nil
	}
	owner := metav1.OwnerReference{APIVersion: "v1", Kind: "Node", Name: node.Name, UID: node.UID}
	return func(l *coordinationv1.Lease) error {
		if len(l.OwnerReferences) == 0 {
			l.OwnerReferences = []metav1.OwnerReference{owner}
		}
		return nil
	}
}

// register makes the Node, or takes up the one that is there, however long
// the API server takes to answer.
func (k *keeper) register(ctx context.Context) error {
	logger := klog.FromContext(ctx)
	for delay := 50 * time.Millisecond; ; delay = min(2*delay, 5*time.Second) {
		err := k.tryRegister(ctx)
		if err == nil {
			logger.Info("Registered the node", "node", k.Name)
			return nil
		}
		if apierrors.IsForbidden(err) || apierrors.IsInvalid(err) {
			logger.Error(err, "The API server refuses the node; trying again")
		} else {
			logger.V(2).Info("Could not register the node yet", "err", err)
		}
		select {
		case <-ctx.Done():
			return nil
		case <-time.After(delay):
		}
	}
}

func (k *keeper) tryRegister(ctx context.Context) error {
	want := k.initial(ctx)
	node, err := k.Client.CoreV1().Nodes().Create(ctx, want, metav1.CreateOptions{})
	if apierrors.IsAlreadyExists(err) {
		return k.takeUp(ctx, want)
	}
	if err != nil {
		return fmt.Errorf("registering node %s: %w", k.Name, err)
	}
	k.node = node
	return nil
}

// takeUp brings labels of an existing Node up to date. Taints were set when it
// was first registered, and belong to the administrator since.
func (k *keeper) takeUp(ctx context.Context, want *corev1.Node) error {
	node, err := k.Client.CoreV1().Nodes().Get(ctx, k.Name, metav1.GetOptions{})
	if err != nil {
		return fmt.Errorf("reading node %s: %w", k.Name, err)
	}
	changed := node.DeepCopy()
	if changed.Labels == nil {
		changed.Labels = map[string]string{}
	}
	for key, value := range want.Labels {
		changed.Labels[key] = value
	}
	if changed.Spec.PodCIDR == "" {
		changed.Spec.PodCIDR, changed.Spec.PodCIDRs = want.Spec.PodCIDR, want.Spec.PodCIDRs
	}
	if !equality.Semantic.DeepEqual(node, changed) {
		if node, err = k.Client.CoreV1().Nodes().Update(ctx, changed, metav1.UpdateOptions{}); err != nil {
			return fmt.Errorf("updating node %s: %w", k.Name, err)
		}
	}
	k.node = node
	return nil
}

func (k *keeper) initial(ctx context.Context) *corev1.Node {
	labels := map[string]string{
		corev1.LabelHostname:      k.Hostname,
		corev1.LabelOSStable:      k.info.OperatingSystem,
		corev1.LabelArchStable:    k.info.Architecture,
		"beta.kubernetes.io/os":   k.info.OperatingSystem,
		"beta.kubernetes.io/arch": k.info.Architecture,
	}
	for key, value := range k.Labels {
		labels[key] = value
	}
	node := &corev1.Node{ObjectMeta: metav1.ObjectMeta{Name: k.Name, Labels: labels}, Spec: corev1.NodeSpec{Taints: k.Taints}}
	if k.PodCIDR.IsValid() && k.free(ctx) {
		node.Spec.PodCIDR, node.Spec.PodCIDRs = k.PodCIDR.String(), []string{k.PodCIDR.String()}
	}
	k.fill(ctx, &node.Status)
	return node
}

// free tells whether no other node has the pod range.
func (k *keeper) free(ctx context.Context) bool {
	nodes, err := k.Client.CoreV1().Nodes().List(ctx, metav1.ListOptions{})
	if err != nil {
		return true // not allowed to know; the API server has the last word
	}
	return !slices.ContainsFunc(nodes.Items, func(n corev1.Node) bool {
		return n.Name != k.Name && slices.Contains(append(n.Spec.PodCIDRs, n.Spec.PodCIDR), k.PodCIDR.String())
	})
}

// fill sets everything in a status that the node knows.
func (k *keeper) fill(ctx context.Context, s *corev1.NodeStatus) {
	s.Capacity, s.Allocatable = k.Capacity, k.Allocatable
	s.Addresses = nil
	for _, ip := range k.IPs {
		s.Addresses = append(s.Addresses, corev1.NodeAddress{Type: corev1.NodeInternalIP, Address: ip.String()})
	}
	s.Addresses = append(s.Addresses, corev1.NodeAddress{Type: corev1.NodeHostName, Address: k.Hostname})
	s.DaemonEndpoints.KubeletEndpoint.Port = k.Port
	if k.info.ContainerRuntimeVersion == "" {
		if v, err := k.CRI.Version(ctx, &runtimev1.VersionRequest{}); err == nil {
			k.info.ContainerRuntimeVersion = v.RuntimeName + "://" + v.RuntimeVersion
		}
	}
	s.NodeInfo = k.info
	setConditions(s, k.examine(ctx), metav1.Now())
	s.RuntimeHandlers, s.Features = k.handlers, k.features
	if images, err := k.images(ctx); err == nil {
		s.Images = images
	}
}

func (k *keeper) images(ctx context.Context) ([]corev1.ContainerImage, error) {
	res, err := k.Images.ListImages(ctx, &runtimev1.ListImagesRequest{})
	if err != nil {
		return nil, err
	}
	sort.Slice(res.Images, func(i, j int) bool {
		a, b := res.Images[i], res.Images[j]
		return a.Size > b.Size || (a.Size == b.Size && a.Id < b.Id)
	})
	var out []corev1.ContainerImage
	for _, i := range res.Images {
		names := append(slices.Clone(i.RepoDigests), i.RepoTags...)
		if len(out) < maxImages && len(names) > 0 {
			out = append(out, corev1.ContainerImage{Names: names[:min(len(names), maxNames)], SizeBytes: int64(i.Size)})
		}
	}
	return out, nil
}

// update reports the status if it changed or is old.
func (k *keeper) update(ctx context.Context) error {
	next := k.node.DeepCopy()
	k.fill(ctx, &next.Status)
	ready := isReady(&next.Status)
	if sameStatus(&k.node.Status, &next.Status) && time.Since(k.reported) < reportPeriod {
		return nil
	}
	node, _, err := nodeutil.PatchNodeStatus(k.Client.CoreV1(), types.NodeName(k.Name), k.node, next)
	if err != nil {
		return k.recover(ctx, err)
	}
	k.node, k.reported = node, time.Now()
	if ready && !k.ready && k.OnReady != nil {
		k.OnReady()
	}
	k.ready = k.ready || ready
	return nil
}

// recover finds out why a status was not accepted: another view of the Node,
// or none at all.
func (k *keeper) recover(ctx context.Context, cause error) error {
	node, err := k.Client.CoreV1().Nodes().Get(ctx, k.Name, metav1.GetOptions{})
	if apierrors.IsNotFound(err) {
		return k.tryRegister(ctx)
	}
	if err == nil {
		k.node = node
	}
	return cause
}

func isReady(s *corev1.NodeStatus) bool {
	_, c := nodeutil.GetNodeCondition(s, corev1.NodeReady)
	return c != nil && c.Status == corev1.ConditionTrue
}

// sameStatus compares all but heartbeats.
func sameStatus(a, b *corev1.NodeStatus) bool {
	x, y := a.DeepCopy(), b.DeepCopy()
	for _, s := range []*corev1.NodeStatus{x, y} {
		for i := range s.Conditions {
			s.Conditions[i].LastHeartbeatTime = metav1.Time{}
			s.Conditions[i].LastTransitionTime = metav1.Time{}
		}
	}
	return equality.Semantic.DeepEqual(x, y)
}
