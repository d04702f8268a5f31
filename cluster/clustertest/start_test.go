package clustertest_test

import (
	"context"
	"fmt"
	"strings"
	"testing"
	"time"

	appsv1 "k8s.io/api/apps/v1"
	batchv1 "k8s.io/api/batch/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/fields"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/watch"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/tools/cache"
	"k8s.io/client-go/tools/clientcmd"
	watchtools "k8s.io/client-go/tools/watch"
	metrics "k8s.io/metrics/pkg/client/clientset/versioned"

	"coracle.dev/coracle/cluster/clustertest"
	"coracle.dev/coracle/nodeagent/simulate"
)

func clientset(t *testing.T, c *clustertest.Cluster) kubernetes.Interface {
	t.Helper()
	cs, err := kubernetes.NewForConfig(c.Config)
	if err != nil {
		t.Fatal(err)
	}
	return cs
}

// eventually waits until check finds nothing amiss with an object of a kind and name.
func eventually[T runtime.Object](t *testing.T, getter cache.Getter, resource, name string, kind T, check func(T) error) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	last := fmt.Errorf("there is no %s %s", resource, name)
	lw := cache.NewListWatchFromClient(getter, resource, "default", fields.OneTermEqualSelector("metadata.name", name))
	_, err := watchtools.UntilWithSync(ctx, lw, kind, nil, func(e watch.Event) (bool, error) {
		if o, is := e.Object.(T); is && e.Type != watch.Deleted {
			last = check(o)
		}
		return last == nil, nil
	})
	if err != nil {
		t.Fatalf("waiting for %s %s: %v: %v", resource, name, err, last)
	}
}

func template(app string, annotations map[string]string) corev1.PodTemplateSpec {
	return corev1.PodTemplateSpec{
		ObjectMeta: metav1.ObjectMeta{Labels: map[string]string{"app": app}, Annotations: annotations},
		Spec:       corev1.PodSpec{Containers: []corev1.Container{{Name: "main", Image: "app:1"}}},
	}
}

func TestWorkloadsRun(t *testing.T) {
	begin := time.Now()
	c := clustertest.New(t)
	t.Logf("usable after %v", time.Since(begin))
	cs := clientset(t, c)
	selector := &metav1.LabelSelector{MatchLabels: map[string]string{"app": "web"}}
	_, err := cs.AppsV1().Deployments("default").Create(t.Context(), &appsv1.Deployment{
		ObjectMeta: metav1.ObjectMeta{Name: "web"},
		Spec:       appsv1.DeploymentSpec{Replicas: new(int32(5)), Selector: selector, Template: template("web", nil)},
	}, metav1.CreateOptions{})
	if err != nil {
		t.Fatal(err)
	}
	job := &batchv1.Job{ObjectMeta: metav1.ObjectMeta{Name: "sum"}, Spec: batchv1.JobSpec{Completions: new(int32(3)), Template: template("sum", nil)}}
	job.Spec.Template.Spec.RestartPolicy = corev1.RestartPolicyNever
	if _, err := cs.BatchV1().Jobs("default").Create(t.Context(), job, metav1.CreateOptions{}); err != nil {
		t.Fatal(err)
	}
	eventually(t, cs.AppsV1().RESTClient(), "deployments", "web", &appsv1.Deployment{}, func(d *appsv1.Deployment) error {
		if d.Status.AvailableReplicas != 5 {
			return fmt.Errorf("%d of 5 replicas are available", d.Status.AvailableReplicas)
		}
		return nil
	})
	eventually(t, cs.BatchV1().RESTClient(), "jobs", "sum", &batchv1.Job{}, func(j *batchv1.Job) error {
		if j.Status.Succeeded != 3 || j.Status.CompletionTime == nil {
			return fmt.Errorf("%d of 3 pods succeeded", j.Status.Succeeded)
		}
		return nil
	})
}

func TestClustersRunBesideEachOther(t *testing.T) {
	for i := range 3 {
		t.Run(fmt.Sprint(i), func(t *testing.T) {
			t.Parallel()
			cs := clientset(t, clustertest.New(t, clustertest.WithNodes(i)))
			nodes, err := cs.CoreV1().Nodes().List(t.Context(), metav1.ListOptions{})
			if err != nil {
				t.Fatal(err)
			}
			if len(nodes.Items) != i {
				t.Errorf("there are %d nodes, want %d", len(nodes.Items), i)
			}
		})
	}
}

func TestNodesAnswer(t *testing.T) {
	c := clustertest.New(t, clustertest.WithNodes(2))
	cs := clientset(t, c)
	pod := &corev1.Pod{ObjectMeta: metav1.ObjectMeta{Name: "talker", Annotations: map[string]string{
		simulate.Logs: "one\ntwo\nthree", simulate.UsageCPU: "1500m", simulate.UsageMemory: "64Mi",
	}}, Spec: template("talker", nil).Spec}
	if _, err := cs.CoreV1().Pods("default").Create(t.Context(), pod, metav1.CreateOptions{}); err != nil {
		t.Fatal(err)
	}
	eventually(t, cs.CoreV1().RESTClient(), "pods", "talker", &corev1.Pod{}, func(p *corev1.Pod) error {
		*pod = *p
		if p.Status.Phase != corev1.PodRunning {
			return fmt.Errorf("its phase is %s", p.Status.Phase)
		}
		return nil
	})
	over, err := clientcmd.BuildConfigFromFlags("", c.Kubeconfig())
	if err != nil {
		t.Fatal(err)
	}
	if same, err := kubernetes.NewForConfigOrDie(over).CoreV1().Pods("default").Get(t.Context(), "talker", metav1.GetOptions{}); err != nil || same.UID != pod.UID {
		t.Errorf("over the network it is %v, %v", same.UID, err)
	}
	logs, err := cs.CoreV1().Pods("default").GetLogs("talker", &corev1.PodLogOptions{TailLines: new(int64(2))}).DoRaw(t.Context())
	if err != nil || string(logs) != "two\nthree\n" {
		t.Errorf("its log ends with %q, %v", logs, err)
	}
	checkFigures(t, c, pod)
	summary, err := cs.CoreV1().RESTClient().Get().Resource("nodes").Name(pod.Spec.NodeName).SubResource("proxy").Suffix("stats/summary").DoRaw(t.Context())
	if err != nil || !strings.Contains(string(summary), `"usageNanoCores":1500000000`) {
		t.Errorf("the node measures %s, %v", summary, err)
	}
}

// checkFigures compares what kubectl top would show of a pod and its node with what the pod uses.
func checkFigures(t *testing.T, c *clustertest.Cluster, pod *corev1.Pod) {
	t.Helper()
	client, err := metrics.NewForConfig(c.Config)
	if err != nil {
		t.Fatal(err)
	}
	near := func(what string, got, want int64) {
		t.Helper()
		if got < want*9/10 || got > want*11/10 {
			t.Errorf("%s is %d, want %d within a tenth", what, got, want)
		}
	}
	of, err := client.MetricsV1beta1().PodMetricses("default").Get(t.Context(), pod.Name, metav1.GetOptions{})
	if err != nil {
		t.Fatal(err)
	}
	near("use of CPU", of.Containers[0].Usage.Cpu().MilliValue(), 1500)
	near("use of memory", of.Containers[0].Usage.Memory().Value(), 64<<20)
	nodes, err := client.MetricsV1beta1().NodeMetricses().List(t.Context(), metav1.ListOptions{})
	if err != nil {
		t.Fatal(err)
	}
	if len(nodes.Items) != 2 {
		t.Errorf("there are figures of %d nodes, want 2", len(nodes.Items))
	}
	for _, n := range nodes.Items {
		if n.Name == pod.Spec.NodeName {
			near("its node's use of CPU", n.Usage.Cpu().MilliValue(), 1500)
		}
	}
	none, err := client.MetricsV1beta1().PodMetricses("default").List(t.Context(), metav1.ListOptions{LabelSelector: "app=other"})
	if err != nil || len(none.Items) != 0 {
		t.Errorf("a selector that nothing matches gives %d, %v", len(none.Items), err)
	}
}

// BenchmarkStart is the time from nothing to a cluster that can be used, beside those before.
func BenchmarkStart(b *testing.B) {
	for range b.N {
		clustertest.Start(b)
	}
}
