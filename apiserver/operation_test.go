package apiserver_test

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	auditv1 "k8s.io/apiserver/pkg/apis/audit/v1"
	"k8s.io/apiserver/pkg/authentication/user"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/rest"

	"coracle.dev/coracle/apis/catalog"
	"coracle.dev/coracle/apiserver"
	"coracle.dev/coracle/apiserver/apiservertest"
)

// auditPolicy records the bodies of config maps, and of other writes only that they happened.
const auditPolicy = `
apiVersion: audit.k8s.io/v1
kind: Policy
omitStages: [RequestReceived]
rules:
- level: RequestResponse
  verbs: [create, update, patch, delete]
  resources: [{group: "", resources: [configmaps]}]
- level: Metadata
  verbs: [create, update, patch, delete]
- level: None
`

// admissionConfig warns of privileged pods, and lets nobody have gold storage without a quota.
const admissionConfig = `
apiVersion: apiserver.config.k8s.io/v1
kind: AdmissionConfiguration
plugins:
- name: PodSecurity
  configuration: {apiVersion: pod-security.admission.config.k8s.io/v1, kind: PodSecurityConfiguration, defaults: {enforce: baseline}, exemptions: {namespaces: [limited, default]}}
- name: ResourceQuota
  configuration:
    apiVersion: apiserver.config.k8s.io/v1
    kind: ResourceQuotaConfiguration
    limitedResources:
    - {resource: persistentvolumeclaims, matchContains: [gold.storageclass.storage.k8s.io/requests.storage]}
`

// operated is a server that keeps watch over its requests, and what it is watched by.
type operated struct {
	config *rest.Config
	server *apiserver.Server
	client kubernetes.Interface
	audit  string
}

func TestOperation(t *testing.T) {
	dir := t.TempDir()
	policy, plugins := writeFile(t, "policy.yaml", auditPolicy), writeFile(t, "admission.yaml", admissionConfig)
	spans := startCollector(t)
	o := &operated{audit: filepath.Join(dir, "audit.log")}
	o.config, o.server = apiservertest.Start(t, func(opts *apiserver.Options) {
		opts.Operation.Audit.PolicyFile, opts.Operation.AdmissionConfigFile = policy, plugins
		opts.Operation.Audit.LogOptions.Path = o.audit
		opts.Operation.Tracing.ConfigFile = spans.config(t, dir)
	})
	o.client = clientFor(t, o.config)
	for name, f := range map[string]func(*testing.T, *operated){
		"Flows": testFlows, "FlowLimits": testFlowLimits, "Quota": testQuota, "LimitedByDefault": testLimitedByDefault, "PodSecurity": testPodSecurity,
		"Discovery": testDiscovery, "Audit": testAudit, "Checks": testChecks, "Metrics": testMetrics,
	} {
		t.Run(name, func(t *testing.T) { f(t, o) })
	}
	t.Run("Tracing", func(t *testing.T) {
		spans.await(t, "POST /api/v1/namespaces/{:namespace}/secrets", "GuaranteedUpdate etcd3")
	})
}

// as sends a GET as an ordinary user.
func (o *operated) as(t *testing.T, name, path string) (*http.Response, string) {
	t.Helper()
	c := o.server.ClientConfig(&user.DefaultInfo{Name: name, Groups: []string{user.AllAuthenticated}})
	client, err := rest.HTTPClientFor(c)
	if err != nil {
		t.Fatal(err)
	}
	req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, c.Host+path, nil)
	if err != nil {
		t.Fatal(err)
	}
	resp, err := client.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Fatal(err)
	}
	return resp, string(body)
}

func podWith(name, cpu string) *corev1.Pod {
	p := &corev1.Pod{ObjectMeta: metav1.ObjectMeta{Name: name}, Spec: corev1.PodSpec{Containers: []corev1.Container{{Name: "a", Image: "x"}}}}
	if cpu != "" {
		p.Spec.Containers[0].Resources.Requests = corev1.ResourceList{corev1.ResourceCPU: resource.MustParse(cpu)}
	}
	return p
}

func namespaced(t *testing.T, o *operated, name string, labels map[string]string) {
	t.Helper()
	ns := &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: name, Labels: labels}}
	if _, err := o.client.CoreV1().Namespaces().Create(t.Context(), ns, metav1.CreateOptions{}); err != nil {
		t.Fatal(err)
	}
}

func testQuota(t *testing.T, o *operated) {
	namespaced(t, o, "limited", nil)
	quotas, pods := o.client.CoreV1().ResourceQuotas("limited"), o.client.CoreV1().Pods("limited")
	hard := corev1.ResourceList{"pods": resource.MustParse("5"), "requests.cpu": resource.MustParse("1")}
	q, err := quotas.Create(t.Context(), &corev1.ResourceQuota{ObjectMeta: metav1.ObjectMeta{Name: "q"}, Spec: corev1.ResourceQuotaSpec{Hard: hard}}, metav1.CreateOptions{})
	if err != nil {
		t.Fatal(err)
	}
	// The quota controller would do this.
	q.Status.Hard, q.Status.Used = hard, corev1.ResourceList{"pods": resource.MustParse("0"), "requests.cpu": resource.MustParse("0")}
	if _, err := quotas.UpdateStatus(t.Context(), q, metav1.UpdateOptions{}); err != nil {
		t.Fatal(err)
	}
	eventually(t, "the quota is enforced", func(ctx context.Context) (bool, any) {
		_, err := pods.Create(ctx, podWith("silent", ""), metav1.CreateOptions{DryRun: []string{metav1.DryRunAll}})
		return apierrors.IsForbidden(err) && strings.Contains(err.Error(), "failed quota: q: must specify requests.cpu for: a"), err
	})
	if _, err := pods.Create(t.Context(), podWith("first", "600m"), metav1.CreateOptions{}); err != nil {
		t.Fatal(err)
	}
	_, err = pods.Create(t.Context(), podWith("second", "600m"), metav1.CreateOptions{})
	if want := "exceeded quota: q, requested: requests.cpu=600m, used: requests.cpu=600m, limited: requests.cpu=1"; !apierrors.IsForbidden(err) || !strings.Contains(err.Error(), want) {
		t.Errorf("got %v, want %s", err, want)
	}
	q, err = quotas.Get(t.Context(), "q", metav1.GetOptions{})
	if used := q.Status.Used.Pods().Value(); err != nil || used != 1 {
		t.Errorf("%d pods are counted, %v", used, err)
	}
}

func testLimitedByDefault(t *testing.T, o *operated) {
	claim := func(class string) error {
		c := &corev1.PersistentVolumeClaim{ObjectMeta: metav1.ObjectMeta{Name: class}, Spec: corev1.PersistentVolumeClaimSpec{
			StorageClassName: &class, AccessModes: []corev1.PersistentVolumeAccessMode{corev1.ReadWriteOnce},
			Resources: corev1.VolumeResourceRequirements{Requests: corev1.ResourceList{corev1.ResourceStorage: resource.MustParse("1Gi")}},
		}}
		_, err := o.client.CoreV1().PersistentVolumeClaims("default").Create(t.Context(), c, metav1.CreateOptions{})
		return err
	}
	if err := claim("silver"); err != nil {
		t.Error(err)
	}
	if err := claim("gold"); !apierrors.IsForbidden(err) || !strings.Contains(err.Error(), "insufficient quota to consume: gold.storageclass.storage.k8s.io/requests.storage") {
		t.Errorf("got %v", err)
	}
}

func testPodSecurity(t *testing.T, o *operated) {
	namespaced(t, o, "secure", nil) // the default is configured
	p := podWith("p", "")
	p.Spec.HostNetwork = true
	_, err := o.client.CoreV1().Pods("secure").Create(t.Context(), p, metav1.CreateOptions{})
	if want := `violates PodSecurity "baseline:latest": host namespaces (hostNetwork=true)`; !apierrors.IsForbidden(err) || !strings.Contains(err.Error(), want) {
		t.Errorf("got %v, want %s", err, want)
	}
	if _, err := o.client.CoreV1().Pods("secure").Create(t.Context(), podWith("p", ""), metav1.CreateOptions{}); err != nil {
		t.Error(err)
	}
}

func testAudit(t *testing.T, o *operated) {
	const hidden, shown = "not-to-be-logged", "to-be-logged"
	ctx, core := t.Context(), o.client.CoreV1()
	if _, err := core.Secrets("default").Create(ctx, &corev1.Secret{ObjectMeta: metav1.ObjectMeta{Name: "audited"}, StringData: map[string]string{"k": hidden}}, metav1.CreateOptions{}); err != nil {
		t.Fatal(err)
	}
	if _, err := core.ConfigMaps("default").Create(ctx, &corev1.ConfigMap{ObjectMeta: metav1.ObjectMeta{Name: "audited"}, Data: map[string]string{"k": shown}}, metav1.CreateOptions{}); err != nil {
		t.Fatal(err)
	}
	events := map[string]auditv1.Event{}
	eventually(t, "both writes are in the audit log", func(context.Context) (bool, any) {
		text, err := os.ReadFile(o.audit)
		if err != nil {
			return false, err
		}
		if strings.Contains(string(text), hidden) {
			t.Fatal("a secret is in the audit log")
		}
		for line := range strings.Lines(string(text)) {
			var e auditv1.Event
			if json.Unmarshal([]byte(line), &e) == nil && e.ObjectRef != nil && e.ObjectRef.Name == "audited" {
				events[e.ObjectRef.Resource] = e
			}
		}
		return len(events) == 2, events
	})
	for resource, level := range map[string]auditv1.Level{"secrets": auditv1.LevelMetadata, "configmaps": auditv1.LevelRequestResponse} {
		e := events[resource]
		if e.Level != level || e.Verb != "create" || e.User.Username != apiservertest.Admin.Name || e.Stage != auditv1.StageResponseComplete || e.ResponseStatus.Code != http.StatusCreated {
			t.Errorf("%s: %+v", resource, e)
		}
		if has := e.RequestObject != nil && strings.Contains(string(e.RequestObject.Raw), shown); has != (resource == "configmaps") {
			t.Errorf("%s: its body is recorded: %v", resource, has)
		}
	}
}

// testDiscovery expects every group to be listed as soon as the server is ready.
func testDiscovery(t *testing.T, o *operated) {
	groups, err := o.client.Discovery().ServerGroups()
	if err != nil {
		t.Fatal(err)
	}
	for _, d := range catalog.Resources() {
		if !slices.ContainsFunc(groups.Groups, func(g metav1.APIGroup) bool { return g.Name == d.Version.Group }) {
			t.Errorf("group %q is not listed", d.Version.Group)
		}
	}
}

func testChecks(t *testing.T, o *operated) {
	for path, want := range map[string][]string{
		"/livez?verbose": {"ping", "log", "etcd", "poststarthook/priority-and-fairness-config-producer", "livez check passed"},
		"/readyz?verbose": {
			"ping", "log", "etcd", "etcd-readiness", "informer-sync", "autoregister-completion", "shutdown",
			"poststarthook/generic-apiserver-start-informers", "poststarthook/priority-and-fairness-config-consumer",
			"poststarthook/priority-and-fairness-config-producer", "poststarthook/priority-and-fairness-filter",
			"poststarthook/start-apiextensions-controllers", "poststarthook/crd-informer-synced", "poststarthook/apiservice-registration-controller",
			"poststarthook/scheduling/bootstrap-system-priority-classes", "readyz check passed",
		},
		"/healthz?verbose": {"ping", "etcd", "healthz check passed"},
		"/readyz/etcd":     {"ok"},
	} {
		resp, body := o.as(t, "jane", path)
		if resp.StatusCode != http.StatusOK {
			t.Errorf("%s: %s", path, body)
		}
		for _, w := range want {
			if line := "[+]" + w + " ok"; !strings.Contains(body, line) && !strings.Contains(body, w+"\n") && body != w {
				t.Errorf("%s has no line for %s:\n%s", path, w, body)
			}
		}
	}
	if _, body := o.as(t, "jane", "/readyz?verbose&exclude=etcd"); !strings.Contains(body, "[+]etcd excluded: ok") {
		t.Errorf("etcd is not excluded:\n%s", body)
	}
}

func testMetrics(t *testing.T, o *operated) {
	_, body := o.as(t, "jane", "/metrics")
	for _, name := range []string{
		"aggregator_discovery_aggregation_count_total", "apiserver_admission_controller_admission_duration_seconds", "apiserver_admission_step_admission_duration_seconds",
		"apiserver_audit_event_total", "apiserver_cache_list_total", "apiserver_current_inflight_requests", "apiserver_current_inqueue_requests",
		"apiserver_flowcontrol_current_executing_requests", "apiserver_flowcontrol_dispatched_requests_total", "apiserver_flowcontrol_nominal_limit_seats",
		"apiserver_flowcontrol_request_wait_duration_seconds", "apiserver_longrunning_requests", "apiserver_request_duration_seconds",
		"apiserver_request_sli_duration_seconds", "apiserver_request_total", "apiserver_response_sizes", "apiserver_storage_list_total",
		"apiserver_storage_size_bytes", "apiserver_watch_cache_initializations_total", "apiserver_watch_events_total", "authenticated_user_requests",
		"authentication_attempts", "authentication_duration_seconds", "authorization_attempts_total", "etcd_request_duration_seconds", "etcd_requests_total", "go_goroutines",
		"kubernetes_build_info", "pod_security_evaluations_total", "process_resident_memory_bytes", "rest_client_requests_total", "workqueue_depth",
		"apiserver_resource_objects",
	} {
		if !strings.Contains(body, "# TYPE "+name+" ") {
			t.Errorf("no metric %s", name)
		}
	}
	if !strings.Contains(body, `apiserver_flowcontrol_dispatched_requests_total{flow_schema="exempt",priority_level="exempt"}`) {
		t.Error("requests of the server itself are not dispatched as exempt")
	}
	if _, body := o.as(t, "jane", "/metrics/slis"); !strings.Contains(body, fmt.Sprintf("kubernetes_healthcheck{name=%q,type=\"readyz\"} 1", "etcd")) {
		t.Errorf("no check of etcd in /metrics/slis:\n%s", body)
	}
}
