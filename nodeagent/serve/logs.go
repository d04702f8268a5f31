package serve

import (
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"os"
	"strconv"
	"strings"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/klog/v2"

	"coracle.dev/coracle/nodeagent/lifecycle"
	"coracle.dev/coracle/nodeagent/logs"
	"coracle.dev/coracle/nodeagent/pod"
)

func (c Config) containerLogs(w http.ResponseWriter, r *http.Request) {
	options, err := logOptions(r.URL.Query())
	if err != nil {
		http.Error(w, fmt.Sprintf(`{"message": "Unable to decode query: %v"}`, err), http.StatusBadRequest)
		return
	}
	namespace, name, container := r.PathValue("namespace"), r.PathValue("pod"), r.PathValue("container")
	view, err := c.Pods.Find(namespace, name, "")
	if err != nil {
		http.Error(w, fmt.Sprintf("pod %q does not exist", name), http.StatusNotFound)
		return
	}
	instance, err := logInstance(view, container, options.Previous)
	if err != nil {
		http.Error(w, err.Error(), http.StatusBadRequest)
		return
	}
	if _, err := os.Stat(instance.LogPath); err != nil {
		http.Error(w, fmt.Sprintf("failed to try resolving symlinks in path %q: %v", instance.LogPath, err), http.StatusInternalServerError)
		return
	}
	out := &flushing{w: w}
	out.flush()
	var stdout, stderr io.Writer = out, out
	if options.Stream != nil {
		switch *options.Stream {
		case corev1.LogStreamStdout:
			stderr = io.Discard
		case corev1.LogStreamStderr:
			stdout = io.Discard
		}
	}
	if err := logs.Read(r.Context(), instance.LogPath, instance.ID, options, c.CRI, stdout, stderr); err != nil && r.Context().Err() == nil {
		klog.FromContext(r.Context()).V(2).Info("Could not read a log", "path", instance.LogPath, "err", err)
		_, _ = fmt.Fprintf(out, "%v\n", err)
	}
}

// logOptions reads the options of a log from a query.
func logOptions(q url.Values) (*corev1.PodLogOptions, error) {
	o := &corev1.PodLogOptions{}
	var all error
	flag := func(name string) bool {
		v := q.Get(name)
		if v == "" {
			return q.Has(name)
		}
		on, err := strconv.ParseBool(v)
		all = errors.Join(all, err)
		return on
	}
	number := func(name string) *int64 {
		v := q.Get(name)
		if v == "" || (name == "tailLines" && v == "all") {
			return nil
		}
		n, err := strconv.ParseInt(v, 10, 64)
		if err == nil && n < 0 {
			err = fmt.Errorf("%s must be greater than or equal to 0", name)
		}
		all = errors.Join(all, err)
		return &n
	}
	o.Follow, o.Previous, o.Timestamps = flag("follow"), flag("previous"), flag("timestamps")
	o.SinceSeconds, o.TailLines, o.LimitBytes = number("sinceSeconds"), number("tailLines"), number("limitBytes")
	if v := q.Get("sinceTime"); v != "" {
		at, err := time.Parse(time.RFC3339, v)
		all = errors.Join(all, err)
		o.SinceTime = &metav1.Time{Time: at}
	}
	if v := q.Get("stream"); v != "" {
		o.Stream = &v
	}
	return o, all
}

// logInstance finds the instance of a container whose log is asked for.
// Messages are those of Kubernetes 1.37.
func logInstance(v pod.View, container string, previous bool) (lifecycle.Container, error) {
	p := v.Pod()
	status := statusOf(p, container)
	if status == nil {
		return lifecycle.Container{}, fmt.Errorf("container %q in pod %q is not available", container, p.Name)
	}
	var id string
	waiting, last := status.State.Waiting, status.LastTerminationState.Terminated
	switch {
	case previous:
		if last == nil || last.ContainerID == "" {
			return lifecycle.Container{}, fmt.Errorf("previous terminated container %q in pod %q not found", container, p.Name)
		}
		id = last.ContainerID
	case status.State.Running != nil:
		id = status.ContainerID
	case status.State.Terminated != nil:
		id = status.State.Terminated.ContainerID
	case last != nil && last.ContainerID != "":
		id = last.ContainerID
	case waiting != nil:
		return lifecycle.Container{}, fmt.Errorf("container %q in pod %q is waiting to start: %s", container, p.Name, waitReason(waiting.Reason))
	default:
		return lifecycle.Container{}, fmt.Errorf("container %q in pod %q is waiting to start - no logs yet", container, p.Name)
	}
	id = id[strings.LastIndexByte(id, '/')+1:]
	for _, i := range v.Containers(container) {
		if i.ID == id {
			return i, nil
		}
	}
	return lifecycle.Container{}, fmt.Errorf("unable to retrieve container logs for containerd://%s", id)
}

func waitReason(reason string) string {
	switch reason {
	case "ErrImagePull", "ImagePullBackOff":
		return "trying and failing to pull image"
	case "InvalidImageName":
		return "image name is invalid"
	case "ErrImageNeverPull":
		return "image can't be pulled"
	}
	return reason
}

func statusOf(p *corev1.Pod, container string) *corev1.ContainerStatus {
	for _, list := range [][]corev1.ContainerStatus{p.Status.ContainerStatuses, p.Status.InitContainerStatuses, p.Status.EphemeralContainerStatuses} {
		for i := range list {
			if list[i].Name == container {
				return &list[i]
			}
		}
	}
	return nil
}

// flushing sends every write at once, as a log that is followed needs.
type flushing struct{ w http.ResponseWriter }

func (f *flushing) Write(p []byte) (int, error) {
	n, err := f.w.Write(p)
	f.flush()
	return n, err
}

func (f *flushing) flush() {
	if flusher, ok := f.w.(http.Flusher); ok {
		flusher.Flush()
	}
}
