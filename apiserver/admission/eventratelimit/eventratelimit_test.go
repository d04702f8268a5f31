package eventratelimit

import (
	"strings"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	eventsv1 "k8s.io/api/events/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apiserver/pkg/admission"
	"k8s.io/apiserver/pkg/authentication/user"
	clocktesting "k8s.io/utils/clock/testing"
)

func event(obj runtime.Object, resource schema.GroupResource, namespace, name string, dryRun bool) admission.Attributes {
	return admission.NewAttributesRecord(obj, nil, schema.GroupVersionKind{}, namespace, "e", resource.WithVersion("v1"), "",
		admission.Create, nil, dryRun, &user.DefaultInfo{Name: name})
}

func about(name string) *corev1.Event {
	return &corev1.Event{InvolvedObject: corev1.ObjectReference{Name: name}}
}

func TestLimits(t *testing.T) {
	core, newer := corev1.Resource("events"), eventsv1.Resource("events")
	for kind, c := range map[string]struct{ same, other admission.Attributes }{
		server:          {event(about("a"), core, "ns", "alice", false), nil},
		perNamespace:    {event(about("a"), core, "ns", "alice", false), event(about("a"), core, "other", "alice", false)},
		perUser:         {event(about("a"), core, "ns", "alice", false), event(about("a"), core, "ns", "bob", false)},
		sourceAndObject: {event(about("a"), core, "ns", "alice", false), event(about("b"), core, "ns", "alice", false)},
	} {
		clock := clocktesting.NewFakePassiveClock(time.Unix(0, 0))
		p := newPlugin([]limitSpec{{Type: kind, QPS: 1, Burst: 2}}, clock)
		send := func(what string, a admission.Attributes, want bool) {
			t.Helper()
			err := p.Validate(t.Context(), a, nil)
			if (err == nil) != want || err != nil && (!apierrors.IsTooManyRequests(err) || !strings.Contains(err.Error(), "limit reached on type "+kind)) {
				t.Errorf("%s: %s: %v", kind, what, err)
			}
		}
		send("first", c.same, true)
		send("second", c.same, true)
		send("third", c.same, false)
		if c.other != nil {
			send("of another", c.other, true)
		}
		send("that is no event", event(about("a"), corev1.Resource("pods"), "ns", "alice", false), true)
		send("that is a dry run", event(about("a"), core, "ns", "alice", true), true)
		clock.SetTime(time.Unix(1, 0))
		send("after a second", c.same, true)
		send("at once after it", c.same, false)
	}
	p := newPlugin([]limitSpec{{Type: server, QPS: 1, Burst: 1}, {Type: sourceAndObject, QPS: 1, Burst: 1}}, clocktesting.NewFakePassiveClock(time.Unix(0, 0)))
	newEvent := event(&eventsv1.Event{Regarding: corev1.ObjectReference{Name: "a"}}, newer, "ns", "alice", false)
	if err := p.Validate(t.Context(), newEvent, nil); err != nil {
		t.Error(err)
	}
	if err := p.Validate(t.Context(), newEvent, nil); err == nil || !strings.Contains(err.Error(), "limit reached on type Server for key ; limit reached on type SourceAndObject for key a") {
		t.Errorf("beyond both limits: %v", err)
	}
}

func TestConfiguration(t *testing.T) {
	const head = "apiVersion: eventratelimit.admission.k8s.io/v1alpha1\nkind: Configuration\n"
	for text, want := range map[string]string{
		head + "limits: [{type: User, qps: 1, burst: 1}]": "",
		head: "limits: must have at least one",
		head + "limits: [{type: Planet, qps: 1, burst: 1}]":              `limits[0].type: "Planet" is unknown`,
		head + "limits: [{type: User, burst: 1}]":                        "limits[0].qps: must be positive",
		head + "limits: [{type: User, qps: 1}]":                          "limits[0].burst: must be positive",
		head + "limits: [{type: User, qps: 1, burst: 1, cacheSize: -1}]": "limits[0].cacheSize: must not be negative",
		head + "limit: []":    "unknown field",
		"kind: Configuration": "use eventratelimit.admission.k8s.io/v1alpha1 Configuration",
	} {
		_, err := read(strings.NewReader(text))
		if (err != nil) != (want != "") || err != nil && !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v, want %q", text, err, want)
		}
	}
	if _, err := read(nil); err == nil {
		t.Error("no configuration is no error")
	}
}
