package registry

import (
	"context"
	"fmt"
	"time"

	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/util/duration"
	"k8s.io/utils/clock"

	"coracle.dev/coracle/apis/resource"
)

// table prints objects as rows by the columns of their descriptor. The response writer puts the
// object, its metadata or nothing into each row, as includeObject asks.
type table struct {
	descriptor *resource.Descriptor
	columns    []resource.Column[runtime.Object]
	headers    []metav1.TableColumnDefinition
	clock      clock.PassiveClock
}

var metadataDoc = metav1.ObjectMeta{}.SwaggerDoc()

// nameAndAge are the columns of a resource that declares none.
var nameAndAge = []resource.Column[runtime.Object]{
	{Name: "Name", Type: "string", Format: "name", Value: func(o runtime.Object) any { return accessor(o).GetName() }},
	{Name: "Age", Type: "string", Value: func(o runtime.Object) any { return accessor(o).GetCreationTimestamp() }},
}

func newTable(d *resource.Descriptor) *table {
	t := &table{descriptor: d, columns: d.Columns, clock: clock.RealClock{}}
	if len(t.columns) == 0 {
		t.columns = nameAndAge
	}
	for _, c := range t.columns {
		t.headers = append(t.headers, metav1.TableColumnDefinition{
			Name: c.Name, Type: c.Type, Format: c.Format, Description: describe(c), Priority: c.Priority,
		})
	}
	return t
}

func describe(c resource.Column[runtime.Object]) string {
	switch {
	case c.Description != "":
		return c.Description
	case c.Name == "Name":
		return metadataDoc["name"]
	case c.Name == "Age":
		return metadataDoc["creationTimestamp"]
	}
	return ""
}

// ConvertToTable implements rest.TableConvertor.
func (t *table) ConvertToTable(_ context.Context, obj, options runtime.Object) (*metav1.Table, error) {
	out := &metav1.Table{}
	if o, ok := options.(*metav1.TableOptions); !ok || !o.NoHeaders {
		out.ColumnDefinitions = t.headers
	}
	add := func(o runtime.Object) error {
		out.Rows = append(out.Rows, t.row(o))
		return nil
	}
	if !meta.IsListType(obj) {
		if m, err := meta.CommonAccessor(obj); err == nil {
			out.ResourceVersion = m.GetResourceVersion()
		}
		return out, add(obj)
	}
	m, err := meta.ListAccessor(obj)
	if err != nil {
		return nil, fmt.Errorf("tabulating %s: %w", t.descriptor.GroupResource(), err)
	}
	out.ResourceVersion, out.Continue, out.RemainingItemCount = m.GetResourceVersion(), m.GetContinue(), m.GetRemainingItemCount()
	out.Rows = make([]metav1.TableRow, 0, meta.LenList(obj))
	return out, meta.EachListItem(obj, add)
}

func (t *table) row(obj runtime.Object) metav1.TableRow {
	cells := make([]any, len(t.columns))
	for i, c := range t.columns {
		cells[i] = t.cell(c.Value(obj))
	}
	return metav1.TableRow{Cells: cells, Object: runtime.RawExtension{Object: obj}}
}

// cell shows a time as its age.
func (t *table) cell(v any) any {
	switch v := v.(type) {
	case metav1.Time:
		return t.age(v.Time)
	case resource.Aged:
		return v.Text(t.age(v.Since.Time))
	case *metav1.Time:
		if v == nil {
			return t.age(time.Time{})
		}
		return t.age(v.Time)
	}
	return v
}

func (t *table) age(since time.Time) string {
	if since.IsZero() {
		return "<unknown>"
	}
	return duration.HumanDuration(t.clock.Since(since))
}
