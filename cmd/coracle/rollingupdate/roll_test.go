package rollingupdate

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/kubernetes"

	"coracle.dev/coracle/cluster/clustertest"
)

func controller(name string, replicas int32) *corev1.ReplicationController {
	labels := map[string]string{"tier": "web", "app": name}
	return &corev1.ReplicationController{
		ObjectMeta: metav1.ObjectMeta{Name: name},
		Spec: corev1.ReplicationControllerSpec{Replicas: &replicas, Selector: map[string]string{"app": name}, Template: &corev1.PodTemplateSpec{
			ObjectMeta: metav1.ObjectMeta{Labels: labels},
			Spec:       corev1.PodSpec{Containers: []corev1.Container{{Name: "c", Image: "image:1"}}},
		}},
	}
}

func TestNext(t *testing.T) {
	for _, tc := range []struct {
		from, to, desired int32
		want              string
	}{
		{3, 0, 3, "3/1 2/1 2/2 1/2 1/3 0/3"},
		{1, 0, 3, "1/1 1/2 1/3 0/3"},
		{4, 0, 2, "3/0 2/0 2/1 1/1 1/2 0/2"},
		{0, 5, 3, "0/4 0/3"},
		{3, 0, 0, "2/0 1/0 0/0"},
		{2, 2, 3, "1/2 1/3 0/3"},
		{0, 3, 3, ""},
	} {
		var steps []string
		for from, to := tc.from, tc.to; ; {
			nextFrom, nextTo := next(from, to, tc.desired)
			if nextFrom == from && nextTo == to {
				break
			}
			from, to = nextFrom, nextTo
			steps = append(steps, fmt.Sprintf("%d/%d", from, to))
		}
		if got := strings.Join(steps, " "); got != tc.want {
			t.Errorf("from %d to %d of %d: %s, not %s", tc.from, tc.to, tc.desired, got, tc.want)
		}
	}
}

func TestCheck(t *testing.T) {
	for _, tc := range []struct {
		old, replacement *corev1.ReplicationController
		want             string
	}{
		{controller("a", 1), controller("b", 1), ""},
		{controller("a", 1), controller("a", 1), "same name"},
		{controller("a", 1), func() *corev1.ReplicationController {
			rc := controller("b", 1)
			rc.Spec.Selector = map[string]string{"app": "a"}
			return rc
		}(), "non-equal value in Selector"},
	} {
		if err := check(tc.old, tc.replacement); (err == nil) != (tc.want == "") || err != nil && !strings.Contains(err.Error(), tc.want) {
			t.Errorf("%s by %s: %v", tc.old.Name, tc.replacement.Name, err)
		}
	}
}

// bounds watches the pods of the tier, and reports when fewer than the least are ready or more than the most
// are there.
func bounds(t *testing.T, c kubernetes.Interface, least, most int) {
	w, err := c.CoreV1().Pods("default").Watch(t.Context(), metav1.ListOptions{LabelSelector: "tier=web"})
	if err != nil {
		t.Fatal(err)
	}
	done := make(chan struct{})
	t.Cleanup(func() { w.Stop(); <-done })
	go func() {
		defer close(done)
		ready, active := map[string]bool{}, map[string]bool{}
		full := false
		for e := range w.ResultChan() {
			p, ok := e.Object.(*corev1.Pod)
			if !ok {
				continue
			}
			gone := e.Type == "DELETED" || p.DeletionTimestamp != nil
			delete(ready, p.Name)
			delete(active, p.Name)
			if !gone {
				active[p.Name] = true
			}
			for _, cond := range p.Status.Conditions {
				if cond.Type == corev1.PodReady && cond.Status == corev1.ConditionTrue && !gone {
					ready[p.Name] = true
				}
			}
			full = full || len(ready) >= least
			if full && len(ready) < least || len(active) > most {
				t.Errorf("%d pods are ready, of %d", len(ready), len(active))
			}
		}
	}()
}

func TestRollingUpdate(t *testing.T) {
	cfg := clustertest.Start(t)
	c := kubernetes.NewForConfigOrDie(cfg)
	client := c.CoreV1().ReplicationControllers("default")
	out := &bytes.Buffer{}
	r := &roller{client: client, out: out, timeout: time.Minute}
	if _, err := client.Create(t.Context(), controller("web", 3), metav1.CreateOptions{}); err != nil {
		t.Fatal(err)
	}
	if err := r.await(t.Context(), "web", 3); err != nil {
		t.Fatal(err)
	}
	bounds(t, c, 3, 4)
	gone := func(name string) {
		t.Helper()
		if _, err := client.Get(t.Context(), name, metav1.GetOptions{}); !apierrors.IsNotFound(err) {
			t.Errorf("getting %s: %v", name, err)
		}
	}
	t.Run("interrupted and resumed", func(t *testing.T) {
		ctx, cancel := context.WithCancel(t.Context())
		r := *r
		r.out = writer(func(b []byte) (int, error) {
			if strings.Contains(string(b), "Scaling web down to 1") {
				cancel()
			}
			return out.Write(b)
		})
		if err := r.update(ctx, "web", controller("web-2", 3)); !errors.Is(err, context.Canceled) {
			t.Fatalf("the interrupted update ends with %v", err)
		}
		r.out = out
		if err := r.update(t.Context(), "web", controller("web-2", 3)); err != nil {
			t.Fatal(err)
		}
		gone("web")
		rc, err := client.Get(t.Context(), "web-2", metav1.GetOptions{})
		if err != nil || rc.Status.ReadyReplicas != 3 || len(rc.Annotations) != 0 {
			t.Errorf("web-2 has %+v and annotations %v, error %v", rc.Status, rc.Annotations, err)
		}
		for _, want := range []string{"Created web-2", "Scaling up web-2 from 0 to 3, scaling down web from 3 to 0 (keep 3 pods available, don't exceed 4 pods)",
			"Scaling web-2 up to 1", "Scaling web down to 2", "Found existing update in progress (web-2), resuming.", "Update succeeded. Deleting web", `replicationcontroller "web-2" rolling updated`} {
			if !strings.Contains(out.String(), want) {
				t.Errorf("%q is not told:\n%s", want, out)
			}
		}
	})
	t.Run("rolled back", func(t *testing.T) {
		broken := controller("web-3", 3)
		broken.Spec.Template.Annotations = map[string]string{"simulation.coracle.dev/ready": "false"}
		r := *r
		r.timeout = time.Second
		if err := r.update(t.Context(), "web-2", broken); err == nil || !strings.Contains(err.Error(), "--rollback") {
			t.Fatalf("updating to what does not work ends with %v", err)
		}
		r.timeout = time.Minute
		if err := r.rollback(t.Context(), "web-2", broken); err != nil {
			t.Fatal(err)
		}
		gone("web-3")
		if err := r.await(t.Context(), "web-2", 3); err != nil {
			t.Error(err)
		}
	})
	t.Run("refused", func(t *testing.T) {
		if _, err := client.Create(t.Context(), controller("other", 0), metav1.CreateOptions{}); err != nil {
			t.Fatal(err)
		}
		if err := r.update(t.Context(), "web-2", controller("other", 3)); err == nil || !strings.Contains(err.Error(), "is not an update of") {
			t.Errorf("updating to what exists ends with %v", err)
		}
	})
}

type writer func([]byte) (int, error)

func (w writer) Write(b []byte) (int, error) { return w(b) }
