// Package eventratelimit is the admission plugin EventRateLimit: events are refused, to be sent again
// later, when there are too many of them, in all or of one namespace, user or object.
//
//	apiVersion: eventratelimit.admission.k8s.io/v1alpha1
//	kind: Configuration
//	limits:
//	- {type: Namespace, qps: 50, burst: 100, cacheSize: 2000}
//	- {type: User, qps: 10, burst: 50}
//
// It differs from Kubernetes, which only counts events of the core group: those of events.k8s.io count too.
package eventratelimit

import (
	"context"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"

	corev1 "k8s.io/api/core/v1"
	eventsv1 "k8s.io/api/events/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apiserver/pkg/admission"
	"k8s.io/client-go/util/flowcontrol"
	"k8s.io/utils/clock"
	"k8s.io/utils/lru"
	"sigs.k8s.io/yaml"
)

const (
	// Name is the plugin's name in flags.
	Name = "EventRateLimit"

	configGroup = "eventratelimit.admission.k8s.io/v1alpha1"
	// defaultCache is how many namespaces, users or objects are told apart.
	defaultCache = 4096
)

// Kinds of limits.
const (
	server          = "Server"
	perNamespace    = "Namespace"
	perUser         = "User"
	sourceAndObject = "SourceAndObject"
)

var kinds = []string{server, perNamespace, perUser, sourceAndObject}

// config is the plugin's configuration.
type config struct {
	APIVersion string      `json:"apiVersion"`
	Kind       string      `json:"kind"`
	Limits     []limitSpec `json:"limits"`
}

type limitSpec struct {
	Type      string `json:"type"`
	QPS       int32  `json:"qps"`
	Burst     int32  `json:"burst"`
	CacheSize int32  `json:"cacheSize,omitempty"`
}

// Register makes the plugin known.
func Register(plugins *admission.Plugins) {
	plugins.Register(Name, func(r io.Reader) (admission.Interface, error) {
		limits, err := read(r)
		if err != nil {
			return nil, err
		}
		return newPlugin(limits, clock.RealClock{}), nil
	})
}

func read(r io.Reader) ([]limitSpec, error) {
	if r == nil {
		return nil, errors.New("the plugin needs a configuration: name it in --admission-control-config-file")
	}
	data, err := io.ReadAll(r)
	if err != nil {
		return nil, fmt.Errorf("reading configuration: %w", err)
	}
	var c config
	if err := yaml.UnmarshalStrict(data, &c); err != nil {
		return nil, fmt.Errorf("reading configuration: %w", err)
	}
	if c.APIVersion != configGroup || c.Kind != "Configuration" {
		return nil, fmt.Errorf("reading configuration: %s %s is unknown: use %s Configuration", c.APIVersion, c.Kind, configGroup)
	}
	return c.Limits, validate(c.Limits)
}

func validate(limits []limitSpec) error {
	var errs []error
	if len(limits) == 0 {
		errs = append(errs, errors.New("limits: must have at least one"))
	}
	for i, l := range limits {
		fail := func(format string, args ...any) {
			errs = append(errs, fmt.Errorf("limits[%d].%s", i, fmt.Sprintf(format, args...)))
		}
		if !slices.Contains(kinds, l.Type) {
			fail("type: %q is unknown: choose of %v", l.Type, kinds)
		}
		if l.QPS <= 0 {
			fail("qps: must be positive")
		}
		if l.Burst <= 0 {
			fail("burst: must be positive")
		}
		if l.CacheSize < 0 {
			fail("cacheSize: must not be negative")
		}
	}
	return errors.Join(errs...)
}

// plugin implements the limits.
type plugin struct {
	*admission.Handler
	limits []*limit
}

var _ admission.ValidationInterface = &plugin{}

func newPlugin(specs []limitSpec, c clock.PassiveClock) *plugin {
	p := &plugin{Handler: admission.NewHandler(admission.Create, admission.Update)}
	for _, s := range specs {
		size := int(s.CacheSize)
		switch {
		case s.Type == server:
			size = 1
		case size == 0:
			size = defaultCache
		}
		p.limits = append(p.limits, &limit{limitSpec: s, clock: c, buckets: lru.New(size)})
	}
	return p
}

// Validate implements admission.ValidationInterface.
func (p *plugin) Validate(_ context.Context, a admission.Attributes, _ admission.ObjectInterfaces) error {
	if !isEvent(a.GetResource().GroupResource()) || a.IsDryRun() {
		return nil
	}
	// Each limit counts the event, whatever the others say of it.
	var refused []string
	for _, l := range p.limits {
		if key := l.key(a); !l.accept(key) {
			refused = append(refused, fmt.Sprintf("limit reached on type %v for key %v", l.Type, key))
		}
	}
	if len(refused) > 0 {
		return apierrors.NewTooManyRequestsError(strings.Join(refused, "; "))
	}
	return nil
}

func isEvent(r schema.GroupResource) bool {
	return r == corev1.Resource("events") || r == eventsv1.Resource("events")
}

// limit is a bucket of tokens for each key.
type limit struct {
	limitSpec
	clock   clock.PassiveClock
	buckets *lru.Cache
}

func (l *limit) key(a admission.Attributes) string {
	switch l.Type {
	case perNamespace:
		return a.GetNamespace()
	case perUser:
		return a.GetUserInfo().GetName()
	case sourceAndObject:
		return objectKey(a.GetObject())
	}
	return ""
}

func objectKey(obj runtime.Object) string {
	var source, host string
	var ref corev1.ObjectReference
	switch e := obj.(type) {
	case *corev1.Event:
		source, host, ref = e.Source.Component, e.Source.Host, e.InvolvedObject
	case *eventsv1.Event:
		source, host, ref = e.ReportingController, e.ReportingInstance, e.Regarding
	}
	return strings.Join([]string{source, host, ref.Kind, ref.Namespace, ref.Name, string(ref.UID), ref.APIVersion}, "")
}

func (l *limit) accept(key string) bool {
	bucket, ok := l.buckets.Get(key)
	if !ok {
		// Of two at once the one that comes second takes the place of the first: a token is lost.
		bucket = flowcontrol.NewTokenBucketPassiveRateLimiterWithClock(float32(l.QPS), int(l.Burst), l.clock)
		l.buckets.Add(key, bucket)
	}
	return bucket.(flowcontrol.PassiveRateLimiter).TryAccept()
}
