package endpoints

import (
	"fmt"
	"testing"

	"github.com/google/go-cmp/cmp"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/apimachinery/pkg/util/intstr"
)

func svc(change ...func(*corev1.Service)) *corev1.Service {
	s := &corev1.Service{
		ObjectMeta: metav1.ObjectMeta{Namespace: "ns", Name: "web", Labels: map[string]string{"tier": "front"}},
		Spec: corev1.ServiceSpec{
			Selector: map[string]string{"app": "web"}, ClusterIP: "10.96.0.9", IPFamilies: []corev1.IPFamily{corev1.IPv4Protocol},
			Ports: []corev1.ServicePort{{Name: "http", Port: 80, Protocol: corev1.ProtocolTCP, TargetPort: intstr.FromInt32(8080)}},
		},
	}
	for _, f := range change {
		f(s)
	}
	return s
}

func pod(ip string, ready bool, change ...func(*corev1.Pod)) *corev1.Pod {
	p := &corev1.Pod{
		ObjectMeta: metav1.ObjectMeta{Namespace: "ns", Name: "p" + ip, UID: types.UID(ip)},
		Spec:       corev1.PodSpec{NodeName: "node", Containers: []corev1.Container{{Name: "c"}}},
		Status:     corev1.PodStatus{Phase: corev1.PodRunning, PodIP: ip, PodIPs: []corev1.PodIP{{IP: ip}}},
	}
	if ip == "" {
		p.Status.PodIPs = nil
	}
	if ready {
		p.Status.Conditions = []corev1.PodCondition{{Type: corev1.PodReady, Status: corev1.ConditionTrue}}
	}
	for _, f := range change {
		f(p)
	}
	return p
}

func named(port int32) func(*corev1.Pod) {
	return func(p *corev1.Pod) {
		p.Spec.Containers[0].Ports = []corev1.ContainerPort{{Name: "web", ContainerPort: port, Protocol: corev1.ProtocolTCP}}
	}
}

func deleted(p *corev1.Pod) { p.DeletionTimestamp = &metav1.Time{} }

// show writes subsets as "port: ready addresses | others".
func show(subsets []corev1.EndpointSubset) []string {
	var out []string
	for _, s := range subsets {
		line := ""
		for _, p := range s.Ports {
			line += fmt.Sprintf("%s=%d/%s ", p.Name, p.Port, p.Protocol)
		}
		for _, a := range s.Addresses {
			line += a.IP + a.Hostname + " "
		}
		for _, a := range s.NotReadyAddresses {
			line += "!" + a.IP + " "
		}
		out = append(out, line[:len(line)-1])
	}
	return out
}

func TestSubsets(t *testing.T) {
	byName := func(s *corev1.Service) { s.Spec.Ports[0].TargetPort = intstr.FromString("web") }
	two := func(s *corev1.Service) {
		s.Spec.Ports = append(s.Spec.Ports, corev1.ServicePort{Name: "dns", Protocol: corev1.ProtocolUDP, TargetPort: intstr.FromInt32(53)})
	}
	for _, tc := range []struct {
		name string
		svc  *corev1.Service
		pods []*corev1.Pod
		want []string
	}{
		{"no pods", svc(), nil, nil},
		{"sorted by number, ready and not", svc(), []*corev1.Pod{pod("10.0.0.10", true), pod("10.0.0.9", true), pod("10.0.0.1", false)},
			[]string{"http=8080/TCP 10.0.0.9 10.0.0.10 !10.0.0.1"}},
		{"without address, finished, deleted", svc(), []*corev1.Pod{
			pod("", true), pod("10.0.0.1", true, func(p *corev1.Pod) { p.Status.Phase = corev1.PodFailed }), pod("10.0.0.2", true, deleted)}, nil},
		{"deleted, but published", svc(func(s *corev1.Service) { s.Spec.PublishNotReadyAddresses = true }),
			[]*corev1.Pod{pod("10.0.0.2", false, deleted), pod("10.0.0.1", false)}, []string{"http=8080/TCP 10.0.0.1 10.0.0.2"}},
		{"named ports that differ between pods", svc(byName), []*corev1.Pod{pod("10.0.0.1", true, named(80)), pod("10.0.0.2", true, named(90)), pod("10.0.0.3", true)},
			[]string{"http=80/TCP 10.0.0.1", "http=90/TCP 10.0.0.2"}},
		{"several ports", svc(two), []*corev1.Pod{pod("10.0.0.1", true)}, []string{"dns=53/UDP http=8080/TCP 10.0.0.1"}},
		{"headless without ports", svc(func(s *corev1.Service) { s.Spec.ClusterIP, s.Spec.Ports = "None", nil }),
			[]*corev1.Pod{pod("10.0.0.1", true)}, []string{"10.0.0.1"}},
		{"hostname of a pod in the service's subdomain", svc(), []*corev1.Pod{pod("10.0.0.1", true, func(p *corev1.Pod) {
			p.Spec.Hostname, p.Spec.Subdomain = "db-0", "web"
		})}, []string{"http=8080/TCP 10.0.0.1db-0"}},
		{"the family of the service", svc(func(s *corev1.Service) { s.Spec.IPFamilies = []corev1.IPFamily{corev1.IPv6Protocol} }),
			[]*corev1.Pod{pod("10.0.0.1", true), pod("10.0.0.2", true, func(p *corev1.Pod) {
				p.Status.PodIPs = append(p.Status.PodIPs, corev1.PodIP{IP: "fd00::2"})
			})}, []string{"http=8080/TCP fd00::2"}},
	} {
		t.Run(tc.name, func(t *testing.T) {
			if diff := cmp.Diff(tc.want, show(subsets(tc.svc, tc.pods))); diff != "" {
				t.Errorf("subsets (-want +got):\n%s", diff)
			}
		})
	}
}

func TestPlan(t *testing.T) {
	pods := []*corev1.Pod{pod("10.0.0.1", true), pod("10.0.0.2", true)}
	first, changed := plan(svc(), pods, nil, "then")
	if !changed {
		t.Fatal("nothing to do, though there are no Endpoints")
	}
	if diff := cmp.Diff(map[string]string{"tier": "front", managedByLabel: managerName}, first.Labels); diff != "" {
		t.Errorf("labels (-want +got):\n%s", diff)
	}
	if got := first.Annotations[corev1.EndpointsLastChangeTriggerTime]; got != "then" {
		t.Errorf("trigger time is %q", got)
	}
	if _, changed := plan(svc(), []*corev1.Pod{pods[1], pods[0]}, first, "later"); changed {
		t.Error("the order of the pods makes a difference")
	}
	headless, changed := plan(svc(func(s *corev1.Service) { s.Spec.ClusterIP = "None" }), pods, first, "")
	if _, ok := headless.Labels[corev1.IsHeadlessService]; !ok || !changed {
		t.Errorf("headless: changed is %v, labels are %v", changed, headless.Labels)
	}
	if _, ok := headless.Annotations[corev1.EndpointsLastChangeTriggerTime]; ok {
		t.Error("an old trigger time stays")
	}
}

func TestPlanOverCapacity(t *testing.T) {
	var pods []*corev1.Pod
	for i := range maxAddresses + 10 {
		pods = append(pods, pod(fmt.Sprintf("10.0.%d.%d", i/250, i%250+1), i >= 20))
	}
	got, _ := plan(svc(), pods, nil, "")
	if got.Annotations[corev1.EndpointsOverCapacity] != truncated {
		t.Errorf("annotations are %v", got.Annotations)
	}
	s := got.Subsets[0]
	if len(s.Addresses) != 990 || len(s.NotReadyAddresses) != 10 {
		t.Errorf("%d ready and %d other addresses, want 990 and 10", len(s.Addresses), len(s.NotReadyAddresses))
	}
	fewer, changed := plan(svc(), pods[:10], got, "")
	if _, over := fewer.Annotations[corev1.EndpointsOverCapacity]; over || !changed {
		t.Errorf("with room again: changed is %v, annotations are %v", changed, fewer.Annotations)
	}
}
