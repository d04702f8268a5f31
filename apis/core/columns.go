package core

import (
	"fmt"
	"maps"
	"slices"
	"strings"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"coracle.dev/coracle/apis/resource"
)

var configMapColumns = []resource.Column[*corev1.ConfigMap]{
	resource.Name[*corev1.ConfigMap](),
	resource.Number("Data", func(c *corev1.ConfigMap) int { return len(c.Data) + len(c.BinaryData) }),
	resource.Age[*corev1.ConfigMap](),
}

var secretColumns = []resource.Column[*corev1.Secret]{
	resource.Name[*corev1.Secret](),
	resource.Text("Type", func(s *corev1.Secret) any { return string(s.Type) }),
	resource.Number("Data", func(s *corev1.Secret) int { return len(s.Data) }),
	resource.Age[*corev1.Secret](),
}

var serviceAccountColumns = []resource.Column[*corev1.ServiceAccount]{
	resource.Name[*corev1.ServiceAccount](),
	resource.Number("Secrets", func(s *corev1.ServiceAccount) int { return len(s.Secrets) }),
	resource.Age[*corev1.ServiceAccount](),
}

var namespaceColumns = []resource.Column[*corev1.Namespace]{
	resource.Name[*corev1.Namespace](),
	resource.Text("Status", func(n *corev1.Namespace) any { return string(n.Status.Phase) }),
	resource.Age[*corev1.Namespace](),
}

var limitRangeColumns = []resource.Column[*corev1.LimitRange]{
	resource.Name[*corev1.LimitRange](), resource.CreatedAt[*corev1.LimitRange](),
}

var resourceQuotaColumns = []resource.Column[*corev1.ResourceQuota]{
	resource.Name[*corev1.ResourceQuota](),
	resource.Text("Request", func(q *corev1.ResourceQuota) any { return quotaUse(q, false) }),
	resource.Text("Limit", func(q *corev1.ResourceQuota) any { return quotaUse(q, true) }),
	resource.Age[*corev1.ResourceQuota](),
}

func quotaUse(q *corev1.ResourceQuota, limits bool) string {
	var out []string
	for _, name := range slices.Sorted(maps.Keys(q.Status.Hard)) {
		if strings.HasPrefix(string(name), "limits") == limits {
			used, hard := q.Status.Used[name], q.Status.Hard[name]
			out = append(out, fmt.Sprintf("%s: %s/%s", name, used.String(), hard.String()))
		}
	}
	return strings.Join(out, ", ")
}

// eventColumns serve events.k8s.io too.
var eventColumns = []resource.Column[*corev1.Event]{
	resource.Text("Last Seen", func(e *corev1.Event) any { return lastSeen(e) }),
	resource.Text("Type", func(e *corev1.Event) any { return e.Type }),
	resource.Text("Reason", func(e *corev1.Event) any { return e.Reason }),
	resource.Text("Object", func(e *corev1.Event) any { return eventObject(e) }),
	resource.Text("Subobject", func(e *corev1.Event) any { return e.InvolvedObject.FieldPath }).Wide(),
	resource.Text("Source", func(e *corev1.Event) any { return eventSource(e) }).Wide(),
	resource.Text("Message", func(e *corev1.Event) any { return strings.TrimSpace(e.Message) }),
	resource.Text("First Seen", func(e *corev1.Event) any { return firstSeen(e) }).Wide(),
	resource.Number("Count", eventCount).Wide(),
	resource.Name[*corev1.Event]().Wide(),
}

func eventObject(e *corev1.Event) string {
	kind := strings.ToLower(e.InvolvedObject.Kind)
	if e.InvolvedObject.Name == "" {
		return kind
	}
	return kind + "/" + e.InvolvedObject.Name
}

func firstSeen(e *corev1.Event) metav1.Time {
	if e.FirstTimestamp.IsZero() {
		return metav1.Time(e.EventTime)
	}
	return e.FirstTimestamp
}

func lastSeen(e *corev1.Event) metav1.Time {
	switch {
	case e.Series != nil:
		return metav1.Time(e.Series.LastObservedTime)
	case e.LastTimestamp.IsZero():
		return firstSeen(e)
	}
	return e.LastTimestamp
}

// eventCount is 1 for an event that no series counts.
func eventCount(e *corev1.Event) int64 {
	if e.Series != nil {
		return int64(e.Series.Count)
	}
	return int64(max(e.Count, 1))
}

func eventSource(e *corev1.Event) string {
	component, host := e.Source.Component, e.Source.Host
	if component == "" {
		component, host = e.ReportingController, e.ReportingInstance
	}
	if host == "" {
		return component
	}
	return component + ", " + host
}
