package controllers_test

import (
	"bytes"
	"context"
	"strings"
	"sync"
	"testing"
	"time"

	appsv1 "k8s.io/api/apps/v1"
	batchv1 "k8s.io/api/batch/v1"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apiserver/pkg/authentication/user"
	clientgoscheme "k8s.io/client-go/kubernetes/scheme"
	"k8s.io/klog/v2"
	"k8s.io/klog/v2/textlogger"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"coracle.dev/coracle/apiserver"
	"coracle.dev/coracle/apiserver/apiservertest"
	"coracle.dev/coracle/controllers"
)

// TestPermissions runs all controllers as the user that they are in a cluster,
// with RBAC on, and sees that nothing is forbidden to them.
func TestPermissions(t *testing.T) {
	_, server := apiservertest.Start(t, func(o *apiserver.Options) { o.AuthorizationModes = []string{"RBAC"} })
	c, err := client.NewWithWatch(server.ClientConfig(apiservertest.Admin), client.Options{Scheme: clientgoscheme.Scheme})
	if err != nil {
		t.Fatal(err)
	}
	e := &env{WithWatch: c, t: t, ns: "test"}
	ns := &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: e.ns}}
	e.create(ns)
	e.create(&corev1.Node{ObjectMeta: metav1.ObjectMeta{Name: "node"}})

	log := &lockedBuffer{}
	logger := textlogger.NewLogger(textlogger.NewConfig(textlogger.Output(log), textlogger.Verbosity(2)))
	ctx, cancel := context.WithCancel(klog.NewContext(t.Context(), logger))
	as := server.ClientConfig(&user.DefaultInfo{Name: "system:kube-controller-manager", Groups: []string{user.AllAuthenticated}})
	done := make(chan error, 1)
	go func() { done <- controllers.Run(ctx, as, controllers.Options{NodeMonitorGracePeriod: time.Second}) }()
	defer func() {
		cancel()
		if err := <-done; err != nil {
			t.Errorf("running controllers: %v", err)
		}
		for line := range strings.Lines(log.String()) {
			if strings.Contains(strings.ToLower(line), "forbidden") {
				t.Error(strings.TrimSpace(line))
			}
		}
	}()
	e.kubelet()
	d := deployment("web", 2)
	e.create(d)
	e.create(&corev1.Service{ObjectMeta: metav1.ObjectMeta{Namespace: e.ns, Name: "web"}, Spec: corev1.ServiceSpec{
		Selector: map[string]string{"app": "web"}, Ports: []corev1.ServicePort{{Port: 80}}}})
	e.eventually("the deployment is rolled out", func() error {
		e.get("web", d)
		return expect("updated", d.Status.UpdatedReplicas, int32(2))
	}, &appsv1.DeploymentList{})
	ttl := job("sum", 2, 4, corev1.PodSucceeded)
	ttl.Spec.TTLSecondsAfterFinished = new(int32(60))
	e.create(ttl)
	e.waitJob("sum", batchv1.JobComplete)
	tmpl := template("app", "mysql")
	e.create(&corev1.ReplicationController{ObjectMeta: metav1.ObjectMeta{Namespace: e.ns, Name: "mysql"},
		Spec: corev1.ReplicationControllerSpec{Replicas: new(int32(1)), Template: &tmpl}})
	ds := &appsv1.DaemonSet{ObjectMeta: metav1.ObjectMeta{Namespace: e.ns, Name: "agent"}, Spec: appsv1.DaemonSetSpec{
		Selector: &metav1.LabelSelector{MatchLabels: map[string]string{"app": "agent"}}, Template: template("app", "agent")}}
	ds.Spec.Template.Spec.NodeName = ""
	ds.Spec.Template.Spec.Tolerations = []corev1.Toleration{{Operator: corev1.TolerationOpExists}}
	e.create(ds)
	e.waitDaemonSet("agent", 1)
	e.taints("node", "node.kubernetes.io/unreachable:NoSchedule")
	e.delete(d, client.PropagationPolicy(metav1.DeletePropagationForeground))
	e.delete(ns)
	e.eventually("the namespace is gone", func() error {
		if err := e.Get(t.Context(), client.ObjectKeyFromObject(ns), ns); !apierrors.IsNotFound(err) {
			return expect("the namespace", ns.Status, "gone")
		}
		return nil
	}, &corev1.NamespaceList{}, &corev1.PodList{})
}

// lockedBuffer is a buffer that several may write to.
type lockedBuffer struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (b *lockedBuffer) Write(p []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.b.Write(p)
}

func (b *lockedBuffer) String() string {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.b.String()
}
