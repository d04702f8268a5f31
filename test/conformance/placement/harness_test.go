package placement

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	schedulingv1 "k8s.io/api/scheduling/v1"
	"k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/cli-runtime/pkg/genericclioptions"
	"k8s.io/cli-runtime/pkg/genericiooptions"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/tools/clientcmd"
	clientcmdapi "k8s.io/client-go/tools/clientcmd/api"
	"k8s.io/klog/v2"
	"k8s.io/kubectl/pkg/cmd"
	cmdutil "k8s.io/kubectl/pkg/cmd/util"

	"coracle.dev/coracle/cluster/clustertest"
)

func TestMain(m *testing.M) {
	klog.LogToStderr(false)
	klog.SetOutput(io.Discard)
	os.Exit(m.Run())
}

// patience is far longer than anything takes, save on a machine that has much else to do.
const patience = 90 * time.Second

type env struct {
	kubernetes.Interface
	cluster    *clustertest.Cluster
	namespaces atomic.Int32
}

func start(t *testing.T, opts ...clustertest.Option) *env {
	t.Helper()
	c := clustertest.New(t, opts...)
	return &env{Interface: kubernetes.NewForConfigOrDie(c.Config), cluster: c}
}

// in is a namespace of one test.
type in struct {
	*env
	t  *testing.T
	ns string
}

// namespace makes a namespace whose default service account is there.
func (e *env) namespace(t *testing.T) in {
	t.Helper()
	name := fmt.Sprintf("placement-%d", e.namespaces.Add(1))
	if _, err := e.CoreV1().Namespaces().Create(t.Context(), &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: name}}, metav1.CreateOptions{}); err != nil {
		t.Fatal(err)
	}
	n := in{env: e, t: t, ns: name}
	n.eventually("the namespace has a service account", func(ctx context.Context) error {
		_, err := e.CoreV1().ServiceAccounts(name).Get(ctx, "default", metav1.GetOptions{})
		return err
	})
	return n
}

// eventually fails the test if check goes on to return an error.
func (n in) eventually(what string, check func(context.Context) error) {
	n.t.Helper()
	ctx, cancel := context.WithTimeout(n.t.Context(), patience)
	defer cancel()
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	var last error
	for {
		err := check(ctx)
		if err == nil {
			return
		}
		if ctx.Err() == nil {
			last = err
		}
		select {
		case <-tick.C:
		case <-ctx.Done():
			n.t.Fatalf("waiting until %s: %v", what, last)
		}
	}
}

type podOption func(*corev1.Pod)

func pod(name string, options ...podOption) *corev1.Pod {
	p := &corev1.Pod{ObjectMeta: metav1.ObjectMeta{Name: name}}
	p.Spec.Containers = []corev1.Container{{Name: "main", Image: "none"}}
	for _, o := range options {
		o(p)
	}
	return p
}

// create makes a pod, when the class that it names has come to the server's own knowledge.
func (n in) create(p *corev1.Pod) *corev1.Pod {
	n.t.Helper()
	var made *corev1.Pod
	n.eventually("pod "+p.Name+" is accepted", func(ctx context.Context) (err error) {
		made, err = n.CoreV1().Pods(n.ns).Create(ctx, p, metav1.CreateOptions{})
		return err
	})
	return made
}

// on keeps a pod to some nodes of a test.
func on(nodes ...string) podOption {
	return func(p *corev1.Pod) {
		p.Spec.Affinity = &corev1.Affinity{NodeAffinity: &corev1.NodeAffinity{RequiredDuringSchedulingIgnoredDuringExecution: &corev1.NodeSelector{
			NodeSelectorTerms: []corev1.NodeSelectorTerm{{MatchExpressions: []corev1.NodeSelectorRequirement{{Key: corev1.LabelHostname, Operator: corev1.NodeSelectorOpIn, Values: nodes}}}}}}}
	}
}

func asks(resources ...string) podOption {
	return func(p *corev1.Pod) {
		list := corev1.ResourceList{}
		for _, r := range resources {
			name, amount, _ := strings.Cut(r, "=")
			list[corev1.ResourceName(name)] = resource.MustParse(amount)
		}
		p.Spec.Containers[0].Resources.Requests = list
	}
}

func labeled(key, value string) podOption {
	return func(p *corev1.Pod) {
		if p.Labels == nil {
			p.Labels = map[string]string{}
		}
		p.Labels[key] = value
	}
}

func class(name string) podOption { return func(p *corev1.Pod) { p.Spec.PriorityClassName = name } }

// runs waits until a pod runs, and returns it.
func (n in) runs(name string) *corev1.Pod {
	n.t.Helper()
	var p *corev1.Pod
	n.eventually("pod "+name+" runs", func(ctx context.Context) (err error) {
		if p, err = n.CoreV1().Pods(n.ns).Get(ctx, name, metav1.GetOptions{}); err == nil && p.Status.Phase != corev1.PodRunning {
			err = fmt.Errorf("it is on node %q, %s: %+v", p.Spec.NodeName, p.Status.Phase, p.Status.Conditions)
		}
		return err
	})
	return p
}

// refused waits until a pod is unschedulable, for a reason that begins with the message, and an event says so too.
func (n in) refused(name, message string) {
	n.t.Helper()
	n.eventually("pod "+name+" is unschedulable", func(ctx context.Context) error {
		p, err := n.CoreV1().Pods(n.ns).Get(ctx, name, metav1.GetOptions{})
		if err != nil {
			return err
		}
		for _, c := range p.Status.Conditions {
			if c.Type == corev1.PodScheduled && c.Reason == corev1.PodReasonUnschedulable && strings.HasPrefix(c.Message, message) {
				return nil
			}
		}
		return fmt.Errorf("it is on node %q: %+v", p.Spec.NodeName, p.Status.Conditions)
	})
	n.eventually("an event tells of pod "+name, func(ctx context.Context) error {
		events, err := n.CoreV1().Events(n.ns).List(ctx, metav1.ListOptions{FieldSelector: "reason=FailedScheduling,involvedObject.name=" + name})
		if err != nil {
			return err
		}
		for _, e := range events.Items {
			if strings.HasPrefix(e.Message, message) {
				return nil
			}
		}
		return fmt.Errorf("the events are %+v", events.Items)
	})
}

// gone waits until a pod has left.
func (n in) gone(p *corev1.Pod) {
	n.t.Helper()
	n.eventually("pod "+p.Name+" is gone", func(ctx context.Context) error {
		now, err := n.CoreV1().Pods(n.ns).Get(ctx, p.Name, metav1.GetOptions{})
		if err == nil && now.UID == p.UID {
			return fmt.Errorf("it is there, with deletion timestamp %v", now.DeletionTimestamp)
		}
		return nil
	})
}

// priority makes a priority class and returns its name.
func (n in) priority(name string, value int32) string {
	n.t.Helper()
	c := &schedulingv1.PriorityClass{ObjectMeta: metav1.ObjectMeta{Name: n.ns + "-" + name}, Value: value}
	if _, err := n.SchedulingV1().PriorityClasses().Create(n.t.Context(), c, metav1.CreateOptions{}); err != nil {
		n.t.Fatal(err)
	}
	return c.Name
}

func (n in) patchNode(name, patch string) {
	n.t.Helper()
	if _, err := n.CoreV1().Nodes().Patch(n.t.Context(), name, types.StrategicMergePatchType, []byte(patch), metav1.PatchOptions{}); err != nil {
		n.t.Fatal(err)
	}
}

// kubectl runs a command of the library that kubectl is made of. It is one for the process: tests that use it run in
// turn.
func (n in) kubectl(args ...string) (_ string, err error) {
	n.t.Helper()
	tls := n.cluster.TLS()
	c := clientcmdapi.NewConfig()
	c.Clusters["c"] = &clientcmdapi.Cluster{Server: tls.Host, CertificateAuthorityData: tls.CAData}
	c.AuthInfos["u"] = &clientcmdapi.AuthInfo{Token: tls.BearerToken}
	c.Contexts["x"] = &clientcmdapi.Context{Cluster: "c", AuthInfo: "u", Namespace: n.ns}
	c.CurrentContext = "x"
	kubeconfig, cache := filepath.Join(n.t.TempDir(), "kubeconfig"), filepath.Join(n.t.TempDir(), "cache")
	if err := clientcmd.WriteToFile(*c, kubeconfig); err != nil {
		n.t.Fatal(err)
	}
	flags := genericclioptions.NewConfigFlags(true).WithDeprecatedPasswordFlag()
	flags.KubeConfig, flags.CacheDir = &kubeconfig, &cache
	cmdutil.BehaviorOnFatal(func(message string, _ int) { panic(fmt.Errorf("%s", message)) })
	defer cmdutil.DefaultBehaviorOnFatal()
	defer func() {
		if r := recover(); r != nil {
			err = fmt.Errorf("kubectl %s: %v", strings.Join(args, " "), r)
		}
	}()
	var out bytes.Buffer
	root := cmd.NewKubectlCommand(cmd.KubectlOptions{ConfigFlags: flags, IOStreams: genericiooptions.IOStreams{In: strings.NewReader(""), Out: &out, ErrOut: &out}})
	root.SetArgs(args)
	root.SilenceUsage = true
	err = root.ExecuteContext(n.t.Context())
	return out.String(), err
}
