package dns

import (
	"context"
	"fmt"
	"net/netip"
	"time"

	corev1 "k8s.io/api/core/v1"
	discoveryv1 "k8s.io/api/discovery/v1"
	"k8s.io/apimachinery/pkg/api/equality"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/fields"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/informers"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/tools/cache"
	"k8s.io/klog/v2"
)

const (
	serviceNamespace = metav1.NamespaceSystem
	serviceName      = "kube-dns"
	managedBy        = "dns.coracle.dev"

	firstRetry = 200 * time.Millisecond
	lastRetry  = 10 * time.Second
)

// publisher keeps the EndpointSlice that leads pods to this server.
type publisher struct {
	client  kubernetes.Interface
	config  Config
	changed chan struct{}
}

func newPublisher(client kubernetes.Interface, c Config) *publisher {
	return &publisher{client: client, config: c, changed: make(chan struct{}, 1)}
}

func (p *publisher) name() string { return serviceName + "-" + p.config.NodeName }

// run writes the slice, and again whenever somebody else changes it, until ctx
// ends. The slice stays: the server is back before it would be missed, or else
// the node is gone, and the slice with it.
func (p *publisher) run(ctx context.Context) error {
	factory := informers.NewSharedInformerFactoryWithOptions(p.client, 0, informers.WithNamespace(serviceNamespace),
		informers.WithTweakListOptions(func(o *metav1.ListOptions) {
			o.FieldSelector = fields.OneTermEqualSelector(metav1.ObjectNameField, p.name()).String()
		}))
	notify := func(any) {
		select {
		case p.changed <- struct{}{}:
		default:
		}
	}
	_, err := factory.Discovery().V1().EndpointSlices().Informer().AddEventHandler(cache.ResourceEventHandlerFuncs{
		AddFunc: notify, UpdateFunc: func(_, o any) { notify(o) }, DeleteFunc: notify,
	})
	if err != nil {
		return fmt.Errorf("watching the endpoint of the name server: %w", err)
	}
	factory.StartWithContext(ctx)
	defer factory.Shutdown()
	retry, again := firstRetry, time.NewTimer(0)
	defer again.Stop()
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-p.changed:
		case <-again.C:
		}
		err := p.write(ctx)
		if err == nil || ctx.Err() != nil {
			retry = firstRetry
			continue
		}
		// The node may not be registered yet, nor the namespace be made.
		klog.FromContext(ctx).V(2).Info("Writing the endpoint of the name server, will try again", "after", retry, "reason", err.Error())
		again.Reset(retry)
		retry = min(2*retry, lastRetry)
	}
}

// write makes the slice as it should be, if it is not.
func (p *publisher) write(ctx context.Context) error {
	node, err := p.client.CoreV1().Nodes().Get(ctx, p.config.NodeName, metav1.GetOptions{})
	if err != nil {
		return fmt.Errorf("reading node %s: %w", p.config.NodeName, err)
	}
	slices := p.client.DiscoveryV1().EndpointSlices(serviceNamespace)
	want := p.slice(node.UID)
	had, err := slices.Get(ctx, want.Name, metav1.GetOptions{})
	if apierrors.IsNotFound(err) {
		if _, err := slices.Create(ctx, want, metav1.CreateOptions{}); err != nil {
			return fmt.Errorf("creating endpoint slice %s: %w", want.Name, err)
		}
		return nil
	}
	if err != nil {
		return fmt.Errorf("reading endpoint slice %s: %w", want.Name, err)
	}
	update := had.DeepCopy()
	update.Labels, update.OwnerReferences = want.Labels, want.OwnerReferences
	update.Endpoints, update.Ports = want.Endpoints, want.Ports
	if equality.Semantic.DeepEqual(had, update) {
		return nil
	}
	if _, err := slices.Update(ctx, update, metav1.UpdateOptions{}); err != nil {
		return fmt.Errorf("updating endpoint slice %s: %w", want.Name, err)
	}
	return nil
}

// slice is the one that belongs to this node.
func (p *publisher) slice(node types.UID) *discoveryv1.EndpointSlice {
	return &discoveryv1.EndpointSlice{
		ObjectMeta: metav1.ObjectMeta{
			Namespace: serviceNamespace,
			Name:      p.name(),
			Labels: map[string]string{
				discoveryv1.LabelServiceName: serviceName,
				discoveryv1.LabelManagedBy:   managedBy,
			},
			OwnerReferences: []metav1.OwnerReference{{APIVersion: "v1", Kind: "Node", Name: p.config.NodeName, UID: node}},
		},
		AddressType: discoveryv1.AddressTypeIPv4,
		Endpoints: []discoveryv1.Endpoint{{
			Addresses:  []string{p.config.Listen.Addr().String()},
			NodeName:   new(p.config.NodeName),
			Conditions: discoveryv1.EndpointConditions{Ready: new(true), Serving: new(true), Terminating: new(false)},
		}},
		Ports: p.ports(),
	}
}

func (p *publisher) ports() []discoveryv1.EndpointPort {
	ports := []discoveryv1.EndpointPort{
		port("dns", corev1.ProtocolUDP, p.config.Listen),
		port("dns-tcp", corev1.ProtocolTCP, p.config.Listen),
	}
	if p.config.Health.IsValid() {
		ports = append(ports, port("metrics", corev1.ProtocolTCP, p.config.Health))
	}
	return ports
}

func port(name string, protocol corev1.Protocol, at netip.AddrPort) discoveryv1.EndpointPort {
	return discoveryv1.EndpointPort{Name: &name, Protocol: &protocol, Port: new(int32(at.Port()))}
}
