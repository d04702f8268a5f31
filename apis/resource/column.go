package resource

import (
	"fmt"
	"strings"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

// Placeholders that Kubernetes prints where there is nothing to print.
const (
	None    = "<none>"
	Unset   = "<unset>"
	Unknown = "<unknown>"
)

// Name is the column that every table begins with.
func Name[T Object]() Column[T] {
	return Column[T]{Name: "Name", Type: "string", Format: "name", Value: func(o T) any { return o.GetName() }}
}

// Age is the column of the time since creation.
func Age[T Object]() Column[T] {
	return Column[T]{Name: "Age", Type: "string", Value: func(o T) any { return o.GetCreationTimestamp() }}
}

// Text is a column of text; f returns a string, a metav1.Time or an Aged.
func Text[T Object](name string, f func(T) any) Column[T] {
	return Column[T]{Name: name, Type: "string", Value: f}
}

// Number is a column of whole numbers.
func Number[T Object, N ~int | ~int32 | ~int64](name string, f func(T) N) Column[T] {
	return Column[T]{Name: name, Type: "integer", Value: func(o T) any { return int64(f(o)) }}
}

// Flag is a column of truth values.
func Flag[T Object](name string, f func(T) bool) Column[T] {
	return Column[T]{Name: name, Type: "boolean", Value: func(o T) any { return f(o) }}
}

// CreatedAt is the column that stands in for Age in tables that Kubernetes never gave one.
func CreatedAt[T Object]() Column[T] {
	return Column[T]{Name: "Created At", Type: "date", Value: func(o T) any {
		return o.GetCreationTimestamp().UTC().Format("2006-01-02T15:04:05Z07:00")
	}}
}

// Wide shows the column with -o wide only.
func (c Column[T]) Wide() Column[T] {
	c.Priority = 1
	return c
}

// OrNone returns a placeholder for the empty text.
func OrNone(text string) string { return Or(text, None) }

// Or returns text, or another for the empty text.
func Or(text, other string) string {
	if text == "" {
		return other
	}
	return text
}

// Shorten joins the first limit parts with sep and says how many more there are.
func Shorten(parts []string, limit int, sep string) string {
	if len(parts) <= limit {
		return strings.Join(parts, sep)
	}
	return fmt.Sprintf("%s + %d more...", strings.Join(parts[:limit], sep), len(parts)-limit)
}

// SelectorText is the string form of a selector.
func SelectorText(s *metav1.LabelSelector) string { return metav1.FormatLabelSelector(s) }
