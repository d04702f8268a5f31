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
	flowcontrolv1 "k8s.io/api/flowcontrol/v1"
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

// operated is a server that keeps watch over its requests, and what it is watched by.
type operated struct {
	config *rest.Config
	server *apiserver.Server
	client kubernetes.Interface
	audit  string
}

func TestOperation(t *testing.T) {
	dir := t.TempDir()
	policy := filepath.Join(dir, "policy.yaml")
	if err := os.WriteFile(policy, []byte(auditPolicy), 0o600); err != nil {
		t.Fatal(err)
	}
	spans := startCollector(t)
	o := &operated{audit: filepath.Join(dir, "audit.log")}
	o.config, o.server = apiservertest.Start(t, func(opts *apiserver.Options) {
		opts.Operation.Audit.PolicyFile = policy
		opts.Operation.Audit.LogOptions.Path = o.audit
		opts.Operation.Tracing.ConfigFile = spans.config(t, dir)
	})
	o.client = clientFor(t, o.config)
	for name, f := range map[string]func(*testing.T, *operated){
		"Flows": testFlows, "FlowLimits": testFlowLimits, "Quota": testQuota, "PodSecurity": testPodSecurity,
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

func testFlows(t *testing.T, o *operated) {
	schemas, levels := o.client.FlowcontrolV1().FlowSchemas(), o.client.FlowcontrolV1().PriorityLevelConfigurations()
	f, err := schemas.Get(t.Context(), "global-default", metav1.GetOptions{})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := levels.Get(t.Context(), "exempt", metav1.GetOptions{}); err != nil {
		t.Error(err)
	}
	eventually(t, "an ordinary request takes the default flow", func(context.Context) (bool, any) {
		resp, _ := o.as(t, "jane", "/api/v1/namespaces")
		got := resp.Header.Get(flowcontrolv1.ResponseHeaderMatchedFlowSchemaUID)
		return got == string(f.UID), got
	})
	// What is mandatory comes back, what is suggested is as its user wants it.
	f.Spec.MatchingPrecedence = 9899
	f.Annotations[flowcontrolv1.AutoUpdateAnnotationKey] = "false"
	if _, err := schemas.Update(t.Context(), f, metav1.UpdateOptions{}); err != nil {
		t.Error(err)
	}
}

// testFlowLimits gives a user the least capacity: one request at a time.
func testFlowLimits(t *testing.T, o *operated) {
	zero := int32(0)
	_, err := o.client.FlowcontrolV1().PriorityLevelConfigurations().Create(t.Context(), &flowcontrolv1.PriorityLevelConfiguration{
		ObjectMeta: metav1.ObjectMeta{Name: "nothing"},
		Spec: flowcontrolv1.PriorityLevelConfigurationSpec{Type: flowcontrolv1.PriorityLevelEnablementLimited, Limited: &flowcontrolv1.LimitedPriorityLevelConfiguration{
			NominalConcurrencyShares: &zero, BorrowingLimitPercent: &zero, LimitResponse: flowcontrolv1.LimitResponse{Type: flowcontrolv1.LimitResponseTypeReject},
		}},
	}, metav1.CreateOptions{})
	if err != nil {
		t.Fatal(err)
	}
	schema, err := o.client.FlowcontrolV1().FlowSchemas().Create(t.Context(), &flowcontrolv1.FlowSchema{
		ObjectMeta: metav1.ObjectMeta{Name: "greedy"},
		Spec: flowcontrolv1.FlowSchemaSpec{
			MatchingPrecedence: 100, PriorityLevelConfiguration: flowcontrolv1.PriorityLevelConfigurationReference{Name: "nothing"},
			Rules: []flowcontrolv1.PolicyRulesWithSubjects{{
				Subjects:      []flowcontrolv1.Subject{{Kind: flowcontrolv1.SubjectKindUser, User: &flowcontrolv1.UserSubject{Name: "greedy"}}},
				ResourceRules: []flowcontrolv1.ResourcePolicyRule{{Verbs: []string{"*"}, APIGroups: []string{"*"}, Resources: []string{"*"}, ClusterScope: true, Namespaces: []string{"*"}}},
			}},
		},
	}, metav1.CreateOptions{})
	if err != nil {
		t.Fatal(err)
	}
	eventually(t, "the user takes the flow", func(context.Context) (bool, any) {
		resp, _ := o.as(t, "greedy", "/api/v1/namespaces")
		got := resp.Header.Get(flowcontrolv1.ResponseHeaderMatchedFlowSchemaUID)
		return got == string(schema.UID), got
	})
	release := o.occupy(t, "greedy")
	defer release()
	eventually(t, "the user is refused", func(context.Context) (bool, any) {
		resp, body := o.as(t, "greedy", "/api/v1/namespaces")
		return resp.StatusCode == http.StatusTooManyRequests && resp.Header.Get("Retry-After") != "", body
	})
	if resp, body := o.as(t, "jane", "/api/v1/namespaces"); resp.StatusCode != http.StatusOK {
		t.Errorf("another user: %s", body)
	}
	eventually(t, "the schema says that its level is there", func(ctx context.Context) (bool, any) {
		f, err := o.client.FlowcontrolV1().FlowSchemas().Get(ctx, "greedy", metav1.GetOptions{})
		return err == nil && slices.ContainsFunc(f.Status.Conditions, func(c flowcontrolv1.FlowSchemaCondition) bool {
			return c.Type == flowcontrolv1.FlowSchemaConditionDangling && c.Status == flowcontrolv1.ConditionFalse
		}), err
	})
}

// occupy begins a request of the user's that ends when the returned function is called: its body does
// not come.
func (o *operated) occupy(t *testing.T, name string) (release func()) {
	t.Helper()
	c := apiservertest.TLS(o.server)
	c.Impersonate.UserName = name
	client, err := rest.HTTPClientFor(c)
	if err != nil {
		t.Fatal(err)
	}
	body, pipe := io.Pipe()
	done := make(chan struct{})
	go func() {
		defer close(done)
		for status := http.StatusTooManyRequests; status == http.StatusTooManyRequests; { // another one came first
			req, err := http.NewRequestWithContext(t.Context(), http.MethodPost, c.Host+"/api/v1/namespaces/default/configmaps", io.NopCloser(body))
			if err != nil {
				t.Error(err)
				return
			}
			resp, err := client.Do(req)
			if err != nil {
				return
			}
			resp.Body.Close()
			status = resp.StatusCode
		}
	}()
	return func() {
		pipe.Close()
		<-done
	}
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

func testPodSecurity(t *testing.T, o *operated) {
	namespaced(t, o, "secure", map[string]string{"pod-security.kubernetes.io/enforce": "baseline"})
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
