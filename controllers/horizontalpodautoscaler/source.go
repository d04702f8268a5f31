package horizontalpodautoscaler

import (
	"context"
	"errors"
	"fmt"
	"time"

	autoscalingv2 "k8s.io/api/autoscaling/v2"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/labels"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/client-go/discovery"
	metricsv1beta1 "k8s.io/metrics/pkg/apis/metrics/v1beta1"
	resourceclient "k8s.io/metrics/pkg/client/clientset/versioned/typed/metrics/v1beta1"
	customclient "k8s.io/metrics/pkg/client/custom_metrics"
	externalclient "k8s.io/metrics/pkg/client/external_metrics"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/manager"
)

// rediscover is how often it is found out anew which versions of the API of
// custom metrics there are.
const rediscover = 15 * time.Second

// source reads metrics by the three APIs for them.
type source struct {
	resource resourceclient.MetricsV1beta1Interface
	custom   customclient.CustomMetricsClient
	external externalclient.ExternalMetricsClient
}

func newSource(mgr ctrl.Manager) (*source, error) {
	client, err := resourceclient.NewForConfigAndClient(mgr.GetConfig(), mgr.GetHTTPClient())
	if err != nil {
		return nil, fmt.Errorf("making the client of metrics: %w", err)
	}
	disco, err := discovery.NewDiscoveryClientForConfigAndClient(mgr.GetConfig(), mgr.GetHTTPClient())
	if err != nil {
		return nil, fmt.Errorf("making the client of discovery: %w", err)
	}
	external, err := externalclient.NewForConfig(mgr.GetConfig())
	if err != nil {
		return nil, fmt.Errorf("making the client of external metrics: %w", err)
	}
	versions := customclient.NewAvailableAPIsGetter(disco)
	forget := manager.RunnableFunc(func(ctx context.Context) error {
		customclient.PeriodicallyInvalidate(versions, rediscover, ctx.Done())
		return nil
	})
	if err := mgr.Add(forget); err != nil {
		return nil, err
	}
	return &source{resource: client, custom: customclient.NewForConfig(mgr.GetConfig(), mgr.GetRESTMapper(), versions), external: external}, nil
}

// read reads a metric of the pods that a selector selects, or of what it names.
func (s *source) read(ctx context.Context, namespace string, spec autoscalingv2.MetricSpec, selector labels.Selector) reading {
	var r reading
	switch spec.Type {
	case autoscalingv2.ObjectMetricSourceType:
		r.total, r.err = s.object(namespace, spec.Object)
	case autoscalingv2.PodsMetricSourceType:
		r.samples, r.err = s.pods(namespace, spec.Pods, selector)
	case autoscalingv2.ExternalMetricSourceType:
		r.total, r.err = s.sum(namespace, spec.External)
	case autoscalingv2.ResourceMetricSourceType, autoscalingv2.ContainerResourceMetricSourceType:
		name, container := resourceOf(spec)
		r.samples, r.err = s.usage(ctx, namespace, name, container, selector)
	default:
		r.err = fmt.Errorf("unknown metric source type %q", spec.Type)
	}
	return r
}

func (s *source) usage(ctx context.Context, namespace string, name corev1.ResourceName, container string, selector labels.Selector) (map[string]sample, error) {
	list, err := s.resource.PodMetricses(namespace).List(ctx, metav1.ListOptions{LabelSelector: selector.String()})
	if err != nil {
		return nil, fmt.Errorf("unable to get metrics for resource %s: unable to fetch metrics from resource metrics API: %w", name, err)
	}
	if len(list.Items) == 0 {
		return nil, fmt.Errorf("unable to get metrics for resource %s: no metrics returned from resource metrics API", name)
	}
	samples := map[string]sample{}
	for i := range list.Items {
		m := &list.Items[i]
		if value, ok := usageOf(m, name, container); ok {
			samples[m.Name] = sample{value, m.Timestamp.Time, m.Window.Duration}
		}
	}
	return samples, nil
}

// usageOf sums up what a pod's containers use, or takes that of one. A pod of
// which a container is unknown is.
func usageOf(m *metricsv1beta1.PodMetrics, name corev1.ResourceName, container string) (int64, bool) {
	sum, any := int64(0), false
	for _, c := range m.Containers {
		if container != "" && c.Name != container {
			continue
		}
		q, ok := c.Usage[name]
		if !ok {
			return 0, false
		}
		sum, any = sum+q.MilliValue(), true
	}
	return sum, any
}

func (s *source) pods(namespace string, m *autoscalingv2.PodsMetricSource, selector labels.Selector) (map[string]sample, error) {
	of, err := selectorOf(m.Metric.Selector)
	if err != nil {
		return nil, err
	}
	list, err := s.custom.NamespacedMetrics(namespace).GetForObjects(schema.GroupKind{Kind: "Pod"}, selector, m.Metric.Name, of)
	if err != nil {
		return nil, fmt.Errorf("unable to get metric %s: unable to fetch metrics from custom metrics API: %w", m.Metric.Name, err)
	}
	if len(list.Items) == 0 {
		return nil, errors.New("no metrics returned from custom metrics API")
	}
	samples := map[string]sample{}
	for i := range list.Items {
		v := &list.Items[i]
		window := time.Minute
		if v.WindowSeconds != nil {
			window = time.Duration(*v.WindowSeconds) * time.Second
		}
		samples[v.DescribedObject.Name] = sample{v.Value.MilliValue(), v.Timestamp.Time, window}
	}
	return samples, nil
}

func (s *source) object(namespace string, m *autoscalingv2.ObjectMetricSource) (int64, error) {
	of, err := selectorOf(m.Metric.Selector)
	if err != nil {
		return 0, err
	}
	gv, err := schema.ParseGroupVersion(m.DescribedObject.APIVersion)
	if err != nil {
		return 0, err
	}
	kind := schema.GroupKind{Group: gv.Group, Kind: m.DescribedObject.Kind}
	client := s.custom.NamespacedMetrics(namespace)
	if kind == (schema.GroupKind{Kind: "Namespace"}) {
		client = s.custom.RootScopedMetrics()
	}
	v, err := client.GetForObject(kind, m.DescribedObject.Name, m.Metric.Name, of)
	if err != nil {
		return 0, fmt.Errorf("unable to get metric %s: %s on %s %s/%w", m.Metric.Name, m.DescribedObject.Kind, namespace, m.DescribedObject.Name, err)
	}
	return v.Value.MilliValue(), nil
}

func (s *source) sum(namespace string, m *autoscalingv2.ExternalMetricSource) (int64, error) {
	of, err := selectorOf(m.Metric.Selector)
	if err != nil {
		return 0, err
	}
	list, err := s.external.NamespacedMetrics(namespace).List(m.Metric.Name, of)
	if err != nil {
		return 0, fmt.Errorf("unable to get external metric %s/%s/%s: unable to fetch metrics from external metrics API: %w", namespace, m.Metric.Name, of, err)
	}
	if len(list.Items) == 0 {
		return 0, fmt.Errorf("unable to get external metric %s/%s/%s: no metrics returned from external metrics API", namespace, m.Metric.Name, of)
	}
	total := int64(0)
	for i := range list.Items {
		total += list.Items[i].Value.MilliValue()
	}
	return total, nil
}

// selectorOf reads a metric's selector; none selects all.
func selectorOf(s *metav1.LabelSelector) (labels.Selector, error) {
	if s == nil {
		return labels.Everything(), nil
	}
	return metav1.LabelSelectorAsSelector(s)
}
