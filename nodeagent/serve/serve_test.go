package serve

import (
	"net/url"
	"testing"

	"github.com/google/go-cmp/cmp"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/utils/ptr"
)

func TestLogOptions(t *testing.T) {
	for query, want := range map[string]*corev1.PodLogOptions{
		"": {}, "follow=true&timestamps=1&previous=false": {Follow: true, Timestamps: true}, "follow": {Follow: true}, "tailLines=all": {},
		"tailLines=3&limitBytes=9&sinceSeconds=2": {TailLines: ptr.To[int64](3), LimitBytes: ptr.To[int64](9), SinceSeconds: ptr.To[int64](2)},
		"stream=Stdout": {Stream: ptr.To("Stdout")},
		"tailLines=x":   nil, "tailLines=-1": nil, "follow=maybe": nil, "sinceTime=yesterday": nil,
	} {
		q, _ := url.ParseQuery(query)
		got, err := logOptions(q)
		if want == nil {
			if err == nil {
				t.Errorf("%s was accepted", query)
			}
			continue
		}
		if diff := cmp.Diff(want, got); diff != "" || err != nil {
			t.Errorf("%s: %s %v", query, diff, err)
		}
	}
}

func TestStreams(t *testing.T) {
	for query, want := range map[string]streams{
		"input=1&output=1&error=1": {true, true, true, false}, "output=true&error=1&tty=1": {false, true, false, true},
	} {
		q, _ := url.ParseQuery(query)
		if got, err := streamsOf(q); err != nil || got != want {
			t.Errorf("%s: %+v, %v", query, got, err)
		}
	}
	if _, err := streamsOf(url.Values{}); err == nil {
		t.Error("no streams at all were accepted")
	}
}
