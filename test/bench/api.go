package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"sync"
	"sync/atomic"
	"syscall"
	"time"

	corev1 "k8s.io/api/core/v1"
	apiextensionsv1 "k8s.io/apiextensions-apiserver/pkg/apis/apiextensions/v1"
	apiextensions "k8s.io/apiextensions-apiserver/pkg/client/clientset/clientset"
	"k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/client-go/dynamic"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/rest"
)

// measureAPI measures an API server by itself that has the objects of a large cluster.
func measureAPI(ctx context.Context, e *env) ([]result, error) {
	cfg, cmd, err := e.apiserver(ctx)
	if err != nil {
		return nil, err
	}
	defer func() {
		_ = cmd.Process.Signal(syscall.SIGTERM)
		_ = cmd.Wait()
	}()
	cs, err := kubernetes.NewForConfig(cfg)
	if err != nil {
		return nil, err
	}
	if err := fill(ctx, cs); err != nil {
		return nil, err
	}
	var results []result
	for _, measure := range []func(context.Context, *rest.Config, kubernetes.Interface) (result, error){measureList, measureFanOut, measureDefinition} {
		r, err := measure(ctx, cfg, cs)
		if err != nil {
			return results, err
		}
		results = append(results, r)
	}
	return results, nil
}

// apiserver starts an API server without data, and returns how to reach it.
func (e *env) apiserver(ctx context.Context) (*rest.Config, *exec.Cmd, error) {
	tokens := filepath.Join(e.dir, "tokens.csv")
	if err := os.WriteFile(tokens, []byte("bench,bench,,system:masters\n"), 0o600); err != nil {
		return nil, nil, err
	}
	cmd := e.command(ctx, "bench", "apiserver", "--etcd-data-dir", filepath.Join(e.dir, "api-etcd"), "--bind-address", "127.0.0.1", "--secure-port", strconv.Itoa(benchPort),
		"--token-auth-file", tokens, "--disable-admission-plugins", "ServiceAccount")
	if err := cmd.Start(); err != nil {
		return nil, nil, err
	}
	host := fmt.Sprintf("https://127.0.0.1:%d", benchPort)
	if err := awaitReadyz(ctx, host+"/readyz"); err != nil {
		return nil, nil, errors.Join(err, cmd.Process.Kill())
	}
	cfg := &rest.Config{Host: host, BearerToken: "bench", QPS: -1, TLSClientConfig: rest.TLSClientConfig{Insecure: true}}
	cfg.ContentType = "application/vnd.kubernetes.protobuf"
	return cfg, cmd, nil
}

// fill makes 5,000 pods, as a Deployment's are.
func fill(ctx context.Context, cs kubernetes.Interface) error {
	amount := corev1.ResourceList{corev1.ResourceCPU: resource.MustParse("100m"), corev1.ResourceMemory: resource.MustParse("128Mi")}
	return inParallel(16, 5000, func(_, i int) error {
		pod := &corev1.Pod{
			ObjectMeta: metav1.ObjectMeta{Name: fmt.Sprintf("pod-%d", i), Labels: map[string]string{"app": "web", "pod-template-hash": "5d9f6c8b7"}},
			Spec: corev1.PodSpec{NodeName: fmt.Sprintf("node-%d", i%1000), Containers: []corev1.Container{{
				Name: "main", Image: "web:1", Resources: corev1.ResourceRequirements{Requests: amount, Limits: amount},
				Env: []corev1.EnvVar{{Name: "POD", ValueFrom: &corev1.EnvVarSource{FieldRef: &corev1.ObjectFieldSelector{FieldPath: "metadata.name"}}}},
			}}},
		}
		_, err := cs.CoreV1().Pods("default").Create(ctx, pod, metav1.CreateOptions{})
		return err
	})
}

// measureList lists all pods as JSON and as protocol buffers, the median of nine each.
func measureList(ctx context.Context, cfg *rest.Config, _ kubernetes.Interface) (result, error) {
	var medians []string
	for _, contentType := range []string{"application/json", cfg.ContentType} {
		c := rest.CopyConfig(cfg)
		c.ContentType = contentType
		cs, err := kubernetes.NewForConfig(c)
		if err != nil {
			return result{}, err
		}
		var times []time.Duration
		for range 9 {
			begin := time.Now()
			body, err := cs.CoreV1().RESTClient().Get().Namespace("default").Resource("pods").DoRaw(ctx)
			if err != nil || len(body) < 1<<20 {
				return result{}, fmt.Errorf("listing pods: %d bytes, %w", len(body), err)
			}
			times = append(times, time.Since(begin))
		}
		slices.Sort(times)
		medians = append(medians, fmt.Sprintf("%d ms", times[len(times)/2].Milliseconds()))
	}
	return result{"list of 5,000 pods, JSON / protobuf", "161 ms", "54 ms", medians[0] + " / " + medians[1]}, nil
}

// measureFanOut writes 300 ConfigMaps, which 100 watchers see, each on a connection of its own.
func measureFanOut(ctx context.Context, cfg *rest.Config, cs kubernetes.Interface) (result, error) {
	const watchers, writes = 100, 300
	ctx, cancel := context.WithTimeout(ctx, 2*time.Minute)
	defer cancel()
	list, err := cs.CoreV1().ConfigMaps("default").List(ctx, metav1.ListOptions{})
	if err != nil {
		return result{}, err
	}
	var written [writes]atomic.Int64
	var mu sync.Mutex
	var late []time.Duration
	var wg sync.WaitGroup
	for range watchers {
		c := rest.CopyConfig(cfg)
		c.TLSClientConfig.NextProtos = []string{"http/1.1"} // a connection each
		own, err := kubernetes.NewForConfig(c)
		if err != nil {
			return result{}, err
		}
		w, err := own.CoreV1().ConfigMaps("default").Watch(ctx, metav1.ListOptions{ResourceVersion: list.ResourceVersion})
		if err != nil {
			return result{}, err
		}
		wg.Go(func() {
			defer w.Stop()
			var mine []time.Duration
			for ev := range w.ResultChan() {
				if cm, ok := ev.Object.(*corev1.ConfigMap); ok {
					n, _ := strconv.Atoi(cm.Data["n"])
					mine = append(mine, time.Since(time.Unix(0, written[n].Load())))
				}
				if len(mine) == writes {
					break
				}
			}
			mu.Lock()
			defer mu.Unlock()
			late = append(late, mine...)
		})
	}
	begin := time.Now()
	for i := range writes {
		written[i].Store(time.Now().UnixNano())
		cm := &corev1.ConfigMap{ObjectMeta: metav1.ObjectMeta{Name: fmt.Sprintf("fan-%d", i)}, Data: map[string]string{"n": strconv.Itoa(i)}}
		if _, err := cs.CoreV1().ConfigMaps("default").Create(ctx, cm, metav1.CreateOptions{}); err != nil {
			return result{}, err
		}
	}
	wg.Wait()
	took := time.Since(begin)
	if len(late) != watchers*writes {
		return result{}, fmt.Errorf("%d events were seen of %d", len(late), watchers*writes)
	}
	slices.Sort(late)
	return result{"300 writes to 100 watchers: events per second, p99 from write to event", "33600, 30 ms", "3 times",
		fmt.Sprintf("%.0f, %d ms", float64(len(late))/took.Seconds(), late[len(late)*99/100].Milliseconds())}, nil
}

// measureDefinition times definitions of custom resources from their creation to the first object of
// theirs, the median of nine.
func measureDefinition(ctx context.Context, cfg *rest.Config, _ kubernetes.Interface) (result, error) {
	c := rest.CopyConfig(cfg)
	c.ContentType = ""
	ext, err := apiextensions.NewForConfig(c)
	if err != nil {
		return result{}, err
	}
	dyn, err := dynamic.NewForConfig(c)
	if err != nil {
		return result{}, err
	}
	var times []time.Duration
	for i := range 9 {
		group := fmt.Sprintf("group%d.example.com", i)
		crd := &apiextensionsv1.CustomResourceDefinition{ObjectMeta: metav1.ObjectMeta{Name: "boats." + group}}
		preserve := true
		crd.Spec = apiextensionsv1.CustomResourceDefinitionSpec{
			Group: group, Scope: apiextensionsv1.NamespaceScoped, Names: apiextensionsv1.CustomResourceDefinitionNames{Plural: "boats", Kind: "Boat"},
			Versions: []apiextensionsv1.CustomResourceDefinitionVersion{{Name: "v1", Served: true, Storage: true,
				Schema: &apiextensionsv1.CustomResourceValidation{OpenAPIV3Schema: &apiextensionsv1.JSONSchemaProps{Type: "object", XPreserveUnknownFields: &preserve}}}},
		}
		begin := time.Now()
		if _, err := ext.ApiextensionsV1().CustomResourceDefinitions().Create(ctx, crd, metav1.CreateOptions{}); err != nil {
			return result{}, err
		}
		if err := awaitServed(ctx, dyn.Resource(schema.GroupVersionResource{Group: group, Version: "v1", Resource: "boats"})); err != nil {
			return result{}, err
		}
		times = append(times, time.Since(begin))
	}
	slices.Sort(times)
	return result{"CustomResourceDefinition created to served", "", "", fmt.Sprintf("%d ms", times[len(times)/2].Milliseconds())}, nil
}

func awaitServed(ctx context.Context, api dynamic.ResourceInterface) error {
	ctx, cancel := context.WithTimeout(ctx, 30*time.Second)
	defer cancel()
	tick := time.NewTicker(time.Millisecond)
	defer tick.Stop()
	for {
		_, err := api.List(ctx, metav1.ListOptions{})
		if err == nil {
			return nil
		}
		select {
		case <-tick.C:
		case <-ctx.Done():
			return err
		}
	}
}
