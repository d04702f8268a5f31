package quota

import (
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	corev1 "k8s.io/api/core/v1"
	resourcev1 "k8s.io/api/resource/v1"
	apiresource "k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"
)

var now = time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)

func list(pairs ...string) corev1.ResourceList {
	out := corev1.ResourceList{}
	for i := 0; i < len(pairs); i += 2 {
		out[corev1.ResourceName(pairs[i])] = apiresource.MustParse(pairs[i+1])
	}
	return out
}

func shown(l corev1.ResourceList) map[string]string {
	out := map[string]string{}
	for name, q := range l {
		out[string(name)] = q.String()
	}
	return out
}

func container(name string, requests, limits corev1.ResourceList) corev1.Container {
	return corev1.Container{Name: name, Resources: corev1.ResourceRequirements{Requests: requests, Limits: limits}}
}

func podOf(containers ...corev1.Container) *corev1.Pod {
	return &corev1.Pod{Spec: corev1.PodSpec{Containers: containers}}
}

func pointer[T any](v T) *T { return &v }

func TestUsage(t *testing.T) {
	full := podOf(
		container("a", list("cpu", "1", "memory", "1Gi", "hugepages-2Mi", "4Mi", "example.com/gpu", "2"), list("cpu", "2", "ephemeral-storage", "1Gi")),
		container("b", list("cpu", "500m"), nil))
	done := full.DeepCopy()
	done.Status.Phase = corev1.PodSucceeded
	overdue, leaving := full.DeepCopy(), full.DeepCopy()
	overdue.DeletionTimestamp, overdue.DeletionGracePeriodSeconds = &metav1.Time{Time: now.Add(-time.Second)}, pointer(int64(30))
	leaving.DeletionTimestamp, leaving.DeletionGracePeriodSeconds = &metav1.Time{Time: now.Add(time.Second)}, pointer(int64(30))
	everything := map[string]string{
		"count/pods": "1", "pods": "1", "cpu": "1500m", "requests.cpu": "1500m", "memory": "1Gi", "requests.memory": "1Gi",
		"hugepages-2Mi": "4Mi", "requests.hugepages-2Mi": "4Mi", "requests.example.com/gpu": "2", "limits.cpu": "2", "limits.ephemeral-storage": "1Gi",
	}
	claim := &corev1.PersistentVolumeClaim{Spec: corev1.PersistentVolumeClaimSpec{
		StorageClassName: pointer("fast"), Resources: corev1.VolumeResourceRequirements{Requests: list("storage", "2Gi")},
	}}
	shrunk := claim.DeepCopy()
	shrunk.Status.AllocatedResources = list("storage", "5Gi")
	claimed := func(size string) map[string]string {
		return map[string]string{
			"count/persistentvolumeclaims": "1", "persistentvolumeclaims": "1", "requests.storage": size,
			"fast.storageclass.storage.k8s.io/persistentvolumeclaims": "1", "fast.storageclass.storage.k8s.io/requests.storage": size,
		}
	}
	ports := []corev1.ServicePort{{Port: 1}, {Port: 2, NodePort: 30000}}
	service := func(ports, balancers string) map[string]string {
		return map[string]string{"count/services": "1", "services": "1", "services.nodeports": ports, "services.loadbalancers": balancers}
	}
	exact := func(class string, n int64) resourcev1.DeviceRequest {
		return resourcev1.DeviceRequest{Exactly: &resourcev1.ExactDeviceRequest{DeviceClassName: class, AllocationMode: resourcev1.DeviceAllocationModeExactCount, Count: n}}
	}
	devices := &resourcev1.ResourceClaim{}
	devices.Spec.Devices.Requests = []resourcev1.DeviceRequest{
		exact("gpu", 2), {FirstAvailable: []resourcev1.DeviceSubRequest{{DeviceClassName: "gpu", Count: 1}, {DeviceClassName: "gpu", Count: 3}, {DeviceClassName: "nic", AllocationMode: resourcev1.DeviceAllocationModeAll}}},
	}
	for name, c := range map[string]struct {
		gr   schema.GroupResource
		obj  runtime.Object
		want map[string]string
	}{
		"pod":          {corev1.Resource("pods"), full, everything},
		"leaving pod":  {corev1.Resource("pods"), leaving, everything},
		"done pod":     {corev1.Resource("pods"), done, map[string]string{"count/pods": "1"}},
		"overdue pod":  {corev1.Resource("pods"), overdue, map[string]string{"count/pods": "1"}},
		"claim":        {corev1.Resource("persistentvolumeclaims"), claim, claimed("2Gi")},
		"shrunk claim": {corev1.Resource("persistentvolumeclaims"), shrunk, claimed("5Gi")},
		"service":      {corev1.Resource("services"), &corev1.Service{Spec: corev1.ServiceSpec{Ports: ports}}, service("0", "0")},
		"node port":    {corev1.Resource("services"), &corev1.Service{Spec: corev1.ServiceSpec{Type: corev1.ServiceTypeNodePort, Ports: ports}}, service("2", "0")},
		"balancer":     {corev1.Resource("services"), &corev1.Service{Spec: corev1.ServiceSpec{Type: corev1.ServiceTypeLoadBalancer, Ports: ports}}, service("2", "1")},
		"balancer without ports": {corev1.Resource("services"), &corev1.Service{Spec: corev1.ServiceSpec{
			Type: corev1.ServiceTypeLoadBalancer, Ports: ports, AllocateLoadBalancerNodePorts: pointer(false),
		}}, service("1", "1")},
		"devices": {resourcev1.Resource("resourceclaims"), devices, map[string]string{
			"count/resourceclaims.resource.k8s.io": "1", "gpu.deviceclass.resource.k8s.io/devices": "5", "nic.deviceclass.resource.k8s.io/devices": "32",
		}},
		"secret": {corev1.Resource("secrets"), &corev1.Secret{}, map[string]string{"count/secrets": "1", "secrets": "1"}},
		"custom": {schema.GroupResource{Group: "example.com", Resource: "things"}, nil, map[string]string{"count/things.example.com": "1"}},
	} {
		t.Run(name, func(t *testing.T) {
			k := For(c.gr)
			used := k.Usage(c.obj, now)
			if diff := cmp.Diff(c.want, shown(used)); diff != "" {
				t.Errorf("usage (-want +got):\n%s", diff)
			}
			if names := k.Names(keys(used)); len(names) != len(used) {
				t.Errorf("uses %v, of which it says only %v", keys(used), names)
			}
		})
	}
}

func TestMatches(t *testing.T) {
	best := podOf(container("a", nil, nil))
	burst := podOf(container("a", list("cpu", "1"), nil))
	burst.Spec.PriorityClassName = "high"
	burst.Spec.ActiveDeadlineSeconds = pointer(int64(5))
	burst.Spec.Affinity = &corev1.Affinity{PodAntiAffinity: &corev1.PodAntiAffinity{
		PreferredDuringSchedulingIgnoredDuringExecution: []corev1.WeightedPodAffinityTerm{{PodAffinityTerm: corev1.PodAffinityTerm{Namespaces: []string{"other"}}}},
	}}
	selector := func(scope corev1.ResourceQuotaScope, op corev1.ScopeSelectorOperator, values ...string) corev1.ResourceQuotaSpec {
		return corev1.ResourceQuotaSpec{ScopeSelector: &corev1.ScopeSelector{MatchExpressions: []corev1.ScopedResourceSelectorRequirement{
			{ScopeName: scope, Operator: op, Values: values},
		}}}
	}
	scopes := func(s ...corev1.ResourceQuotaScope) corev1.ResourceQuotaSpec {
		return corev1.ResourceQuotaSpec{Scopes: s}
	}
	for name, c := range map[string]struct {
		spec        corev1.ResourceQuotaSpec
		best, burst bool
	}{
		"no scopes":               {corev1.ResourceQuotaSpec{}, true, true},
		"best effort":             {scopes(corev1.ResourceQuotaScopeBestEffort), true, false},
		"not best effort":         {scopes(corev1.ResourceQuotaScopeNotBestEffort), false, true},
		"terminating":             {scopes(corev1.ResourceQuotaScopeTerminating), false, true},
		"not terminating":         {scopes(corev1.ResourceQuotaScopeNotTerminating), true, false},
		"two scopes":              {scopes(corev1.ResourceQuotaScopeTerminating, corev1.ResourceQuotaScopeBestEffort), false, false},
		"any priority":            {scopes(corev1.ResourceQuotaScopePriorityClass), false, true},
		"priority":                {selector(corev1.ResourceQuotaScopePriorityClass, corev1.ScopeSelectorOpIn, "high", "low"), false, true},
		"other priority":          {selector(corev1.ResourceQuotaScopePriorityClass, corev1.ScopeSelectorOpNotIn, "low"), true, true},
		"no priority":             {selector(corev1.ResourceQuotaScopePriorityClass, corev1.ScopeSelectorOpDoesNotExist), true, false},
		"across namespaces":       {scopes(corev1.ResourceQuotaScopeCrossNamespacePodAffinity), false, true},
		"volume attributes class": {scopes(corev1.ResourceQuotaScopeVolumeAttributesClass), false, false},
	} {
		t.Run(name, func(t *testing.T) {
			q := &corev1.ResourceQuota{Spec: c.spec}
			hard := list("pods", "1")
			if got := For(corev1.Resource("pods")).Matches(q, hard, best); got != c.best {
				t.Errorf("matches a pod of best effort: %v", got)
			}
			if got := For(corev1.Resource("pods")).Matches(q, hard, burst); got != c.burst {
				t.Errorf("matches a pod with requests: %v", got)
			}
			if For(corev1.Resource("pods")).Matches(q, list("secrets", "1"), burst) {
				t.Error("a quota of secrets matches a pod")
			}
		})
	}
}

func TestClaimsByAttributesClass(t *testing.T) {
	claim := &corev1.PersistentVolumeClaim{Status: corev1.PersistentVolumeClaimStatus{
		CurrentVolumeAttributesClassName: pointer("silver"), ModifyVolumeStatus: &corev1.ModifyVolumeStatus{TargetVolumeAttributesClassName: "gold"},
	}}
	for _, class := range []string{"silver", "gold", "bronze"} {
		q := &corev1.ResourceQuota{Spec: corev1.ResourceQuotaSpec{ScopeSelector: &corev1.ScopeSelector{MatchExpressions: []corev1.ScopedResourceSelectorRequirement{
			{ScopeName: corev1.ResourceQuotaScopeVolumeAttributesClass, Operator: corev1.ScopeSelectorOpIn, Values: []string{class}},
		}}}}
		if got := For(corev1.Resource("persistentvolumeclaims")).Matches(q, list("requests.storage", "1"), claim); got != (class != "bronze") {
			t.Errorf("class %s: %v", class, got)
		}
	}
}

func TestUnspecified(t *testing.T) {
	p := podOf(container("b", list("cpu", "1"), nil), container("a", nil, list("memory", "1")))
	err := Unspecified(p, []corev1.ResourceName{"pods", "requests.cpu", "memory", "limits.memory", "requests.example.com/gpu"})
	if want := "must specify limits.memory for: b; memory for: a,b; requests.cpu for: a"; err == nil || err.Error() != want {
		t.Errorf("got %v, want %s", err, want)
	}
	p.Spec.Resources = &corev1.ResourceRequirements{Requests: list("cpu", "1", "memory", "1"), Limits: list("memory", "1")}
	if err := Unspecified(p, []corev1.ResourceName{"requests.cpu", "memory", "limits.memory"}); err != nil {
		t.Errorf("though the pod says it: %v", err)
	}
}

func TestUsed(t *testing.T) {
	q := &corev1.ResourceQuota{Spec: corev1.ResourceQuotaSpec{Hard: list("pods", "5", "limits.cpu", "1", "requests.memory", "1", "secrets", "1")}}
	got := For(corev1.Resource("pods")).Used(q, []runtime.Object{podOf(container("a", list("memory", "1Gi"), nil)), podOf(container("a", list("memory", "2Gi"), nil))}, now)
	if diff := cmp.Diff(map[string]string{"pods": "2", "limits.cpu": "0", "requests.memory": "3Gi"}, shown(got)); diff != "" {
		t.Errorf("used (-want +got):\n%s", diff)
	}
}

func TestResources(t *testing.T) {
	got := Resources([]corev1.ResourceName{"cpu", "pods", "count/deployments.apps", "secrets", "gold.storageclass.storage.k8s.io/requests.storage", "services.nodeports", "requests.example.com/gpu"})
	want := []schema.GroupResource{
		{Resource: "pods"}, {Group: "apps", Resource: "deployments"}, {Resource: "secrets"}, {Resource: "persistentvolumeclaims"}, {Resource: "services"},
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("-want +got:\n%s", diff)
	}
}
