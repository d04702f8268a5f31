package controllers_test

import (
	"fmt"
	"testing"

	corev1 "k8s.io/api/core/v1"
	discoveryv1 "k8s.io/api/discovery/v1"
	"k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"
)

func TestTopologyHints(t *testing.T) {
	e := start(t, "endpointslice-controller")
	e.delete(&corev1.Node{ObjectMeta: metav1.ObjectMeta{Name: "node"}})
	web := map[string]string{"app": "web"}
	for _, zone := range []string{"a", "b"} {
		n := &corev1.Node{ObjectMeta: metav1.ObjectMeta{Name: "node-" + zone, Labels: map[string]string{corev1.LabelTopologyZone: zone}}}
		e.create(n)
		n.Status.Allocatable = corev1.ResourceList{corev1.ResourceCPU: resource.MustParse("4")}
		n.Status.Conditions = []corev1.NodeCondition{{Type: corev1.NodeReady, Status: corev1.ConditionTrue}}
		if err := e.Status().Update(t.Context(), n); err != nil {
			t.Fatal(err)
		}
		for i := range 3 {
			p := &corev1.Pod{ObjectMeta: metav1.ObjectMeta{Namespace: e.ns, Name: fmt.Sprintf("web-%s%d", zone, i), Labels: web}, Spec: template().Spec}
			p.Spec.NodeName = n.Name
			e.create(p)
		}
	}
	e.kubelet()
	e.create(&corev1.Service{ObjectMeta: metav1.ObjectMeta{Namespace: e.ns, Name: "auto", Annotations: map[string]string{corev1.AnnotationTopologyMode: "Auto"}},
		Spec: corev1.ServiceSpec{Selector: web, Ports: []corev1.ServicePort{{Port: 80}}}})
	e.create(&corev1.Service{ObjectMeta: metav1.ObjectMeta{Namespace: e.ns, Name: "close"},
		Spec: corev1.ServiceSpec{Selector: web, Ports: []corev1.ServicePort{{Port: 80}}, TrafficDistribution: new(corev1.ServiceTrafficDistributionPreferSameZone)}})
	for _, name := range []string{"auto", "close"} {
		e.eventually("endpoints of service "+name+" are for their own zones", func() error {
			var list discoveryv1.EndpointSliceList
			if err := e.List(t.Context(), &list, client.InNamespace(e.ns), client.MatchingLabels{discoveryv1.LabelServiceName: name}); err != nil {
				return err
			}
			hinted := 0
			for _, s := range list.Items {
				for _, ep := range s.Endpoints {
					if ep.Hints != nil && len(ep.Hints.ForZones) == 1 && ep.Zone != nil && ep.Hints.ForZones[0].Name == *ep.Zone {
						hinted++
					}
				}
			}
			return expect("endpoints for their zone", hinted, 6)
		}, &discoveryv1.EndpointSliceList{})
	}
}
