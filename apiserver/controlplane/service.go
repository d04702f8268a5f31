package controlplane

import (
	"context"
	"fmt"
	"slices"

	corev1 "k8s.io/api/core/v1"
	discoveryv1 "k8s.io/api/discovery/v1"
	networkingv1 "k8s.io/api/networking/v1"
	"k8s.io/apimachinery/pkg/api/equality"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/util/intstr"
	utilsnet "k8s.io/utils/net"
)

func (k *Keeper) keepService(ctx context.Context) error {
	services := k.Client.CoreV1().Services(metav1.NamespaceDefault)
	ports := []corev1.ServicePort{{
		Name: portName, Port: ServicePort, Protocol: corev1.ProtocolTCP, TargetPort: intstr.FromInt(k.Port),
	}}
	current, err := services.Get(ctx, ServiceName, cached)
	switch {
	case apierrors.IsNotFound(err):
		if _, err = services.Create(ctx, k.service(ports), metav1.CreateOptions{}); apierrors.IsInvalid(err) {
			// Its address is taken: by itself, if another server made it just now.
			if _, there := services.Get(ctx, ServiceName, metav1.GetOptions{}); there == nil {
				err = nil
			}
		}
		err = unlessExists(err)
	case err == nil && !equality.Semantic.DeepEqual(current.Spec.Ports, ports):
		current = current.DeepCopy()
		current.Spec.Ports = ports
		_, err = services.Update(ctx, current, metav1.UpdateOptions{})
	}
	if err != nil {
		return fmt.Errorf("writing service %s: %w", ServiceName, err)
	}
	return nil
}

// keepRange shows the range of service addresses that this server was started with. One that is there
// already stays as it is: the range of a cluster does not change.
func (k *Keeper) keepRange(ctx context.Context) error {
	ranges := k.Client.NetworkingV1().ServiceCIDRs()
	current, err := ranges.Get(ctx, ServiceName, cached)
	if apierrors.IsNotFound(err) {
		current, err = ranges.Create(ctx, &networkingv1.ServiceCIDR{
			ObjectMeta: metav1.ObjectMeta{Name: ServiceName},
			Spec:       networkingv1.ServiceCIDRSpec{CIDRs: []string{k.ServiceRange.String()}},
		}, metav1.CreateOptions{})
		if apierrors.IsAlreadyExists(err) {
			return nil
		}
	}
	if err == nil && current.DeletionTimestamp == nil && !meta.IsStatusConditionTrue(current.Status.Conditions, networkingv1.ServiceCIDRConditionReady) {
		current = current.DeepCopy()
		meta.SetStatusCondition(&current.Status.Conditions, metav1.Condition{
			Type: networkingv1.ServiceCIDRConditionReady, Status: metav1.ConditionTrue,
			Message: "Kubernetes default Service CIDR is ready",
		})
		_, err = ranges.UpdateStatus(ctx, current, metav1.UpdateOptions{})
	}
	if err != nil {
		return fmt.Errorf("writing service range: %w", err)
	}
	return nil
}

func (k *Keeper) service(ports []corev1.ServicePort) *corev1.Service {
	single, none := corev1.IPFamilyPolicySingleStack, corev1.ServiceAffinityNone
	return &corev1.Service{
		ObjectMeta: metav1.ObjectMeta{
			Name: ServiceName, Namespace: metav1.NamespaceDefault,
			Labels: map[string]string{"provider": "kubernetes", "component": "apiserver"},
		},
		Spec: corev1.ServiceSpec{
			Type: corev1.ServiceTypeClusterIP, ClusterIP: k.ServiceIP.String(), Ports: ports,
			IPFamilyPolicy: &single, SessionAffinity: none,
		},
	}
}

// keepEndpoints puts the addresses of all live servers behind the service; present says whether this
// server is one of them, read how fresh what is there must be.
func (k *Keeper) keepEndpoints(ctx context.Context, present bool, read metav1.GetOptions) error {
	var addresses []string
	if present {
		addresses = []string{k.Address.String()}
	}
	if k.Leases != nil {
		if present {
			if err := k.Leases.Renew(ctx, k.Address.String()); err != nil {
				return fmt.Errorf("renewing this server's lease: %w", err)
			}
		}
		alive, err := k.Leases.Alive(ctx)
		if err != nil {
			return fmt.Errorf("listing servers: %w", err)
		}
		addresses = alive
	}
	slices.Sort(addresses)
	addresses = slices.Compact(addresses)
	if err := k.writeEndpoints(ctx, addresses, read); err != nil {
		return fmt.Errorf("writing endpoints of %s: %w", ServiceName, err)
	}
	if err := k.writeSlice(ctx, addresses, read); err != nil {
		return fmt.Errorf("writing endpoint slice of %s: %w", ServiceName, err)
	}
	return nil
}

func (k *Keeper) writeEndpoints(ctx context.Context, addresses []string, read metav1.GetOptions) error {
	endpoints := k.Client.CoreV1().Endpoints(metav1.NamespaceDefault) //nolint:staticcheck // clients still read it
	subset := corev1.EndpointSubset{Ports: []corev1.EndpointPort{{Name: portName, Port: int32(k.Port), Protocol: corev1.ProtocolTCP}}}
	for _, a := range addresses {
		subset.Addresses = append(subset.Addresses, corev1.EndpointAddress{IP: a})
	}
	var subsets []corev1.EndpointSubset
	if len(addresses) > 0 {
		subsets = []corev1.EndpointSubset{subset}
	}
	current, err := endpoints.Get(ctx, ServiceName, read)
	if apierrors.IsNotFound(err) {
		_, err = endpoints.Create(ctx, &corev1.Endpoints{
			ObjectMeta: metav1.ObjectMeta{
				Name: ServiceName, Namespace: metav1.NamespaceDefault,
				Labels: map[string]string{discoveryv1.LabelSkipMirror: "true"}, // the slice is written here too
			},
			Subsets: subsets,
		}, metav1.CreateOptions{})
		return unlessExists(err)
	}
	if err != nil || equality.Semantic.DeepEqual(current.Subsets, subsets) {
		return err
	}
	current = current.DeepCopy()
	current.Subsets = subsets
	_, err = endpoints.Update(ctx, current, metav1.UpdateOptions{})
	return err
}

func (k *Keeper) writeSlice(ctx context.Context, addresses []string, read metav1.GetOptions) error {
	slices := k.Client.DiscoveryV1().EndpointSlices(metav1.NamespaceDefault)
	wanted := k.slice(addresses)
	current, err := slices.Get(ctx, ServiceName, read)
	if apierrors.IsNotFound(err) {
		_, err = slices.Create(ctx, wanted, metav1.CreateOptions{})
		return unlessExists(err)
	}
	if err != nil || equality.Semantic.DeepEqual(current.Endpoints, wanted.Endpoints) && equality.Semantic.DeepEqual(current.Ports, wanted.Ports) {
		return err
	}
	if current.AddressType != wanted.AddressType { // it cannot be changed
		if err := slices.Delete(ctx, ServiceName, metav1.DeleteOptions{}); err != nil {
			return err
		}
		_, err = slices.Create(ctx, wanted, metav1.CreateOptions{})
		return err
	}
	current = current.DeepCopy()
	current.Endpoints, current.Ports = wanted.Endpoints, wanted.Ports
	_, err = slices.Update(ctx, current, metav1.UpdateOptions{})
	return err
}

func (k *Keeper) slice(addresses []string) *discoveryv1.EndpointSlice {
	name, port, protocol, ready := portName, int32(k.Port), corev1.ProtocolTCP, true
	s := &discoveryv1.EndpointSlice{
		ObjectMeta: metav1.ObjectMeta{
			Name: ServiceName, Namespace: metav1.NamespaceDefault,
			Labels: map[string]string{discoveryv1.LabelServiceName: ServiceName},
		},
		AddressType: discoveryv1.AddressTypeIPv4,
		Ports:       []discoveryv1.EndpointPort{{Name: &name, Port: &port, Protocol: &protocol}},
	}
	if utilsnet.IsIPv6(k.Address) {
		s.AddressType = discoveryv1.AddressTypeIPv6
	}
	for _, a := range addresses {
		s.Endpoints = append(s.Endpoints, discoveryv1.Endpoint{
			Addresses: []string{a}, Conditions: discoveryv1.EndpointConditions{Ready: &ready},
		})
	}
	return s
}
