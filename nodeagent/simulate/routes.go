package simulate

import (
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"strconv"
	"strings"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/klog/v2"
)

// routes are the paths of the nodes' API: what can be known without containers.
func (s *simulation) routes() http.Handler {
	mux := http.NewServeMux()
	mux.HandleFunc("GET /healthz", func(w http.ResponseWriter, _ *http.Request) { _, _ = io.WriteString(w, "ok") })
	mux.HandleFunc("GET /pods", s.listPods)
	mux.HandleFunc("GET /pods/{$}", s.listPods)
	mux.HandleFunc("GET /stats/summary", s.summary)
	mux.HandleFunc("GET /metrics/resource", s.resourceMetrics)
	mux.HandleFunc("GET /containerLogs/{namespace}/{pod}/{container}", s.containerLogs)
	// Volumes that are folders take no room here.
	mux.HandleFunc("PUT /localvolumes/{volume}", func(w http.ResponseWriter, r *http.Request) {
		writeJSON(w, r, map[string]string{"path": "/simulated/" + r.PathValue("volume")})
	})
	mux.HandleFunc("DELETE /localvolumes/{volume}", func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusNoContent) })
	return mux
}

// podsOf are the pods of a node that are known, as they are now.
func (s *simulation) podsOf(n *node) []*corev1.Pod {
	s.mu.Lock()
	defer s.mu.Unlock()
	var out []*corev1.Pod
	for _, r := range s.pods {
		if r.node == n {
			out = append(out, r.pod)
		}
	}
	return out
}

func (s *simulation) listPods(w http.ResponseWriter, r *http.Request) {
	list := &corev1.PodList{TypeMeta: metav1.TypeMeta{Kind: "PodList", APIVersion: "v1"}, Items: []corev1.Pod{}}
	for _, p := range s.podsOf(s.nodeOf(r)) {
		list.Items = append(list.Items, *p)
	}
	writeJSON(w, r, list)
}

func writeJSON(w http.ResponseWriter, r *http.Request, v any) {
	w.Header().Set("Content-Type", "application/json")
	if err := json.NewEncoder(w).Encode(v); err != nil {
		klog.FromContext(r.Context()).V(2).Info("Could not answer a request", "err", err)
	}
}

// containerLogs writes what a container's annotation says that it has written, or else when it started.
func (s *simulation) containerLogs(w http.ResponseWriter, r *http.Request) {
	key := types.NamespacedName{Namespace: r.PathValue("namespace"), Name: r.PathValue("pod")}
	record, pod := s.find(key)
	if record == nil || record.node != s.nodeOf(r) {
		http.Error(w, fmt.Sprintf("pod %q does not exist", key.Name), http.StatusNotFound)
		return
	}
	name, q := r.PathValue("container"), r.URL.Query()
	started, ended, ok := logSpan(pod, name, q.Get("previous") == "true")
	if !ok {
		http.Error(w, fmt.Sprintf("container %q in pod %q is waiting to start", name, key.Name), http.StatusBadRequest)
		return
	}
	text := annotation(pod, Logs, name)
	if text == "" {
		text = fmt.Sprintf("simulated container %s of pod %s started", name, key)
	}
	lines := strings.Split(strings.TrimRight(text, "\n"), "\n")
	if n, err := strconv.Atoi(q.Get("tailLines")); err == nil && n < len(lines) {
		lines = lines[len(lines)-max(n, 0):]
	}
	var b strings.Builder
	for _, line := range lines {
		if q.Get("timestamps") == "true" {
			b.WriteString(started.UTC().Format(time.RFC3339Nano) + " ")
		}
		b.WriteString(line + "\n")
	}
	out := b.String()
	if n, err := strconv.Atoi(q.Get("limitBytes")); err == nil && n < len(out) {
		out = out[:max(n, 0)]
	}
	_, _ = io.WriteString(w, out)
	if q.Get("follow") == "true" && !ended {
		if f, is := w.(http.Flusher); is {
			f.Flush()
		}
		<-r.Context().Done() // nothing more is ever written
	}
}

// logSpan tells when the run of a container began whose log is asked for, and whether it is over.
func logSpan(pod *corev1.Pod, name string, previous bool) (started time.Time, ended, ok bool) {
	for _, list := range [][]corev1.ContainerStatus{pod.Status.InitContainerStatuses, pod.Status.ContainerStatuses} {
		for i := range list {
			if list[i].Name != name {
				continue
			}
			state := list[i].State
			if previous || state.Waiting != nil && list[i].LastTerminationState.Terminated != nil {
				state = list[i].LastTerminationState
			}
			switch {
			case state.Terminated != nil:
				return state.Terminated.StartedAt.Time, true, true
			case state.Running != nil:
				return state.Running.StartedAt.Time, false, true
			}
		}
	}
	return started, false, false
}
