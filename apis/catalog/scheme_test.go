package catalog

import (
	"math/rand"
	"net/url"
	"reflect"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	eventsv1 "k8s.io/api/events/v1"
	"k8s.io/apimachinery/pkg/api/apitesting/fuzzer"
	"k8s.io/apimachinery/pkg/api/equality"
	"k8s.io/apimachinery/pkg/api/meta"
	metafuzzer "k8s.io/apimachinery/pkg/apis/meta/fuzzer"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/runtime/serializer"
	"sigs.k8s.io/randfill"
)

var fuzzSchemeless = []any{
	// Raw extensions and metadata that an encoding cannot carry are kept out of the random objects.
	func(r *runtime.RawExtension, c randfill.Continue) { *r = runtime.RawExtension{Raw: []byte(`{"a":1}`)} },
	func(f *metav1.FieldsV1, c randfill.Continue) { f.SetRawBytes([]byte(`{}`)) },
}

func randomObject(s *runtime.Scheme, codecs serializer.CodecFactory, seed int64) *randfill.Filler {
	return fuzzer.FuzzerFor(fuzzer.MergeFuzzerFuncs(metafuzzer.Funcs,
		func(serializer.CodecFactory) []any { return fuzzSchemeless }), rand.NewSource(seed), codecs).NumElements(1, 2) // protobuf cannot tell empty from absent
}

func serializers(t *testing.T, codecs serializer.CodecFactory) map[string]runtime.Serializer {
	t.Helper()
	out := map[string]runtime.Serializer{}
	for _, media := range []string{runtime.ContentTypeJSON, runtime.ContentTypeProtobuf, runtime.ContentTypeCBOR} {
		info, ok := runtime.SerializerInfoForMediaType(codecs.SupportedMediaTypes(), media)
		if !ok {
			if media != runtime.ContentTypeCBOR {
				t.Fatalf("no serializer for %s", media)
			}
			continue
		}
		out[media] = info.Serializer
	}
	return out
}

// TestRoundTrip sends random objects of every resource through each encoding and back.
func TestRoundTrip(t *testing.T) {
	s := NewScheme()
	codecs := serializer.NewCodecFactory(s)
	for media, serial := range serializers(t, codecs) {
		for _, d := range Resources() {
			if Removed(d.Version) {
				continue // TestVersionsConvertBothWays begins with what the old version can hold
			}
			t.Run(media+" "+d.GroupResource().String(), func(t *testing.T) {
				for seed := range int64(5) {
					obj := d.New()
					randomObject(s, codecs, seed).Fill(obj)
					d.Default(obj)
					data, err := runtime.Encode(codecs.EncoderForVersion(serial, d.Version), obj)
					if err != nil {
						t.Fatalf("encoding: %v", err)
					}
					internal := schema.GroupVersion{Group: d.Version.Group, Version: runtime.APIVersionInternal}
					back, err := runtime.Decode(codecs.DecoderToVersion(serial, internal), data)
					if err != nil {
						t.Fatalf("decoding: %v", err)
					}
					if reflect.TypeOf(back) != reflect.TypeOf(obj) {
						t.Fatalf("decoded a %T, want the hub %T", back, obj)
					}
					clearKind(obj)
					clearKind(back)
					if !equality.Semantic.DeepEqual(obj, back) {
						t.Errorf("seed %d (-sent +got):\n%s", seed, cmp.Diff(obj, back))
					}
				}
			})
		}
	}
}

func clearKind(o runtime.Object) { o.GetObjectKind().SetGroupVersionKind(schema.GroupVersionKind{}) }

// TestDefaultsAreIdempotent: defaulting what is defaulted changes nothing, for empty and for random
// objects.
func TestDefaultsAreIdempotent(t *testing.T) {
	s := NewScheme()
	codecs := serializer.NewCodecFactory(s)
	for _, d := range Resources() {
		t.Run(d.GroupResource().String(), func(t *testing.T) {
			for seed := range int64(20) {
				obj := d.New()
				if seed > 0 {
					randomObject(s, codecs, seed).Fill(obj)
				}
				s.Default(obj)
				again := obj.DeepCopyObject()
				s.Default(again)
				if diff := cmp.Diff(obj, again); diff != "" {
					t.Fatalf("second defaulting changed (-once +twice):\n%s", diff)
				}
			}
		})
	}
}

// TestVersionsConvertBothWays: what is written in any served version reads the same from the hub.
func TestVersionsConvertBothWays(t *testing.T) {
	s := NewScheme()
	codecs := serializer.NewCodecFactory(s)
	for _, d := range Resources() {
		for _, gv := range d.Served() {
			t.Run(gv.String()+" "+d.Plural, func(t *testing.T) {
				for seed := range int64(5) {
					served, err := s.New(gv.WithKind(d.Kind))
					if err != nil {
						t.Fatal(err)
					}
					if reflect.TypeOf(served) == reflect.TypeOf(d.New()) {
						return
					}
					randomObject(s, codecs, seed).Fill(served)
					hub := d.New()
					if err := s.Convert(served, hub, nil); err != nil {
						t.Fatal(err)
					}
					again, hubAgain := reflect.New(reflect.TypeOf(served).Elem()).Interface().(runtime.Object), d.New()
					if err := s.Convert(hub, again, nil); err != nil {
						t.Fatal(err)
					}
					if err := s.Convert(again, hubAgain, nil); err != nil {
						t.Fatal(err)
					}
					clearKind(hub)
					clearKind(hubAgain)
					if !equality.Semantic.DeepEqual(hub, hubAgain) {
						t.Errorf("seed %d (-first +second):\n%s", seed, cmp.Diff(hub, hubAgain))
					}
				}
			})
		}
	}
}

func TestListsDecodeToTheHub(t *testing.T) {
	s := NewScheme()
	for _, d := range Resources() {
		for _, gv := range d.Served() {
			list, err := s.New(gv.WithKind(d.Kind + "List"))
			if err != nil {
				t.Errorf("%s %s has no list: %v", gv, d.Kind, err)
				continue
			}
			hub, err := s.ConvertToVersion(list, schema.GroupVersion{Group: gv.Group, Version: runtime.APIVersionInternal})
			if err != nil {
				t.Errorf("%s %sList: %v", gv, d.Kind, err)
				continue
			}
			if !meta.IsListType(hub) || reflect.TypeOf(hub) != reflect.TypeOf(d.NewList()) {
				t.Errorf("%s %sList converts to %T, want %T", gv, d.Kind, hub, d.NewList())
			}
		}
	}
}

func TestFieldLabels(t *testing.T) {
	s := NewScheme()
	for _, c := range []struct {
		gvk         schema.GroupVersionKind
		label, want string
	}{
		{corev1.SchemeGroupVersion.WithKind("Pod"), "spec.nodeName", "spec.nodeName"},
		{corev1.SchemeGroupVersion.WithKind("Pod"), "spec.host", "spec.nodeName"},
		{corev1.SchemeGroupVersion.WithKind("Pod"), "metadata.namespace", "metadata.namespace"},
		{corev1.SchemeGroupVersion.WithKind("Pod"), "spec.priority", ""},
		{corev1.SchemeGroupVersion.WithKind("Node"), "metadata.namespace", ""},
		{eventsv1.SchemeGroupVersion.WithKind("Event"), "regarding.name", "involvedObject.name"},
		{eventsv1.SchemeGroupVersion.WithKind("Event"), "involvedObject.name", ""},
		{appsv1.SchemeGroupVersion.WithKind("Deployment"), "metadata.name", "metadata.name"},
		{appsv1.SchemeGroupVersion.WithKind("Deployment"), "status.replicas", ""},
	} {
		got, _, err := s.ConvertFieldLabel(c.gvk, c.label, "x")
		if got != c.want || (err != nil) != (c.want == "") {
			t.Errorf("%s %s: got %q, %v, want %q", c.gvk, c.label, got, err, c.want)
		}
		if c.want == "" && err != nil && err.Error() != "field label not supported: "+c.label {
			t.Errorf("%s %s: %v", c.gvk, c.label, err)
		}
	}
}

func TestQueryOptions(t *testing.T) {
	codec := runtime.NewParameterCodec(NewScheme())
	at := time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)
	ten, five := int64(10), int64(5)
	stderr := "Stderr"
	for _, c := range []struct {
		query string
		into  runtime.Object
		want  runtime.Object
	}{
		{"container=web&follow=true&tailLines=10&sinceSeconds=5&timestamps=true&stream=Stderr&sinceTime=2026-01-02T03:04:05Z", &corev1.PodLogOptions{},
			&corev1.PodLogOptions{Container: "web", Follow: true, TailLines: &ten, SinceSeconds: &five, Timestamps: true, Stream: &stderr, SinceTime: &metav1.Time{Time: at}}},
		{"command=sh&command=-c&command=ls&stdin=true&stdout=1&tty=false&container=c", &corev1.PodExecOptions{},
			&corev1.PodExecOptions{Command: []string{"sh", "-c", "ls"}, Stdin: true, Stdout: true, Container: "c"}},
		{"stdin&stderr=true", &corev1.PodAttachOptions{}, &corev1.PodAttachOptions{Stdin: true, Stderr: true}},
		{"ports=80&ports=443", &corev1.PodPortForwardOptions{}, &corev1.PodPortForwardOptions{Ports: []int32{80, 443}}},
		{"path=/x", &corev1.PodProxyOptions{}, &corev1.PodProxyOptions{Path: "/x"}},
		{"path=/x", &corev1.NodeProxyOptions{}, &corev1.NodeProxyOptions{Path: "/x"}},
		{"path=/x", &corev1.ServiceProxyOptions{}, &corev1.ServiceProxyOptions{Path: "/x"}},
		{"propagationPolicy=Foreground", &metav1.DeleteOptions{}, &metav1.DeleteOptions{PropagationPolicy: new(metav1.DeletePropagationForeground)}},
	} {
		values, err := url.ParseQuery(c.query)
		if err != nil {
			t.Fatal(err)
		}
		if err := codec.DecodeParameters(values, corev1.SchemeGroupVersion, c.into); err != nil {
			t.Errorf("%s: %v", c.query, err)
			continue
		}
		clearKind(c.into)
		if diff := cmp.Diff(c.want, c.into); diff != "" {
			t.Errorf("%s (-want +got):\n%s", c.query, diff)
		}
	}
	bad := url.Values{"tailLines": {"many"}}
	if err := codec.DecodeParameters(bad, corev1.SchemeGroupVersion, &corev1.PodLogOptions{}); err == nil {
		t.Error("tailLines=many was accepted")
	}
}
