package endpointslicemirroring

import (
	"fmt"
	"testing"

	"github.com/google/go-cmp/cmp"
	corev1 "k8s.io/api/core/v1"
	discoveryv1 "k8s.io/api/discovery/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
)

func endpoints(subsets ...corev1.EndpointSubset) *corev1.Endpoints {
	return &corev1.Endpoints{
		ObjectMeta: metav1.ObjectMeta{Namespace: "ns", Name: "db", UID: "ep", Labels: map[string]string{"tier": "back"},
			Annotations: map[string]string{"note": "copied", corev1.LastAppliedConfigAnnotation: "{}"}},
		Subsets: subsets,
	}
}

func subset(port int32, ips ...string) corev1.EndpointSubset {
	s := corev1.EndpointSubset{Ports: []corev1.EndpointPort{{Name: "sql", Port: port, Protocol: corev1.ProtocolTCP}}}
	for _, ip := range ips {
		if ip[0] == '!' {
			s.NotReadyAddresses = append(s.NotReadyAddresses, corev1.EndpointAddress{IP: ip[1:]})
		} else {
			s.Addresses = append(s.Addresses, corev1.EndpointAddress{IP: ip})
		}
	}
	return s
}

func show(slices []*discoveryv1.EndpointSlice) []string {
	var out []string
	for _, s := range slices {
		line := fmt.Sprintf("%s %d:", s.AddressType, *s.Ports[0].Port)
		for _, e := range s.Endpoints {
			if *e.Conditions.Ready {
				line += " " + e.Addresses[0]
			} else {
				line += " !" + e.Addresses[0]
			}
		}
		out = append(out, line)
	}
	return out
}

// written is what the slices look like once the server has them.
func written(slices []*discoveryv1.EndpointSlice) []*discoveryv1.EndpointSlice {
	for i, s := range slices {
		s.Name, s.UID = fmt.Sprint("db-", i), types.UID(fmt.Sprint(i))
	}
	return slices
}

func TestPlan(t *testing.T) {
	first := plan(endpoints(subset(3306, "10.0.0.1", "fd00::1", "!10.0.0.2", "db.example.com"), subset(3307, "10.0.0.3")), nil)
	want := []string{"IPv4 3306: 10.0.0.1 !10.0.0.2", "IPv6 3306: fd00::1", "IPv4 3307: 10.0.0.3"}
	if diff := cmp.Diff(want, show(first.create)); diff != "" {
		t.Fatalf("created (-want +got):\n%s", diff)
	}
	s := first.create[0]
	if diff := cmp.Diff(map[string]string{"tier": "back", discoveryv1.LabelServiceName: "db", discoveryv1.LabelManagedBy: managerName}, s.Labels); diff != "" {
		t.Errorf("labels (-want +got):\n%s", diff)
	}
	if diff := cmp.Diff(map[string]string{"note": "copied"}, s.Annotations); diff != "" {
		t.Errorf("annotations (-want +got):\n%s", diff)
	}
	existing := written(first.create)

	same := plan(endpoints(subset(3306, "10.0.0.1", "fd00::1", "!10.0.0.2"), subset(3307, "10.0.0.3")), existing)
	if n := len(same.create) + len(same.update) + len(same.remove); n != 0 {
		t.Errorf("%d writes, though nothing changed", n)
	}

	next := plan(endpoints(subset(3306, "10.0.0.1", "10.0.0.2")), existing)
	if diff := cmp.Diff([]string{"IPv4 3306: 10.0.0.1 10.0.0.2"}, show(next.update)); diff != "" {
		t.Errorf("updated (-want +got):\n%s", diff)
	}
	if next.update[0].Name != "db-0" || len(next.remove) != 2 || len(next.create) != 0 {
		t.Errorf("updated %s, removed %v, created %v", next.update[0].Name, show(next.remove), show(next.create))
	}
}

func TestPlanManyAddresses(t *testing.T) {
	var ips []string
	for i := range perSlice + 5 {
		ips = append(ips, fmt.Sprintf("10.0.%d.%d", i/250, i%250+1))
	}
	got := plan(endpoints(subset(3306, ips...)), nil).create
	if len(got) != 2 || len(got[0].Endpoints) != perSlice || len(got[1].Endpoints) != 5 {
		t.Errorf("%d slices", len(got))
	}
}

func TestMirrored(t *testing.T) {
	plain := &corev1.Service{}
	selecting := &corev1.Service{Spec: corev1.ServiceSpec{Selector: map[string]string{"app": "db"}}}
	skip := endpoints()
	skip.Labels[discoveryv1.LabelSkipMirror] = "true"
	lock := endpoints()
	lock.Annotations[leaderAnnotation] = "{}"
	for name, tc := range map[string]struct {
		ep   *corev1.Endpoints
		svc  *corev1.Service
		want bool
	}{
		"by hand": {endpoints(), plain, true}, "no service": {endpoints(), nil, false}, "selector": {endpoints(), selecting, false},
		"skip": {skip, plain, false}, "lock": {lock, plain, false},
	} {
		if got := mirrored(tc.ep, tc.svc); got != tc.want {
			t.Errorf("%s: mirrored is %v", name, got)
		}
	}
}
