package resourcequota

import (
	"strings"
	"testing"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apiserver/pkg/admission"
	plugin "k8s.io/apiserver/pkg/admission/plugin/resourcequota"
	resourcequotaapi "k8s.io/apiserver/pkg/admission/plugin/resourcequota/apis/resourcequota"
	upstream "k8s.io/apiserver/pkg/quota/v1"
	"k8s.io/apiserver/pkg/quota/v1/generic"
)

func of(gr schema.GroupResource) upstream.Evaluator {
	return generic.NewRegistry(Configuration().Evaluators()).Get(gr)
}

func list(pairs ...string) corev1.ResourceList {
	out := corev1.ResourceList{}
	for i := 0; i < len(pairs); i += 2 {
		out[corev1.ResourceName(pairs[i])] = resource.MustParse(pairs[i+1])
	}
	return out
}

func quotaOf(hard, used corev1.ResourceList, scopes ...corev1.ResourceQuotaScope) corev1.ResourceQuota {
	return corev1.ResourceQuota{
		ObjectMeta: metav1.ObjectMeta{Name: "q", Namespace: "n"}, Spec: corev1.ResourceQuotaSpec{Hard: hard, Scopes: scopes},
		Status: corev1.ResourceQuotaStatus{Hard: hard, Used: used},
	}
}

func pod(requests corev1.ResourceList) *corev1.Pod {
	return &corev1.Pod{Spec: corev1.PodSpec{Containers: []corev1.Container{{Name: "a", Resources: corev1.ResourceRequirements{Requests: requests}}}}}
}

func attrs(obj, old runtime.Object, resource, subresource string, op admission.Operation) admission.Attributes {
	return admission.NewAttributesRecord(obj, old, schema.GroupVersionKind{}, "n", "x", corev1.SchemeGroupVersion.WithResource(resource), subresource, op, nil, false, nil)
}

// TestCheck drives the plugin's own rule with our evaluators.
func TestCheck(t *testing.T) {
	resized := pod(list("cpu", "3"))
	resized.ResourceVersion = "1"
	old := pod(list("cpu", "1"))
	old.ResourceVersion = "1"
	limited := []resourcequotaapi.LimitedResource{{Resource: "pods", MatchContains: []string{"cpu"}}}
	service := &corev1.Service{Spec: corev1.ServiceSpec{Type: corev1.ServiceTypeNodePort, Ports: []corev1.ServicePort{{Port: 1}, {Port: 2}}}}
	plain := &corev1.Service{ObjectMeta: metav1.ObjectMeta{ResourceVersion: "1"}}
	for name, c := range map[string]struct {
		q       corev1.ResourceQuota
		a       admission.Attributes
		limited []resourcequotaapi.LimitedResource
		refused string
		used    string
	}{
		"fits":           {quotaOf(list("cpu", "2", "pods", "3"), list("cpu", "1", "pods", "1")), attrs(pod(list("cpu", "1")), nil, "pods", "", admission.Create), nil, "", "cpu=2 pods=2"},
		"exceeds":        {quotaOf(list("cpu", "2"), list("cpu", "1500m")), attrs(pod(list("cpu", "1")), nil, "pods", "", admission.Create), nil, "exceeded quota: q, requested: cpu=1, used: cpu=1500m, limited: cpu=2", ""},
		"open":           {quotaOf(list("limits.memory", "2"), list("limits.memory", "0")), attrs(pod(nil), nil, "pods", "", admission.Create), nil, "failed quota: q: must specify limits.memory for: a", ""},
		"uncounted":      {quotaOf(list("cpu", "2"), nil), attrs(pod(list("cpu", "1")), nil, "pods", "", admission.Create), nil, "status unknown for quota: q, resources: cpu", ""},
		"other scope":    {quotaOf(list("pods", "0"), list("pods", "0"), corev1.ResourceQuotaScopeTerminating), attrs(pod(nil), nil, "pods", "", admission.Create), nil, "", "pods=0"},
		"resize":         {quotaOf(list("cpu", "2"), list("cpu", "1")), attrs(resized, old, "pods", "resize", admission.Update), nil, "exceeded quota: q, requested: cpu=2, used: cpu=1, limited: cpu=2", ""},
		"update":         {quotaOf(list("cpu", "2"), list("cpu", "1")), attrs(resized, old, "pods", "", admission.Update), nil, "", "cpu=1"},
		"limited":        {quotaOf(list("secrets", "2"), list("secrets", "1")), attrs(pod(list("cpu", "1")), nil, "pods", "", admission.Create), limited, "insufficient quota to consume: cpu", ""},
		"service":        {quotaOf(list("services.nodeports", "3"), list("services.nodeports", "1")), attrs(service, plain, "services", "", admission.Update), nil, "", "services.nodeports=3"},
		"too many ports": {quotaOf(list("services.nodeports", "2"), list("services.nodeports", "1")), attrs(service, plain, "services", "", admission.Update), nil, "exceeded quota", ""},
		"secret":         {quotaOf(list("secrets", "1"), list("secrets", "1")), attrs(&corev1.Secret{}, nil, "secrets", "", admission.Create), nil, "exceeded quota: q, requested: secrets=1, used: secrets=1, limited: secrets=1", ""},
		"count":          {quotaOf(list("count/pods", "1"), list("count/pods", "1")), attrs(pod(nil), nil, "pods", "", admission.Create), nil, "exceeded quota: q, requested: count/pods=1", ""},
	} {
		t.Run(name, func(t *testing.T) {
			out, err := plugin.CheckRequest([]corev1.ResourceQuota{c.q}, c.a, of(c.a.GetResource().GroupResource()), c.limited)
			if (err != nil) != (c.refused != "") || err != nil && !strings.Contains(err.Error(), c.refused) {
				t.Fatalf("got %v, want %q", err, c.refused)
			}
			if err != nil {
				return
			}
			var used []string
			for _, name := range []string{"cpu", "pods", "services.nodeports"} {
				if q, ok := out[0].Status.Used[corev1.ResourceName(name)]; ok {
					used = append(used, name+"="+q.String())
				}
			}
			if got := strings.Join(used, " "); got != c.used {
				t.Errorf("used %q, want %q", got, c.used)
			}
		})
	}
}

func TestClaimStatus(t *testing.T) {
	e := of(corev1.Resource("persistentvolumeclaims"))
	same, more := &corev1.PersistentVolumeClaim{}, &corev1.PersistentVolumeClaim{Status: corev1.PersistentVolumeClaimStatus{AllocatedResources: list("storage", "1Gi")}}
	if e.Handles(attrs(same, same, "persistentvolumeclaims", "status", admission.Update)) || !e.Handles(attrs(more, same, "persistentvolumeclaims", "status", admission.Update)) {
		t.Error("a status is looked at where it changes what a claim counts for, and only there")
	}
}
