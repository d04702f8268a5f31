// Package componentstatus serves the resource componentstatuses: whether etcd, the scheduler and the
// controllers answer. It stores nothing; each read asks the components, all at once.
//
// It is deprecated in Kubernetes since v1.19, and still what people type to see whether a cluster is
// well.
package componentstatus

import (
	"context"
	"fmt"
	"slices"
	"sync"
	"time"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metainternalversion "k8s.io/apimachinery/pkg/apis/meta/internalversion"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/fields"
	"k8s.io/apimachinery/pkg/labels"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apiserver/pkg/registry/rest"
)

// timeout is how long a component may take to answer.
const timeout = 2 * time.Second

// Check asks one component how it is. The message is shown when there is no error.
type Check func(ctx context.Context) (message string, err error)

// REST serves the resource.
type REST struct {
	rest.TableConvertor
	checks func() map[string]Check
}

var (
	_ rest.Lister               = &REST{}
	_ rest.Getter               = &REST{}
	_ rest.Scoper               = &REST{}
	_ rest.ShortNamesProvider   = &REST{}
	_ rest.SingularNameProvider = &REST{}
)

// New makes the storage. Checks is called for each request and names the components of the moment.
func New(checks func() map[string]Check) *REST {
	return &REST{TableConvertor: table{}, checks: checks}
}

// New implements rest.Storage.
func (*REST) New() runtime.Object { return &corev1.ComponentStatus{} }

// Destroy implements rest.Storage.
func (*REST) Destroy() {}

// NewList implements rest.Lister.
func (*REST) NewList() runtime.Object { return &corev1.ComponentStatusList{} }

// NamespaceScoped implements rest.Scoper.
func (*REST) NamespaceScoped() bool { return false }

// ShortNames implements rest.ShortNamesProvider.
func (*REST) ShortNames() []string { return []string{"cs"} }

// GetSingularName implements rest.SingularNameProvider.
func (*REST) GetSingularName() string { return "componentstatus" }

// Get implements rest.Getter.
func (r *REST) Get(ctx context.Context, name string, _ *metav1.GetOptions) (runtime.Object, error) {
	check, ok := r.checks()[name]
	if !ok {
		return nil, apierrors.NewNotFound(corev1.Resource("componentstatus"), name)
	}
	return status(ctx, name, check), nil
}

// List implements rest.Lister.
func (r *REST) List(ctx context.Context, options *metainternalversion.ListOptions) (runtime.Object, error) {
	checks := r.checks()
	names := make([]string, 0, len(checks))
	for name := range checks {
		if selected(name, options) {
			names = append(names, name)
		}
	}
	slices.Sort(names)
	list := &corev1.ComponentStatusList{Items: make([]corev1.ComponentStatus, len(names))}
	var wg sync.WaitGroup
	for i, name := range names {
		wg.Go(func() { list.Items[i] = *status(ctx, name, checks[name]) })
	}
	wg.Wait()
	return list, nil
}

// selected applies the selectors; a component has a name and no labels.
func selected(name string, o *metainternalversion.ListOptions) bool {
	if o == nil {
		return true
	}
	if o.LabelSelector != nil && !o.LabelSelector.Matches(labels.Set{}) {
		return false
	}
	return o.FieldSelector == nil || o.FieldSelector.Matches(fields.Set{"metadata.name": name})
}

func status(ctx context.Context, name string, check Check) *corev1.ComponentStatus {
	ctx, cancel := context.WithTimeout(ctx, timeout)
	defer cancel()
	condition := corev1.ComponentCondition{Type: corev1.ComponentHealthy, Status: corev1.ConditionTrue}
	message, err := check(ctx)
	if err != nil {
		condition.Status, condition.Error = corev1.ConditionFalse, err.Error()
	}
	condition.Message = message
	return &corev1.ComponentStatus{ObjectMeta: metav1.ObjectMeta{Name: name}, Conditions: []corev1.ComponentCondition{condition}}
}

type table struct{}

var headers = []metav1.TableColumnDefinition{
	{Name: "Name", Type: "string", Format: "name", Description: "Name of the component."},
	{Name: "Status", Type: "string", Description: "Whether the component is healthy."},
	{Name: "Message", Type: "string", Description: "What the component answered."},
	{Name: "Error", Type: "string", Description: "Why the component is not healthy."},
}

// ConvertToTable implements rest.TableConvertor.
func (table) ConvertToTable(_ context.Context, obj, options runtime.Object) (*metav1.Table, error) {
	t := &metav1.Table{}
	if o, ok := options.(*metav1.TableOptions); !ok || !o.NoHeaders {
		t.ColumnDefinitions = headers
	}
	switch o := obj.(type) {
	case *corev1.ComponentStatus:
		t.Rows = []metav1.TableRow{row(o)}
	case *corev1.ComponentStatusList:
		for i := range o.Items {
			t.Rows = append(t.Rows, row(&o.Items[i]))
		}
	default:
		return nil, fmt.Errorf("tabulating component statuses: unexpected %T", obj)
	}
	return t, nil
}

func row(c *corev1.ComponentStatus) metav1.TableRow {
	health, message, problem := "Unknown", "", ""
	for _, condition := range c.Conditions {
		if condition.Type != corev1.ComponentHealthy {
			continue
		}
		health = "Unhealthy"
		if condition.Status == corev1.ConditionTrue {
			health = "Healthy"
		}
		message, problem = condition.Message, condition.Error
	}
	return metav1.TableRow{Cells: []any{c.Name, health, message, problem}, Object: runtime.RawExtension{Object: c}}
}
