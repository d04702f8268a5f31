package apiserver_test

import (
	"context"
	"fmt"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/rest"

	"coracle.dev/coracle/apiserver"
	"coracle.dev/coracle/apiserver/apiservertest"
)

// clients is how many write at a time, divided by GOMAXPROCS.
const clients = 8

// BenchmarkConfigMaps measures each verb with durable writes, over TLS and in process.
func BenchmarkConfigMaps(b *testing.B) {
	inProcess, server := apiservertest.Start(b, func(o *apiserver.Options) { o.Etcd.UnsafeNoFsync = false })
	for _, by := range []struct {
		name   string
		config *rest.Config
	}{{"TLS", apiservertest.TLS(server)}, {"in-process", inProcess}} {
		by.config.ContentType = "application/json" // what kubectl and most others send
		c := kubernetes.NewForConfigOrDie(by.config).CoreV1().ConfigMaps("default")
		b.Run(by.name, func(b *testing.B) {
			var created, got, patched atomic.Int64
			run := func(verb string, f func(ctx context.Context) error) {
				b.Run(verb, func(b *testing.B) {
					b.SetParallelism(clients)
					before := processorTime(b)
					b.RunParallel(func(p *testing.PB) {
						for p.Next() {
							if err := f(b.Context()); err != nil {
								b.Error(err)
							}
						}
					})
					b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "req/s")
					b.ReportMetric(float64((processorTime(b)-before).Microseconds())/float64(b.N), "cpu-us/op")
				})
			}
			name := func(n int64) string { return fmt.Sprintf("%s-%d", strings.ToLower(by.name), n) }
			run("create", func(ctx context.Context) error {
				cm := &corev1.ConfigMap{ObjectMeta: metav1.ObjectMeta{Name: name(created.Add(1))}, Data: map[string]string{"k": "v"}}
				_, err := c.Create(ctx, cm, metav1.CreateOptions{})
				return err
			})
			run("get", func(ctx context.Context) error {
				_, err := c.Get(ctx, name(got.Add(1)%created.Load()+1), metav1.GetOptions{})
				return err
			})
			run("patch", func(ctx context.Context) error {
				n := patched.Add(1)
				_, err := c.Patch(ctx, name(n%created.Load()+1), types.MergePatchType, fmt.Appendf(nil, `{"data":{"k":"%d"}}`, n), metav1.PatchOptions{})
				return err
			})
			run("create and delete", func(ctx context.Context) error {
				cm := &corev1.ConfigMap{ObjectMeta: metav1.ObjectMeta{GenerateName: "gone-"}}
				cm, err := c.Create(ctx, cm, metav1.CreateOptions{})
				if err != nil {
					return err
				}
				return c.Delete(ctx, cm.Name, metav1.DeleteOptions{})
			})
		})
	}
}

// processorTime is what client and server have used together. On a busy machine it tells more than
// the rate.
func processorTime(b *testing.B) time.Duration {
	b.Helper()
	var u syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &u); err != nil {
		b.Fatal(err)
	}
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}
