package cluster

import (
	"context"
	"fmt"
	"net/netip"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/apimachinery/pkg/util/intstr"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/rest"

	"coracle.dev/coracle/controllers/localpath"
)

// dnsService is the Service at whose address every pod finds cluster DNS.
const dnsService = "kube-dns"

// controlPlane is a patch that gives a node the role that kubectl shows.
const controlPlane = `{"metadata":{"labels":{"node-role.kubernetes.io/control-plane":""}}}`

// ensureObjects makes the objects that a cluster has from its start.
func ensureObjects(ctx context.Context, c *Config, cfg *rest.Config) error {
	client, err := kubernetes.NewForConfig(cfg)
	if err != nil {
		return err
	}
	if err := ensureDNSService(ctx, client, c); err != nil {
		return fmt.Errorf("making Service %s: %w", dnsService, err)
	}
	return localpath.EnsureClass(ctx, client)
}

// awaitReady makes the objects that a cluster has, and waits until the agent of this process has said
// that its node is Ready: what the Node object says may be left from an earlier run.
func awaitReady(ctx context.Context, c *Config, cfg *rest.Config, nodeReady <-chan struct{}, stage func(name, detail string)) error {
	if err := ensureObjects(ctx, c, cfg); err != nil {
		return err
	}
	client, err := kubernetes.NewForConfig(cfg)
	if err != nil {
		return err
	}
	select {
	case <-nodeReady:
	case <-ctx.Done():
		return ctx.Err()
	}
	// A node may not give itself a role; its administrator does.
	_, err = client.CoreV1().Nodes().Patch(ctx, c.NodeName, types.MergePatchType, []byte(controlPlane), metav1.PatchOptions{})
	if err != nil {
		return fmt.Errorf("labelling node %s: %w", c.NodeName, err)
	}
	stage(StageNode, fmt.Sprintf("%s (%s)", c.NodeName, c.NodeIP))
	stage(StageReady, "")
	return nil
}

// ensureDNSService makes the Service once. Its endpoints are kept by the node agents, and each
// node's pods ask the DNS server of their own node.
func ensureDNSService(ctx context.Context, client kubernetes.Interface, c *Config) error {
	services := client.CoreV1().Services(metav1.NamespaceSystem)
	if _, err := services.Get(ctx, dnsService, metav1.GetOptions{}); !apierrors.IsNotFound(err) {
		return err
	}
	local := corev1.ServiceInternalTrafficPolicyLocal
	_, err := services.Create(ctx, &corev1.Service{
		ObjectMeta: metav1.ObjectMeta{Name: dnsService, Namespace: metav1.NamespaceSystem, Labels: map[string]string{
			"k8s-app": "kube-dns", "kubernetes.io/cluster-service": "true", "kubernetes.io/name": "CoreDNS"}},
		Spec: corev1.ServiceSpec{
			ClusterIP:             c.ClusterDNS().String(),
			InternalTrafficPolicy: &local,
			Ports: []corev1.ServicePort{
				{Name: "dns", Protocol: corev1.ProtocolUDP, Port: 53, TargetPort: intstr.FromInt32(53)},
				{Name: "dns-tcp", Protocol: corev1.ProtocolTCP, Port: 53, TargetPort: intstr.FromInt32(53)},
				{Name: "metrics", Protocol: corev1.ProtocolTCP, Port: 9153, TargetPort: intstr.FromInt32(9153)},
			},
		},
	}, metav1.CreateOptions{})
	if apierrors.IsAlreadyExists(err) {
		return nil
	}
	return err
}

func rangesByFlag(c *Config) map[string]netip.Prefix {
	return map[string]netip.Prefix{"cluster-cidr": c.ClusterCIDR, "service-cluster-ip-range": c.ServiceClusterIPRange,
		"load-balancer-ip-range": c.LoadBalancerIPRange}
}
