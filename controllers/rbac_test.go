package controllers_test

import (
	"bytes"
	"context"
	"crypto/x509/pkix"
	"net/netip"
	"strings"
	"sync"
	"testing"
	"time"

	appsv1 "k8s.io/api/apps/v1"
	batchv1 "k8s.io/api/batch/v1"
	certificatesv1 "k8s.io/api/certificates/v1"
	corev1 "k8s.io/api/core/v1"
	networkingv1 "k8s.io/api/networking/v1"
	resourcev1 "k8s.io/api/resource/v1"
	storagev1 "k8s.io/api/storage/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/api/resource"
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
	certFile, keyFile, _ := authority(t)
	go func() {
		done <- controllers.Run(ctx, as, controllers.Options{
			NodeMonitorGracePeriod: time.Second, LoadBalancerPools: []netip.Prefix{netip.MustParsePrefix("192.0.2.0/24")},
			ClusterSigningCertFile: certFile, ClusterSigningKeyFile: keyFile,
		})
	}()
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
	e.storageAndIdentity()
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

// storageAndIdentity gives the controllers of volumes, devices, certificates and tokens something to do,
// and waits until they have done it.
func (e *env) storageAndIdentity() {
	e.t.Helper()
	e.persistentVolume("kept", "x", "1Gi", corev1.PersistentVolumeReclaimRetain)
	e.delete(e.awaitBound("x"))
	e.awaitVolume("kept", corev1.VolumeReleased)
	p := &corev1.Pod{ObjectMeta: metav1.ObjectMeta{Namespace: e.ns, Name: "claims"}, Spec: template().Spec}
	p.Spec.ResourceClaims = []corev1.PodResourceClaim{{Name: "gpu", ResourceClaimTemplateName: new("gpu")}}
	p.Spec.Volumes = []corev1.Volume{{Name: "scratch", VolumeSource: corev1.VolumeSource{Ephemeral: &corev1.EphemeralVolumeSource{VolumeClaimTemplate: &corev1.PersistentVolumeClaimTemplate{
		Spec: corev1.PersistentVolumeClaimSpec{StorageClassName: new("disk"), AccessModes: []corev1.PersistentVolumeAccessMode{corev1.ReadWriteOnce},
			Resources: corev1.VolumeResourceRequirements{Requests: corev1.ResourceList{corev1.ResourceStorage: resource.MustParse("1Gi")}}}}}}}}
	e.create(&resourcev1.ResourceClaimTemplate{ObjectMeta: metav1.ObjectMeta{Namespace: e.ns, Name: "gpu"}})
	e.create(&corev1.PersistentVolume{ObjectMeta: metav1.ObjectMeta{Name: "disk"}, Spec: corev1.PersistentVolumeSpec{
		StorageClassName: "disk", AccessModes: []corev1.PersistentVolumeAccessMode{corev1.ReadWriteOnce}, Capacity: corev1.ResourceList{corev1.ResourceStorage: resource.MustParse("1Gi")},
		PersistentVolumeSource: corev1.PersistentVolumeSource{CSI: &corev1.CSIPersistentVolumeSource{Driver: "disk.example.com", VolumeHandle: "h"}}}})
	e.create(p)
	e.eventually("the pod has its claims", func() error {
		e.get("claims", p)
		return expect("number of claims", len(p.Status.ResourceClaimStatuses), 1)
	}, &corev1.PodList{})
	e.eventually("the pod's volume is asked for", func() error {
		var list storagev1.VolumeAttachmentList
		if err := e.List(e.t.Context(), &list); err != nil {
			return err
		}
		return expect("number of attachments", len(list.Items), 1)
	}, &storagev1.VolumeAttachmentList{})
	e.finish(p)
	e.awaitGone(&resourcev1.ResourceClaim{ObjectMeta: metav1.ObjectMeta{Namespace: e.ns, Name: *p.Status.ResourceClaimStatuses[0].ResourceClaimName}}, &resourcev1.ResourceClaimList{})
	e.awaitFinalizer(&networkingv1.ServiceCIDR{ObjectMeta: metav1.ObjectMeta{Name: "kubernetes"}}, "networking.k8s.io/service-cidr-finalizer", &networkingv1.ServiceCIDRList{})

	e.create(&corev1.Service{ObjectMeta: metav1.ObjectMeta{Namespace: e.ns, Name: "balanced"}, Spec: corev1.ServiceSpec{
		Type: corev1.ServiceTypeLoadBalancer, Ports: []corev1.ServicePort{{Port: 80}}}})
	e.eventually("the service has an address", func() error {
		s := &corev1.Service{}
		e.get("balanced", s)
		return expect("number of addresses", len(s.Status.LoadBalancer.Ingress), 1)
	}, &corev1.ServiceList{})
	e.certificateRequest("node", certificatesv1.KubeAPIServerClientKubeletSignerName,
		pkix.Name{CommonName: "system:node:n", Organization: []string{"system:nodes"}}, certificatesv1.UsageDigitalSignature, certificatesv1.UsageClientAuth)
	e.awaitRequest("node", "signed", func(r *certificatesv1.CertificateSigningRequest) bool { return len(r.Status.Certificate) > 0 })
	e.create(&corev1.Secret{ObjectMeta: metav1.ObjectMeta{Namespace: e.ns, Name: "token", Annotations: map[string]string{corev1.ServiceAccountNameKey: "default"}}, Type: corev1.SecretTypeServiceAccountToken})
	e.eventually("the secret has a token", func() error {
		s := &corev1.Secret{}
		e.get("token", s)
		return expect("filled", len(s.Data["token"]) > 0, true)
	}, &corev1.SecretList{})
	e.create(&corev1.ConfigMap{ObjectMeta: metav1.ObjectMeta{Namespace: metav1.NamespacePublic, Name: "cluster-info"}, Data: map[string]string{"kubeconfig": "x"}})
	e.create(&corev1.Secret{ObjectMeta: metav1.ObjectMeta{Namespace: metav1.NamespaceSystem, Name: "bootstrap-token-aaaaaa"}, Type: corev1.SecretTypeBootstrapToken,
		StringData: map[string]string{"token-id": "aaaaaa", "token-secret": "0123456789abcdef", "usage-bootstrap-signing": "true"}})
	public := *e
	public.ns = metav1.NamespacePublic
	public.eventually("the cluster's description is signed", func() error {
		info := &corev1.ConfigMap{}
		public.get("cluster-info", info)
		return expect("signed", info.Data["jws-kubeconfig-aaaaaa"] != "", true)
	}, &corev1.ConfigMapList{})
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
