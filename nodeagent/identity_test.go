package nodeagent

import (
	"context"
	"testing"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apiserver/pkg/authentication/user"
	"k8s.io/client-go/kubernetes"

	"coracle.dev/coracle/apiserver"
	"coracle.dev/coracle/apiserver/apiservertest"
)

// TestAsNode: what a node may do under the Node authorizer, RBAC and
// NodeRestriction suffices for the agent.
func TestAsNode(t *testing.T) {
	cfg, server := apiservertest.Start(t, func(o *apiserver.Options) { o.AuthorizationModes = []string{"Node", "RBAC"} })
	client := kubernetes.NewForConfigOrDie(cfg)
	node := server.ClientConfig(&user.DefaultInfo{Name: "system:node:n1", Groups: []string{user.NodesGroup, user.AllAuthenticated}})
	w := newFakeWorld(t, client)
	w.begin(func(ctx context.Context) error {
		return RunOn(ctx, node, w.options, Runtime{CRI: w.cri.CRI(), Images: w.cri.Images()})
	})
	w.namespaces()
	w.start()
	w.configMap("c", map[string]string{"k": "v"})
	if _, err := client.CoreV1().Secrets("default").Create(w.ctx, &corev1.Secret{ObjectMeta: metav1.ObjectMeta{Name: "s"}, Data: map[string][]byte{"k": []byte("v")}}, metav1.CreateOptions{}); err != nil {
		t.Fatal(err)
	}
	if _, err := client.CoreV1().ServiceAccounts("default").Create(w.ctx, &corev1.ServiceAccount{ObjectMeta: metav1.ObjectMeta{Name: "robot"}}, metav1.CreateOptions{}); err != nil {
		t.Fatal(err)
	}
	named := func(name string) corev1.LocalObjectReference { return corev1.LocalObjectReference{Name: name} }
	w.create(appPod("a", func(p *corev1.Pod) {
		p.Spec.ServiceAccountName = "robot"
		p.Spec.Volumes = []corev1.Volume{{Name: "v", VolumeSource: corev1.VolumeSource{Projected: &corev1.ProjectedVolumeSource{Sources: []corev1.VolumeProjection{
			{ServiceAccountToken: &corev1.ServiceAccountTokenProjection{Path: "token"}}, {ConfigMap: &corev1.ConfigMapProjection{LocalObjectReference: named("c")}},
		}}}}}
		p.Spec.Containers[0].EnvFrom = []corev1.EnvFromSource{{SecretRef: &corev1.SecretEnvSource{LocalObjectReference: named("s")}}}
		p.Spec.Containers[0].VolumeMounts = []corev1.VolumeMount{{Name: "v", MountPath: "/v"}}
	}))
	w.until("a", "ready", ready)
	w.wantEvent("a", "Started: Container started")
	if err := client.CoreV1().Pods("default").Delete(w.ctx, "a", metav1.DeleteOptions{}); err != nil {
		t.Fatal(err)
	}
	w.until("a", "gone", gone)
	eventually(t, "the node's lease", func() bool {
		_, err := client.CoordinationV1().Leases("kube-node-lease").Get(w.ctx, "n1", metav1.GetOptions{})
		return err == nil
	})
}
