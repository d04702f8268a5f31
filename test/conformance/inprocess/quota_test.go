package inprocess

import (
	"context"
	"fmt"
	"testing"

	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
)

func TestResourceQuotas(t *testing.T) {
	e := cluster(t)
	parallel(t, []subtest{
		{"status", e.quotaStatus},
		{"update and delete", e.quotaUpdate},
		{"manage lifecycle", e.quotaLifecycle},
		{"configmap", e.quotaConfigMap},
		{"secret", e.quotaSecret},
		{"service", e.quotaService},
		{"replicaSet", e.quotaReplicaSet},
		{"replicationController", e.quotaReplicationController},
		{"pod", e.quotaPod},
		{"resourcequotas", e.quotaItself},
		{"BestEffort and NotBestEffort scope", e.quotaBestEffort},
		{"Terminating and NotTerminating scope", e.quotaTerminating},
	})
}

// amounts reads names and quantities in turn.
func amounts(kv ...string) corev1.ResourceList {
	list := corev1.ResourceList{}
	for k, v := range pairs(kv) {
		list[corev1.ResourceName(k)] = resource.MustParse(v)
	}
	return list
}

// quota makes a quota and waits until its usage is counted.
func (e *env) quota(t *testing.T, ns, name string, hard corev1.ResourceList, scopes ...corev1.ResourceQuotaScope) *corev1.ResourceQuota {
	t.Helper()
	q := &corev1.ResourceQuota{ObjectMeta: metav1.ObjectMeta{Name: name}, Spec: corev1.ResourceQuotaSpec{Hard: hard, Scopes: scopes}}
	must(e.CoreV1().ResourceQuotas(ns).Create(t.Context(), q, metav1.CreateOptions{}))(t)
	eventually(t, "the quota's usage is counted", func(ctx context.Context) (err error) {
		if q, err = e.CoreV1().ResourceQuotas(ns).Get(ctx, name, metav1.GetOptions{}); err != nil {
			return err
		}
		return same(q.Status.Hard, hard)
	})
	return q
}

// same compares amounts; what is only in got does not matter.
func same(got, want corev1.ResourceList) error {
	for name, w := range want {
		if g, ok := got[name]; !ok || g.Cmp(w) != 0 {
			return fmt.Errorf("%s is %s, want %s", name, g.String(), w.String())
		}
	}
	return nil
}

// uses waits until the quota counts the given amounts.
func (e *env) uses(t *testing.T, ns, name string, used ...string) {
	t.Helper()
	eventually(t, fmt.Sprintf("%s counts %v", name, used), func(ctx context.Context) error {
		q, err := e.CoreV1().ResourceQuotas(ns).Get(ctx, name, metav1.GetOptions{})
		if err != nil {
			return err
		}
		return same(q.Status.Used, amounts(used...))
	})
}

func (e *env) quotaStatus(t *testing.T) {
	ns := e.settled(t)
	api := e.CoreV1().ResourceQuotas(ns)
	hard := amounts("cpu", "500m", "memory", "500Mi")
	e.quota(t, ns, "q", hard)
	// The controller makes the status' limits those of the spec; a write may meet its own.
	eventually(t, "the status is updated", func(ctx context.Context) error {
		q := must(api.Get(ctx, "q", metav1.GetOptions{}))(t)
		q.Status.Hard = hard
		q, err := api.UpdateStatus(ctx, q, metav1.UpdateOptions{})
		if err != nil {
			return err
		}
		return same(q.Status.Hard, hard)
	})
	higher := amounts("cpu", "1", "memory", "1Gi")
	q := must(api.Patch(t.Context(), "q", types.StrategicMergePatchType, []byte(`{"spec":{"hard":{"cpu":"1","memory":"1Gi"}}}`), metav1.PatchOptions{}))(t)
	if err := same(q.Spec.Hard, higher); err != nil {
		t.Errorf("patched spec: %v", err)
	}
	q = must(api.Patch(t.Context(), "q", types.StrategicMergePatchType, []byte(`{"status":{"hard":{"cpu":"1","memory":"1Gi"}}}`), metav1.PatchOptions{}, "status"))(t)
	if err := same(q.Status.Hard, higher); err != nil {
		t.Errorf("patched status: %v", err)
	}
	got := &corev1.ResourceQuota{}
	must(0, e.CoreV1().RESTClient().Get().Namespace(ns).Resource("resourcequotas").Name("q").SubResource("status").Do(t.Context()).Into(got))(t)
	if err := same(got.Status.Hard, got.Spec.Hard); err != nil {
		t.Errorf("status of /status: %v", err)
	}
	q = must(api.Patch(t.Context(), "q", types.StrategicMergePatchType, []byte(`{"spec":{"hard":{"cpu":"7"}},"status":{"hard":{"cpu":"2","memory":"2Gi"}}}`), metav1.PatchOptions{}, "status"))(t)
	if err := same(q.Spec.Hard, higher); err != nil {
		t.Errorf("patching /status changed the spec: %v", err)
	}
	if err := same(q.Status.Hard, amounts("cpu", "2", "memory", "2Gi")); err != nil {
		t.Errorf("patched status: %v", err)
	}
}

func (e *env) quotaUpdate(t *testing.T) {
	ns := e.settled(t)
	api := e.CoreV1().ResourceQuotas(ns)
	e.quota(t, ns, "q", amounts("cpu", "1", "memory", "500Mi"))
	want := amounts("cpu", "2", "memory", "1Gi")
	eventually(t, "the quota is updated", func(ctx context.Context) error {
		q := must(api.Get(ctx, "q", metav1.GetOptions{}))(t)
		q.Spec.Hard = want
		_, err := api.Update(ctx, q, metav1.UpdateOptions{})
		return err
	})
	if err := same(must(api.Get(t.Context(), "q", metav1.GetOptions{}))(t).Spec.Hard, want); err != nil {
		t.Error(err)
	}
	must(0, api.Delete(t.Context(), "q", metav1.DeleteOptions{}))(t)
	if _, err := api.Get(t.Context(), "q", metav1.GetOptions{}); !apierrors.IsNotFound(err) {
		t.Errorf("after its deletion: %v", err)
	}
}

func (e *env) quotaLifecycle(t *testing.T) {
	ns := e.settled(t)
	q := &corev1.ResourceQuota{ObjectMeta: metav1.ObjectMeta{Name: "q", Labels: map[string]string{"quota": ns}}}
	q.Spec.Hard = amounts("cpu", "1", "memory", "500Mi")
	must(e.CoreV1().ResourceQuotas(ns).Create(t.Context(), q, metav1.CreateOptions{}))(t)
	selected := metav1.ListOptions{LabelSelector: "quota=" + ns}
	if n := len(must(e.CoreV1().ResourceQuotas("").List(t.Context(), selected))(t).Items); n != 1 {
		t.Errorf("%d quotas are listed in all namespaces, want 1", n)
	}
	patched := must(e.CoreV1().ResourceQuotas(ns).Patch(t.Context(), "q", types.StrategicMergePatchType, []byte(`{"metadata":{"labels":{"patched":"yes"}},"spec":{"hard":{"memory":"750Mi"}}}`), metav1.PatchOptions{}))(t)
	if err := same(patched.Spec.Hard, amounts("cpu", "1", "memory", "750Mi")); err != nil || patched.Labels["patched"] != "yes" {
		t.Errorf("patched: %v, labels %v", err, patched.Labels)
	}
	must(0, e.CoreV1().ResourceQuotas(ns).DeleteCollection(t.Context(), metav1.DeleteOptions{}, selected))(t)
	if n := len(must(e.CoreV1().ResourceQuotas("").List(t.Context(), selected))(t).Items); n != 0 {
		t.Errorf("%d quotas are left", n)
	}
}

func (e *env) quotaItself(t *testing.T) {
	ns := e.settled(t)
	e.quota(t, ns, "q", amounts("resourcequotas", "1", "pods", "5"))
	e.uses(t, ns, "q", "resourcequotas", "1", "pods", "0")
}

func (e *env) quotaConfigMap(t *testing.T) {
	ns := e.settled(t)
	e.quota(t, ns, "q", amounts("configmaps", "2"))
	e.uses(t, ns, "q", "configmaps", "1") // the authority's certificate
	must(e.CoreV1().ConfigMaps(ns).Create(t.Context(), configMap("c"), metav1.CreateOptions{}))(t)
	e.uses(t, ns, "q", "configmaps", "2")
	eventually(t, "one too many is refused", func(ctx context.Context) error {
		_, err := e.CoreV1().ConfigMaps(ns).Create(ctx, configMap("d"), dry)
		return lacks(err, `configmaps "d" is forbidden: exceeded quota: q, requested: configmaps=1, used: configmaps=2, limited: configmaps=2`)
	})
	must(0, e.CoreV1().ConfigMaps(ns).Delete(t.Context(), "c", metav1.DeleteOptions{}))(t)
	e.uses(t, ns, "q", "configmaps", "1")
}

func (e *env) quotaSecret(t *testing.T) {
	ns := e.settled(t)
	e.quota(t, ns, "q", amounts("secrets", "1", "resourcequotas", "1"))
	e.uses(t, ns, "q", "secrets", "0", "resourcequotas", "1")
	must(e.CoreV1().Secrets(ns).Create(t.Context(), &corev1.Secret{ObjectMeta: metav1.ObjectMeta{Name: "s"}}, metav1.CreateOptions{}))(t)
	e.uses(t, ns, "q", "secrets", "1", "resourcequotas", "1")
	must(0, e.CoreV1().Secrets(ns).Delete(t.Context(), "s", metav1.DeleteOptions{}))(t)
	e.uses(t, ns, "q", "secrets", "0")
}

func (e *env) quotaService(t *testing.T) {
	ns := e.settled(t)
	e.quota(t, ns, "q", amounts("services", "2", "services.nodeports", "1", "services.loadbalancers", "0", "resourcequotas", "1"))
	service := func(ctx context.Context, name string, kind corev1.ServiceType, o metav1.CreateOptions) error {
		s := &corev1.Service{ObjectMeta: metav1.ObjectMeta{Name: name}, Spec: corev1.ServiceSpec{Type: kind, Ports: []corev1.ServicePort{{Port: 80}}}}
		_, err := e.CoreV1().Services(ns).Create(ctx, s, o)
		return err
	}
	eventually(t, "a load balancer is refused", func(ctx context.Context) error { // once admission has seen the quota
		return lacks(service(ctx, "load", corev1.ServiceTypeLoadBalancer, dry), "exceeded quota: q", "services.loadbalancers=1")
	})
	must(0, service(t.Context(), "cluster", corev1.ServiceTypeClusterIP, metav1.CreateOptions{}))(t)
	must(0, service(t.Context(), "node", corev1.ServiceTypeNodePort, metav1.CreateOptions{}))(t)
	refused(t, "a load balancer", service(t.Context(), "load", corev1.ServiceTypeLoadBalancer, metav1.CreateOptions{}), "exceeded quota: q", "services.loadbalancers=1")
	e.uses(t, ns, "q", "services", "2", "services.nodeports", "1", "services.loadbalancers", "0")
	for _, name := range []string{"cluster", "node"} {
		must(0, e.CoreV1().Services(ns).Delete(t.Context(), name, metav1.DeleteOptions{}))(t)
	}
	e.uses(t, ns, "q", "services", "0", "services.nodeports", "0")
}

func (e *env) quotaReplicaSet(t *testing.T) {
	ns := e.settled(t)
	e.quota(t, ns, "q", amounts("count/replicasets.apps", "1"))
	d := simpleDeployment("web", 0)
	rs := &appsv1.ReplicaSet{ObjectMeta: d.ObjectMeta, Spec: appsv1.ReplicaSetSpec{Replicas: new(int32(0)), Selector: d.Spec.Selector, Template: d.Spec.Template}}
	must(e.AppsV1().ReplicaSets(ns).Create(t.Context(), rs, metav1.CreateOptions{}))(t)
	e.uses(t, ns, "q", "count/replicasets.apps", "1")
	must(0, e.AppsV1().ReplicaSets(ns).Delete(t.Context(), "web", metav1.DeleteOptions{}))(t)
	e.uses(t, ns, "q", "count/replicasets.apps", "0")
}

func (e *env) quotaReplicationController(t *testing.T) {
	ns := e.settled(t)
	e.quota(t, ns, "q", amounts("replicationcontrollers", "1"))
	e.controlled(t, ns, "web", 0)
	e.uses(t, ns, "q", "replicationcontrollers", "1")
	must(0, e.CoreV1().ReplicationControllers(ns).Delete(t.Context(), "web", propagation(metav1.DeletePropagationBackground)))(t)
	e.uses(t, ns, "q", "replicationcontrollers", "0")
}
