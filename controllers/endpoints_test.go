package controllers_test

import (
	"errors"
	"fmt"
	"slices"
	"testing"

	corev1 "k8s.io/api/core/v1"
	discoveryv1 "k8s.io/api/discovery/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/apimachinery/pkg/util/intstr"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"coracle.dev/coracle/controllers/internal/podstatus"
)

// addresses are those of the Endpoints and of the ready endpoints in slices.
func (e *env) addresses(name string) (eps, inSlices []string) {
	e.t.Helper()
	ep := &corev1.Endpoints{}
	err := e.Get(e.t.Context(), types.NamespacedName{Namespace: e.ns, Name: name}, ep)
	if client.IgnoreNotFound(err) != nil {
		e.t.Fatal(err)
	}
	for _, s := range ep.Subsets {
		for _, a := range s.Addresses {
			eps = append(eps, a.IP)
		}
	}
	var list discoveryv1.EndpointSliceList
	if err := e.List(e.t.Context(), &list, client.MatchingLabels{discoveryv1.LabelServiceName: name}); err != nil {
		e.t.Fatal(err)
	}
	for _, s := range list.Items {
		for _, ep := range s.Endpoints {
			if *ep.Conditions.Ready {
				inSlices = append(inSlices, ep.Addresses...)
			}
		}
	}
	slices.Sort(eps)
	slices.Sort(inSlices)
	return eps, inSlices
}

func (e *env) waitAddresses(name string, n int) {
	e.t.Helper()
	e.eventually(fmt.Sprintf("service %s has %d addresses", name, n), func() error {
		eps, inSlices := e.addresses(name)
		if !slices.Equal(eps, inSlices) {
			return fmt.Errorf("endpoints have %v, slices %v", eps, inSlices)
		}
		return expect("addresses", len(eps), n)
	}, &corev1.EndpointsList{}, &discoveryv1.EndpointSliceList{})
}

func TestEndpoints(t *testing.T) {
	e := start(t, "replicaset-controller", "endpoints-controller", "endpointslice-controller", "endpointslice-mirroring-controller")
	e.kubelet()
	svc := &corev1.Service{
		ObjectMeta: metav1.ObjectMeta{Namespace: e.ns, Name: "web"},
		Spec: corev1.ServiceSpec{ClusterIP: "None", Selector: map[string]string{"app": "web"},
			Ports: []corev1.ServicePort{{Name: "http", Port: 80, TargetPort: intstr.FromInt32(8080)}}},
	}
	e.create(svc)
	rs := replicaSet("web", 3)
	e.create(rs)
	e.waitAddresses("web", 3)
	e.patch(rs, `{"spec":{"replicas":150}}`)
	e.waitAddresses("web", 150)
	e.patch(rs, `{"spec":{"replicas":2}}`)
	e.waitAddresses("web", 2)

	t.Run("what others change is mended", func(t *testing.T) {
		ep := &corev1.Endpoints{ObjectMeta: metav1.ObjectMeta{Namespace: e.ns, Name: "web"}}
		e.patch(ep, `{"subsets":[]}`)
		var list discoveryv1.EndpointSliceList
		if err := e.List(t.Context(), &list, client.InNamespace(e.ns)); err != nil {
			t.Fatal(err)
		}
		for _, s := range list.Items {
			e.delete(&s)
		}
		e.waitAddresses("web", 2)
	})
	t.Run("a pod that is not ready any more is not served", func(t *testing.T) {
		pods := e.pods("app", "web")
		p := pods[slices.IndexFunc(pods, func(p corev1.Pod) bool { return podstatus.Active(&p) })]
		err := e.Status().Patch(t.Context(), &p, client.RawPatch(types.StrategicMergePatchType, []byte(`{"status":{"conditions":[{"type":"Ready","status":"False"}]}}`)))
		if err != nil {
			t.Fatal(err)
		}
		e.waitAddresses("web", 1)
	})
	t.Run("Endpoints go with their service", func(t *testing.T) {
		e.delete(svc)
		e.eventually("there are no Endpoints", func() error {
			err := e.Get(t.Context(), types.NamespacedName{Namespace: e.ns, Name: "web"}, &corev1.Endpoints{})
			if apierrors.IsNotFound(err) {
				return nil
			}
			return errors.Join(err, errors.New("there are Endpoints"))
		}, &corev1.EndpointsList{})
	})
}

func TestEndpointsByHand(t *testing.T) {
	e := start(t, "endpoints-controller", "endpointslice-controller", "endpointslice-mirroring-controller")
	// The Endpoints come first, as they may in a manifest.
	ep := &corev1.Endpoints{
		ObjectMeta: metav1.ObjectMeta{Namespace: e.ns, Name: "db"},
		Subsets: []corev1.EndpointSubset{{
			Addresses: []corev1.EndpointAddress{{IP: "192.0.2.1"}, {IP: "192.0.2.2"}},
			Ports:     []corev1.EndpointPort{{Port: 3306}},
		}},
	}
	e.create(ep)
	e.create(&corev1.Service{
		ObjectMeta: metav1.ObjectMeta{Namespace: e.ns, Name: "db"},
		Spec:       corev1.ServiceSpec{ClusterIP: "None", Ports: []corev1.ServicePort{{Port: 3306}}},
	})
	e.waitAddresses("db", 2)
	e.patch(ep, `{"subsets":[{"addresses":[{"ip":"192.0.2.7"}],"ports":[{"port":3306}]}]}`)
	e.waitAddresses("db", 1)
	e.delete(ep)
	e.waitAddresses("db", 0)
}
