package main

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/apimachinery/pkg/watch"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/tools/cache"
	watchtools "k8s.io/client-go/tools/watch"
)

// measureConfigMaps times small writes and reads by 16 clients, each with a connection of its own.
func measureConfigMaps(ctx context.Context, e *env) ([]result, error) {
	if _, err := e.up(ctx); err != nil {
		return nil, err
	}
	const clients, count = 16, 4000
	var sets [clients]kubernetes.Interface
	for i := range sets {
		_, cs, err := client(e.kubeconfig("bench"))
		if err != nil {
			return nil, err
		}
		sets[i] = cs
	}
	name := func(i int) string { return fmt.Sprintf("bench-%d", i) }
	operations := []struct {
		name string
		do   func(kubernetes.Interface, int) error
	}{
		{"create", func(cs kubernetes.Interface, i int) error {
			_, err := cs.CoreV1().ConfigMaps("default").Create(ctx, &corev1.ConfigMap{ObjectMeta: metav1.ObjectMeta{Name: name(i)}, Data: map[string]string{"key": "value"}}, metav1.CreateOptions{})
			return err
		}},
		{"get", func(cs kubernetes.Interface, i int) error {
			_, err := cs.CoreV1().ConfigMaps("default").Get(ctx, name(i), metav1.GetOptions{})
			return err
		}},
		{"patch", func(cs kubernetes.Interface, i int) error {
			_, err := cs.CoreV1().ConfigMaps("default").Patch(ctx, name(i), types.MergePatchType, []byte(`{"data":{"key":"other"}}`), metav1.PatchOptions{})
			return err
		}},
		{"delete", func(cs kubernetes.Interface, i int) error {
			return cs.CoreV1().ConfigMaps("default").Delete(ctx, name(i), metav1.DeleteOptions{})
		}},
	}
	var rates []string
	for _, op := range operations {
		begin := time.Now()
		if err := inParallel(clients, count, func(worker, i int) error { return op.do(sets[worker], i) }); err != nil {
			return nil, fmt.Errorf("%s: %w", op.name, err)
		}
		rates = append(rates, fmt.Sprintf("%.0f", count/time.Since(begin).Seconds()))
	}
	return []result{{"ConfigMap create / get / patch / delete per second, 16 clients", "809 / 1968 / 780 / 933", "3 times", strings.Join(rates, " / ")}}, nil
}

// inParallel calls do for 0 to count-1, by as many workers, and returns the first error.
func inParallel(workers, count int, do func(worker, i int) error) error {
	var next atomic.Int64
	var wg sync.WaitGroup
	failed := make(chan error, workers)
	for w := range workers {
		wg.Go(func() {
			for i := int(next.Add(1)) - 1; i < count; i = int(next.Add(1)) - 1 {
				if err := do(w, i); err != nil {
					failed <- err
					return
				}
			}
		})
	}
	wg.Wait()
	close(failed)
	return <-failed
}

// measurePods times real pods from their creation to Ready, one at a time and many at once.
func measurePods(ctx context.Context, e *env) ([]result, error) {
	if _, err := e.up(ctx); err != nil {
		return nil, err
	}
	if err := e.importImage(ctx); err != nil {
		return nil, err
	}
	_, cs, err := client(e.kubeconfig("bench"))
	if err != nil {
		return nil, err
	}
	const single, many = 50, 50
	var times []time.Duration
	for i := range single {
		took, err := startPods(ctx, cs, fmt.Sprintf("one-%d", i), 1)
		if err != nil {
			return nil, err
		}
		times = append(times, took)
	}
	slices.Sort(times)
	together, err := startPods(ctx, cs, "many", many)
	if err != nil {
		return nil, err
	}
	ms := func(d time.Duration) string { return fmt.Sprintf("%d ms", d.Milliseconds()) }
	return []result{
		{"pod create to Ready one at a time, p50 / p99", "530 / 580 ms", "150 / 250 ms", ms(times[single/2]) + " / " + ms(times[single*99/100])},
		{"50 pods at once, all ready", "8.6 s", "3 s", seconds(together)},
	}, nil
}

// startPods creates count pods, waits until all are Ready, and removes them again.
func startPods(ctx context.Context, cs kubernetes.Interface, prefix string, count int) (time.Duration, error) {
	ctx, cancel := context.WithTimeout(ctx, 2*time.Minute)
	defer cancel()
	pods := cs.CoreV1().Pods("default")
	w, err := watchPods(ctx, cs, "default", metav1.ListOptions{LabelSelector: "bench=" + prefix})
	if err != nil {
		return 0, err
	}
	defer w.Stop()
	grace := int64(0)
	begin := time.Now()
	err = inParallel(min(count, 16), count, func(_, i int) error {
		_, err := pods.Create(ctx, &corev1.Pod{
			ObjectMeta: metav1.ObjectMeta{Name: fmt.Sprintf("%s-%d", prefix, i), Labels: map[string]string{"bench": prefix}},
			Spec: corev1.PodSpec{TerminationGracePeriodSeconds: &grace, Containers: []corev1.Container{{
				Name: "main", Image: "busybox", ImagePullPolicy: corev1.PullNever, Command: []string{"sleep", "3600"}}}},
		}, metav1.CreateOptions{})
		return err
	})
	if err != nil {
		return 0, err
	}
	if err := awaitPods(ctx, w, count); err != nil {
		return 0, err
	}
	took := time.Since(begin)
	if err := pods.DeleteCollection(ctx, metav1.DeleteOptions{GracePeriodSeconds: &grace}, metav1.ListOptions{LabelSelector: "bench=" + prefix}); err != nil {
		return 0, err
	}
	for gone := 0; gone < count; {
		e, open := <-w.ResultChan()
		if !open {
			return 0, fmt.Errorf("the watch ended when %d pods were still there", count-gone)
		}
		if e.Type == watch.Deleted {
			gone++
		}
	}
	return took, nil
}

// watchPods watches what comes from now on, and goes on where it was when the server ends the watch,
// as it does with clients that read too slowly.
func watchPods(ctx context.Context, cs kubernetes.Interface, namespace string, o metav1.ListOptions) (watch.Interface, error) {
	pods := cs.CoreV1().Pods(namespace)
	list, err := pods.List(ctx, o)
	if err != nil {
		return nil, err
	}
	return watchtools.NewRetryWatcherWithContext(ctx, list.ResourceVersion, &cache.ListWatch{
		WatchFuncWithContext: func(ctx context.Context, resume metav1.ListOptions) (watch.Interface, error) {
			resume.LabelSelector, resume.FieldSelector = o.LabelSelector, o.FieldSelector
			return pods.Watch(ctx, resume)
		},
	})
}

// awaitPods waits until count pods of a watch are Ready.
func awaitPods(ctx context.Context, w watch.Interface, count int) error {
	done := map[types.UID]bool{}
	for len(done) < count {
		e, open := <-w.ResultChan()
		if !open {
			return fmt.Errorf("the watch ended when %d of %d pods were ready", len(done), count)
		}
		p, ok := e.Object.(*corev1.Pod)
		if !ok {
			continue
		}
		for _, c := range p.Status.Conditions {
			if c.Type == corev1.PodReady && c.Status == corev1.ConditionTrue {
				done[p.UID] = true
			}
		}
	}
	return nil
}

// importImage gives the cluster an image of this machine's static busybox.
func (e *env) importImage(ctx context.Context) error {
	root := filepath.Join(e.dir, "busybox")
	if err := os.MkdirAll(filepath.Join(root, "bin"), 0o755); err != nil {
		return err
	}
	data, err := os.ReadFile("/bin/busybox")
	if err != nil {
		return fmt.Errorf("%w; make deps installs it", err)
	}
	if err := os.WriteFile(filepath.Join(root, "bin", "busybox"), data, 0o755); err != nil {
		return err
	}
	if err := os.Symlink("busybox", filepath.Join(root, "bin", "sleep")); err != nil && !os.IsExist(err) {
		return err
	}
	archive := filepath.Join(e.dir, "busybox.tar")
	mkimage := filepath.Join(filepath.Dir(e.coracle), "mkimage")
	if out, err := exec.CommandContext(ctx, mkimage, "--output", archive, "busybox", "--", root).CombinedOutput(); err != nil {
		return fmt.Errorf("mkimage: %w\n%s", err, out)
	}
	return e.do(ctx, "bench", "image", "import", archive)
}
