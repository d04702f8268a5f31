package serve

import (
	"encoding/json"
	"errors"
	"net/http"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/klog/v2"

	"coracle.dev/coracle/nodeagent/pod"
)

func (c Config) healthz(w http.ResponseWriter, r *http.Request) {
	if c.Healthy != nil && r.PathValue("check") != "ping" {
		if err := c.Healthy(); err != nil {
			http.Error(w, err.Error(), http.StatusInternalServerError)
			return
		}
	}
	_, _ = w.Write([]byte("ok"))
}

func (c Config) podList(keep func(pod.View) *corev1.Pod) *corev1.PodList {
	list := &corev1.PodList{TypeMeta: metav1.TypeMeta{Kind: "PodList", APIVersion: "v1"}, Items: []corev1.Pod{}}
	for _, v := range c.Pods.Views() {
		if p := keep(v); p != nil {
			list.Items = append(list.Items, *p)
		}
	}
	return list
}

func (c Config) pods(w http.ResponseWriter, r *http.Request) {
	writeJSON(w, r, c.podList(func(v pod.View) *corev1.Pod { return v.Pod() }))
}

// runningPods lists what the runtime has running, in a pod's form.
func (c Config) runningPods(w http.ResponseWriter, r *http.Request) {
	writeJSON(w, r, c.podList(func(v pod.View) *corev1.Pod {
		running := v.Running()
		if len(running) == 0 {
			return nil
		}
		p := &corev1.Pod{ObjectMeta: metav1.ObjectMeta{Name: v.Pod().Name, Namespace: v.Pod().Namespace, UID: v.Pod().UID}}
		for _, one := range running {
			p.Spec.Containers = append(p.Spec.Containers, corev1.Container{Name: one.Name, Image: one.Image})
		}
		return p
	}))
}

func (c Config) configz(w http.ResponseWriter, r *http.Request) {
	writeJSON(w, r, map[string]any{"kubeletconfig": map[string]any{
		"address": c.Address.Addr().String(), "port": c.Address.Port(), "tlsCertFile": c.CertFile, "tlsPrivateKeyFile": c.KeyFile,
		"authentication": map[string]any{"anonymous": map[string]any{"enabled": false}, "webhook": map[string]any{"enabled": true}, "x509": map[string]any{"clientCAFile": c.ClientCAFile}},
		"authorization":  map[string]any{"mode": "Webhook"}, "cgroupDriver": "cgroupfs", "podLogsDir": c.LogDir,
		"enableServer": true,
	}})
}

func (c Config) summary(w http.ResponseWriter, r *http.Request) {
	s, err := c.Stats.Summary(r.Context())
	if err != nil {
		http.Error(w, err.Error(), http.StatusInternalServerError)
		return
	}
	writeJSON(w, r, s)
}

func (c Config) resourceMetrics(w http.ResponseWriter, r *http.Request) {
	w.Header().Set("Content-Type", "text/plain; version=0.0.4")
	if err := c.Stats.WriteResource(r.Context(), w); err != nil {
		http.Error(w, err.Error(), http.StatusInternalServerError)
	}
}

func (c Config) cadvisorMetrics(w http.ResponseWriter, r *http.Request) {
	w.Header().Set("Content-Type", "text/plain; version=0.0.4")
	if err := c.Stats.WriteCadvisor(r.Context(), w); err != nil {
		http.Error(w, err.Error(), http.StatusInternalServerError)
	}
}

func writeJSON(w http.ResponseWriter, r *http.Request, v any) {
	w.Header().Set("Content-Type", runtime.ContentTypeJSON)
	if err := json.NewEncoder(w).Encode(v); err != nil {
		klog.FromContext(r.Context()).V(2).Info("Could not answer a request", "err", err)
	}
}

// refuse answers that something is not there, or went wrong.
func refuse(w http.ResponseWriter, err error) {
	if errors.Is(err, pod.ErrNotFound) {
		http.Error(w, err.Error(), http.StatusNotFound)
		return
	}
	http.Error(w, err.Error(), http.StatusInternalServerError)
}
