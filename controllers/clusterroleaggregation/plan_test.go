package clusterroleaggregation

import (
	"testing"

	"github.com/google/go-cmp/cmp"
	rbacv1 "k8s.io/api/rbac/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

func TestAggregate(t *testing.T) {
	role := func(name, label string, resources ...string) rbacv1.ClusterRole {
		r := rbacv1.ClusterRole{ObjectMeta: metav1.ObjectMeta{Name: name, Labels: map[string]string{"to": label}}}
		for _, resource := range resources {
			r.Rules = append(r.Rules, rbacv1.PolicyRule{Verbs: []string{"get"}, Resources: []string{resource}})
		}
		return r
	}
	top := role("view", "view", "stale")
	top.AggregationRule = &rbacv1.AggregationRule{ClusterRoleSelectors: []metav1.LabelSelector{
		{MatchLabels: map[string]string{"to": "view"}}, {MatchLabels: map[string]string{"to": "other"}}}}
	got, err := aggregate(&top, []rbacv1.ClusterRole{role("b", "view", "pods", "nodes"), role("a", "other", "pods"), role("c", "edit", "secrets"), top})
	if err != nil {
		t.Fatal(err)
	}
	var resources []string
	for _, rule := range got {
		resources = append(resources, rule.Resources...)
	}
	if d := cmp.Diff([]string{"pods", "nodes"}, resources); d != "" {
		t.Errorf("rules (-want +got):\n%s", d)
	}
}
