package catalog

import (
	"errors"
	"net/url"
	"strconv"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/conversion"
	"k8s.io/apimachinery/pkg/runtime"
)

// addQueryConversions makes the options of the connecting subresources (log, exec, attach,
// portforward, proxy) readable from the query of a request.
func addQueryConversions(s *runtime.Scheme) error {
	return errors.Join(
		queryConversion(s, func(q *query, o *corev1.PodLogOptions) {
			o.Container = q.text("container")
			o.Follow = q.flag("follow")
			o.Previous = q.flag("previous")
			o.SinceSeconds = q.number("sinceSeconds")
			o.SinceTime = q.time("sinceTime")
			o.Timestamps = q.flag("timestamps")
			o.TailLines = q.number("tailLines")
			o.LimitBytes = q.number("limitBytes")
			o.InsecureSkipTLSVerifyBackend = q.flag("insecureSkipTLSVerifyBackend")
			if stream := q.text("stream"); stream != "" {
				o.Stream = &stream
			}
		}),
		queryConversion(s, func(q *query, o *corev1.PodExecOptions) {
			o.Stdin, o.Stdout, o.Stderr, o.TTY = q.flag("stdin"), q.flag("stdout"), q.flag("stderr"), q.flag("tty")
			o.Container = q.text("container")
			o.Command = q.values["command"]
		}),
		queryConversion(s, func(q *query, o *corev1.PodAttachOptions) {
			o.Stdin, o.Stdout, o.Stderr, o.TTY = q.flag("stdin"), q.flag("stdout"), q.flag("stderr"), q.flag("tty")
			o.Container = q.text("container")
		}),
		queryConversion(s, func(q *query, o *corev1.PodPortForwardOptions) { o.Ports = q.ports("ports") }),
		queryConversion(s, func(q *query, o *corev1.PodProxyOptions) { o.Path = q.text("path") }),
		queryConversion(s, func(q *query, o *corev1.NodeProxyOptions) { o.Path = q.text("path") }),
		queryConversion(s, func(q *query, o *corev1.ServiceProxyOptions) { o.Path = q.text("path") }),
	)
}

func queryConversion[T any](s *runtime.Scheme, read func(*query, *T)) error {
	return s.AddConversionFunc((*url.Values)(nil), (*T)(nil), func(in, out any, _ conversion.Scope) error {
		q := &query{values: *in.(*url.Values)}
		read(q, out.(*T))
		return q.err
	})
}

// query reads typed values out of a request's query and keeps the first error.
type query struct {
	values url.Values
	err    error
}

func (q *query) fail(err error) {
	if q.err == nil {
		q.err = err
	}
}

func (q *query) text(key string) string { return q.values.Get(key) }

// flag reads a boolean as Kubernetes does: a key without value is true, so is everything but "0",
// "false" and their capitalised forms.
func (q *query) flag(key string) bool {
	values, ok := q.values[key]
	if !ok || len(values) == 0 {
		return false
	}
	var b bool
	if err := runtime.Convert_Slice_string_To_bool(&values, &b, nil); err != nil {
		q.fail(err)
	}
	return b
}

func (q *query) number(key string) *int64 {
	text := q.values.Get(key)
	if text == "" {
		return nil
	}
	n, err := strconv.ParseInt(text, 10, 64)
	if err != nil {
		q.fail(err)
		return nil
	}
	return &n
}

func (q *query) time(key string) *metav1.Time {
	text := q.values.Get(key)
	if text == "" {
		return nil
	}
	t, err := time.Parse(time.RFC3339, text)
	if err != nil {
		q.fail(err)
		return nil
	}
	return &metav1.Time{Time: t.Local()}
}

func (q *query) ports(key string) []int32 {
	values, ok := q.values[key]
	if !ok {
		return nil
	}
	var ports []int32
	if err := metav1.Convert_Slice_string_To_Slice_int32(&values, &ports, nil); err != nil {
		q.fail(err)
	}
	return ports
}
