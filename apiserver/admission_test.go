package apiserver_test

import (
	"context"
	"fmt"
	"strings"
	"testing"

	corev1 "k8s.io/api/core/v1"
	rbacv1 "k8s.io/api/rbac/v1"
	"k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/kubernetes"

	"coracle.dev/coracle/apiserver"
	"coracle.dev/coracle/apiserver/apiservertest"
)

const admissionConfiguration = `apiVersion: apiserver.config.k8s.io/v1
kind: AdmissionConfiguration
plugins:
- name: PodNodeSelector
  path: node-selectors.yaml
- name: PodTolerationRestriction
  configuration:
    apiVersion: podtolerationrestriction.admission.k8s.io/v1alpha1
    kind: Configuration
    default: [{key: sea, operator: Exists}]
- name: EventRateLimit
  configuration:
    apiVersion: eventratelimit.admission.k8s.io/v1alpha1
    kind: Configuration
    limits: [{type: Namespace, qps: 1, burst: 1}]
`

// TestAdmissionByFlags switches on what is off by default, configured by a file.
func TestAdmissionByFlags(t *testing.T) {
	file := writeFile(t, "admission.yaml", strings.Replace(admissionConfiguration, "node-selectors.yaml",
		writeFile(t, "node-selectors.yaml", "podNodeSelectorPluginConfig: {clusterDefaultNodeSelector: 'water=salt'}"), 1))
	admin, server := apiservertest.Start(t, func(o *apiserver.Options) {
		o.AuthorizationModes = []string{"RBAC"}
		o.EnableAdmissionPlugins = []string{
			"AlwaysAdmit", "NamespaceAutoProvision", "NamespaceExists", "AlwaysPullImages", "PodNodeSelector", "PodTolerationRestriction",
			"EventRateLimit", "ExtendedResourceToleration", "LimitPodHardAntiAffinityTopology", "DenyServiceExternalIPs",
			"OwnerReferencesPermissionEnforcement", "SecurityContextDeny",
		}
		o.Operation.AdmissionConfigFile = file
	})
	c := clientFor(t, admin)
	ctx := t.Context()

	pod := &corev1.Pod{ObjectMeta: metav1.ObjectMeta{Name: "p"}, Spec: corev1.PodSpec{Containers: []corev1.Container{{
		Name: "c", Image: "busybox:1", ImagePullPolicy: corev1.PullNever, Resources: corev1.ResourceRequirements{
			Requests: corev1.ResourceList{"example.com/gpu": resource.MustParse("1")}, Limits: corev1.ResourceList{"example.com/gpu": resource.MustParse("1")}},
	}}}}
	got, err := c.CoreV1().Pods("unmade").Create(ctx, pod, metav1.CreateOptions{})
	if err != nil {
		t.Fatal(err)
	}
	if policy := got.Spec.Containers[0].ImagePullPolicy; policy != corev1.PullAlways {
		t.Errorf("the image's policy is %s", policy)
	}
	if got.Spec.NodeSelector["water"] != "salt" {
		t.Errorf("the node selector is %v", got.Spec.NodeSelector)
	}
	tolerated := map[string]bool{}
	for _, toleration := range got.Spec.Tolerations {
		tolerated[toleration.Key] = true
	}
	if !tolerated["sea"] || !tolerated["example.com/gpu"] {
		t.Errorf("the tolerations are %v", got.Spec.Tolerations)
	}
	if _, err := c.CoreV1().Namespaces().Get(ctx, "unmade", metav1.GetOptions{}); err != nil {
		t.Errorf("the namespace of the pod: %v", err)
	}
	testAdmissionRefusals(t, c)
	testOwners(t, c, server)
}

func testAdmissionRefusals(t *testing.T, c kubernetes.Interface) {
	t.Helper()
	id := int64(1)
	bare := func() *corev1.Pod {
		return &corev1.Pod{ObjectMeta: metav1.ObjectMeta{Name: "refused"}, Spec: corev1.PodSpec{Containers: []corev1.Container{{Name: "c", Image: "busybox:1"}}}}
	}
	create := func(p *corev1.Pod) func(context.Context) error {
		return func(ctx context.Context) error {
			_, err := c.CoreV1().Pods("default").Create(ctx, p, metav1.CreateOptions{})
			return err
		}
	}
	asUser, apart, elsewhere := bare(), bare(), bare()
	asUser.Spec.SecurityContext = &corev1.PodSecurityContext{RunAsUser: &id}
	elsewhere.Spec.NodeSelector = map[string]string{"water": "sweet"}
	apart.Spec.Affinity = &corev1.Affinity{PodAntiAffinity: &corev1.PodAntiAffinity{RequiredDuringSchedulingIgnoredDuringExecution: []corev1.PodAffinityTerm{
		{TopologyKey: "zone", LabelSelector: &metav1.LabelSelector{MatchLabels: map[string]string{"a": "b"}}},
	}}}
	event := func(ctx context.Context) error {
		_, err := c.CoreV1().Events("default").Create(ctx, &corev1.Event{
			ObjectMeta: metav1.ObjectMeta{GenerateName: "e-"}, InvolvedObject: corev1.ObjectReference{Kind: "Pod", Namespace: "default", Name: "p"},
		}, metav1.CreateOptions{})
		return err
	}
	for name, test := range map[string]struct {
		do   func(context.Context) error
		want string
	}{
		"a user of its own": {create(asUser), "pod.Spec.SecurityContext.RunAsUser is forbidden"},
		"apart by zone":     {create(apart), "only key kubernetes.io/hostname is allowed"},
		"elsewhere":         {create(elsewhere), "pod node label selector conflicts with its namespace node label selector"},
		"an external address": {func(ctx context.Context) error {
			_, err := c.CoreV1().Services("default").Create(ctx, &corev1.Service{ObjectMeta: metav1.ObjectMeta{Name: "s"}, Spec: corev1.ServiceSpec{
				ExternalIPs: []string{"192.0.2.7"}, Ports: []corev1.ServicePort{{Port: 80}},
			}}, metav1.CreateOptions{})
			return err
		}, "Use of external IPs is denied by admission control"},
		"events by the dozen": {func(ctx context.Context) error {
			for range 12 {
				if err := event(ctx); err != nil {
					return err
				}
			}
			return nil
		}, "limit reached on type Namespace for key default"},
	} {
		if err := test.do(t.Context()); err == nil || !strings.Contains(err.Error(), test.want) {
			t.Errorf("%s: %v, want %s", name, err, test.want)
		}
	}
}

// testOwners: who may edit config maps, but not delete them, cannot hand them to the garbage collector.
func testOwners(t *testing.T, c kubernetes.Interface, server *apiserver.Server) {
	t.Helper()
	ctx := t.Context()
	role := &rbacv1.ClusterRole{ObjectMeta: metav1.ObjectMeta{Name: "editor"}, Rules: []rbacv1.PolicyRule{
		{Verbs: []string{"get", "create", "update"}, APIGroups: []string{""}, Resources: []string{"configmaps"}},
	}}
	binding := &rbacv1.ClusterRoleBinding{
		ObjectMeta: metav1.ObjectMeta{Name: "editor"}, RoleRef: rbacv1.RoleRef{APIGroup: rbacv1.GroupName, Kind: "ClusterRole", Name: "editor"},
		Subjects: []rbacv1.Subject{{Kind: "User", APIGroup: rbacv1.GroupName, Name: "ed"}},
	}
	if _, err := c.RbacV1().ClusterRoles().Create(ctx, role, metav1.CreateOptions{}); err != nil {
		t.Fatal(err)
	}
	if _, err := c.RbacV1().ClusterRoleBindings().Create(ctx, binding, metav1.CreateOptions{}); err != nil {
		t.Fatal(err)
	}
	config := apiservertest.TLS(server)
	config.Impersonate.UserName = "ed"
	maps := clientFor(t, config).CoreV1().ConfigMaps("default")
	owner := &corev1.ConfigMap{ObjectMeta: metav1.ObjectMeta{Name: "owner"}}
	eventuallyNil(t, "ed's role", func() (err error) {
		owner, err = maps.Create(ctx, &corev1.ConfigMap{ObjectMeta: metav1.ObjectMeta{Name: "owner"}}, metav1.CreateOptions{})
		return err
	})
	yes := true
	ref := metav1.OwnerReference{APIVersion: "v1", Kind: "ConfigMap", Name: "owner", UID: owner.UID}
	owned := &corev1.ConfigMap{ObjectMeta: metav1.ObjectMeta{Name: "owned", OwnerReferences: []metav1.OwnerReference{ref}}}
	owned, err := maps.Create(ctx, owned, metav1.CreateOptions{})
	if err != nil {
		t.Fatal(err)
	}
	owned.OwnerReferences = nil
	if _, err = maps.Update(ctx, owned, metav1.UpdateOptions{}); err == nil || !strings.Contains(err.Error(), "cannot set an ownerRef on a resource you can't delete") {
		t.Errorf("letting go: %v", err)
	}
	ref.BlockOwnerDeletion = &yes
	blocking := &corev1.ConfigMap{ObjectMeta: metav1.ObjectMeta{Name: "blocking", OwnerReferences: []metav1.OwnerReference{ref}}}
	if _, err = maps.Create(ctx, blocking, metav1.CreateOptions{}); err == nil || !strings.Contains(err.Error(), "cannot set blockOwnerDeletion if an ownerReference refers to a resource you can't set finalizers on") {
		t.Errorf("blocking: %v", err)
	}
}

// TestFaultyAdmissionConfiguration: the server says what is wrong, and does not start.
func TestFaultyAdmissionConfiguration(t *testing.T) {
	for plugin, want := range map[string]string{
		"ImagePolicyWebhook": "the plugin needs a configuration",
		"EventRateLimit":     "the plugin needs a configuration",
		"Nonsense":           `unknown admission plugin "Nonsense"`,
	} {
		err := startAndFail(t, func(o *apiserver.Options) { o.EnableAdmissionPlugins = []string{plugin} })
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v, want %s", plugin, err, want)
		}
	}
}

func startAndFail(t *testing.T, change func(*apiserver.Options)) error {
	t.Helper()
	o := apiserver.NewOptions()
	o.SecurePort, o.Etcd.DataDir, o.Etcd.UnsafeNoFsync = 0, t.TempDir(), true
	change(o)
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	config, err := o.Config(ctx)
	if err != nil {
		return err
	}
	if _, err = config.Complete().New(ctx); err == nil {
		return fmt.Errorf("the server was made")
	}
	return err
}
