package pod

import (
	"context"
	"fmt"
	"net/url"
	"strconv"
	"strings"
	"time"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/util/validation/field"
	genericregistry "k8s.io/apiserver/pkg/registry/generic/registry"

	"coracle.dev/coracle/apiserver/subresource/connect"
)

// finder finds containers on nodes.
type finder struct {
	pods  *genericregistry.Store
	nodes *connect.Connector
}

func (f finder) pod(ctx context.Context, name string) (*corev1.Pod, error) {
	obj, err := f.pods.Get(ctx, name, &metav1.GetOptions{})
	if err != nil {
		return nil, err
	}
	pod, ok := obj.(*corev1.Pod)
	if !ok {
		return nil, fmt.Errorf("getting pod: unexpected %T", obj)
	}
	return pod, nil
}

// container is the one that is named, or the only one, or the one that the pod's annotation chooses.
func container(pod *corev1.Pod, name string) (string, error) {
	if name != "" {
		if !hasContainer(&pod.Spec, name) {
			return "", apierrors.NewBadRequest(fmt.Sprintf("container %s is not valid for pod %s", name, pod.Name))
		}
		return name, nil
	}
	if len(pod.Spec.Containers) == 1 {
		return pod.Spec.Containers[0].Name, nil
	}
	var names, inits, ephemerals []string
	for i := range pod.Spec.Containers {
		names = append(names, pod.Spec.Containers[i].Name)
	}
	for i := range pod.Spec.InitContainers {
		inits = append(inits, pod.Spec.InitContainers[i].Name)
	}
	for i := range pod.Spec.EphemeralContainers {
		ephemerals = append(ephemerals, pod.Spec.EphemeralContainers[i].Name)
	}
	text := fmt.Sprintf("a container name must be specified for pod %s, choose one of: %s", pod.Name, names)
	if len(inits) > 0 {
		text += fmt.Sprintf(" or one of the init containers: %s", inits)
	}
	if len(ephemerals) > 0 {
		text += fmt.Sprintf(" or one of the ephemeral containers: %s", ephemerals)
	}
	return "", apierrors.NewBadRequest(text)
}

func hasContainer(spec *corev1.PodSpec, name string) bool {
	for i := range spec.InitContainers {
		if spec.InitContainers[i].Name == name {
			return true
		}
	}
	for i := range spec.Containers {
		if spec.Containers[i].Name == name {
			return true
		}
	}
	for i := range spec.EphemeralContainers {
		if spec.EphemeralContainers[i].Name == name {
			return true
		}
	}
	return false
}

// streams are what exec and attach connect.
type streams struct{ stdin, stdout, stderr, tty bool }

func (s streams) query() url.Values {
	q := url.Values{}
	for key, on := range map[string]bool{"input": s.stdin, "output": s.stdout, "error": s.stderr, "tty": s.tty} {
		if on {
			q.Set(key, "1")
		}
	}
	return q
}

// stream finds where the agent serves an action on a container.
func (f finder) stream(ctx context.Context, name, containerName, action string, s streams, command []string) (*url.URL, connect.Target, error) {
	pod, err := f.pod(ctx, name)
	if err != nil {
		return nil, connect.Target{}, err
	}
	c, err := container(pod, containerName)
	if err != nil {
		return nil, connect.Target{}, err
	}
	target, err := f.agent(ctx, pod)
	if err != nil {
		return nil, connect.Target{}, err
	}
	q := s.query()
	for _, word := range command {
		q.Add("command", word)
	}
	return target.URL(fmt.Sprintf("/%s/%s/%s/%s", action, pod.Namespace, pod.Name, c), q), target, nil
}

func (f finder) agent(ctx context.Context, pod *corev1.Pod) (connect.Target, error) {
	if pod.Spec.NodeName == "" {
		return connect.Target{}, apierrors.NewBadRequest(fmt.Sprintf("pod %s does not have a host assigned", pod.Name))
	}
	return f.nodes.Node(ctx, pod.Spec.NodeName)
}

// forward finds where the agent forwards ports of a pod.
func (f finder) forward(ctx context.Context, name string, ports []int32) (*url.URL, connect.Target, error) {
	pod, err := f.pod(ctx, name)
	if err != nil {
		return nil, connect.Target{}, err
	}
	target, err := f.agent(ctx, pod)
	if err != nil {
		return nil, connect.Target{}, err
	}
	q := url.Values{}
	var texts []string
	for _, p := range ports {
		texts = append(texts, strconv.Itoa(int(p)))
	}
	if len(texts) > 0 {
		q.Set("port", strings.Join(texts, ","))
	}
	return target.URL(fmt.Sprintf("/portForward/%s/%s", pod.Namespace, pod.Name), q), target, nil
}

// logs finds where the agent serves the log of a container. A pod without a node has none.
func (f finder) logs(ctx context.Context, name string, o *corev1.PodLogOptions) (*url.URL, connect.Target, error) {
	pod, err := f.pod(ctx, name)
	if err != nil {
		return nil, connect.Target{}, err
	}
	c, err := container(pod, o.Container)
	if err != nil {
		return nil, connect.Target{}, err
	}
	if pod.Spec.NodeName == "" {
		return nil, connect.Target{}, nil
	}
	target, err := f.nodes.Node(ctx, pod.Spec.NodeName)
	if err != nil {
		return nil, connect.Target{}, err
	}
	return target.URL(fmt.Sprintf("/containerLogs/%s/%s/%s", pod.Namespace, pod.Name, c), logQuery(o)), target, nil
}

func logQuery(o *corev1.PodLogOptions) url.Values {
	q := url.Values{}
	flag := func(key string, on bool) {
		if on {
			q.Add(key, "true")
		}
	}
	number := func(key string, n *int64) {
		if n != nil {
			q.Add(key, strconv.FormatInt(*n, 10))
		}
	}
	flag("follow", o.Follow)
	flag("previous", o.Previous)
	flag("timestamps", o.Timestamps)
	number("sinceSeconds", o.SinceSeconds)
	if o.SinceTime != nil {
		q.Add("sinceTime", o.SinceTime.UTC().Format(time.RFC3339))
	}
	number("tailLines", o.TailLines)
	number("limitBytes", o.LimitBytes)
	if o.Stream != nil {
		q.Add("stream", *o.Stream)
	}
	return q
}

func validateLogOptions(o *corev1.PodLogOptions) field.ErrorList {
	var errs field.ErrorList
	if o.TailLines != nil && *o.TailLines < 0 {
		errs = append(errs, field.Invalid(field.NewPath("tailLines"), *o.TailLines, "must be greater than or equal to 0"))
	}
	if o.LimitBytes != nil && *o.LimitBytes < 1 {
		errs = append(errs, field.Invalid(field.NewPath("limitBytes"), *o.LimitBytes, "must be greater than 0"))
	}
	switch {
	case o.SinceSeconds != nil && o.SinceTime != nil:
		errs = append(errs, field.Forbidden(field.NewPath(""), "at most one of `sinceTime` or `sinceSeconds` may be specified"))
	case o.SinceSeconds != nil && *o.SinceSeconds < 1:
		errs = append(errs, field.Invalid(field.NewPath("sinceSeconds"), *o.SinceSeconds, "must be greater than 0"))
	}
	if s := o.Stream; s != nil {
		if *s != corev1.LogStreamAll && *s != corev1.LogStreamStdout && *s != corev1.LogStreamStderr {
			errs = append(errs, field.NotSupported(field.NewPath("stream"), *s, []string{corev1.LogStreamAll, corev1.LogStreamStdout, corev1.LogStreamStderr}))
		}
		if *s != corev1.LogStreamAll && o.TailLines != nil {
			errs = append(errs, field.Forbidden(field.NewPath(""), "`tailLines` and specific `stream` are mutually exclusive for now"))
		}
	}
	return errs
}
