package resource

import (
	"cmp"
	"fmt"
	"iter"
	"maps"
	"slices"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

// SetDefault gives the field a value if it has its zero value.
func SetDefault[T comparable](field *T, value T) {
	var zero T
	if *field == zero {
		*field = value
	}
}

// SetPointer points the field to a value if it points nowhere.
func SetPointer[T any](field **T, value T) {
	if *field == nil {
		*field = &value
	}
}

// Deref is what p points to, or the zero value.
func Deref[T any](p *T) T {
	if p == nil {
		var zero T
		return zero
	}
	return *p
}

// Aged is a table cell that holds an age inside a text, such as "2 (5m ago)". The server, which has
// the clock, fills it in.
type Aged struct {
	// Format holds one %s, for the age.
	Format string
	Since  metav1.Time
}

// Text is the cell's text, given the age.
func (a Aged) Text(age string) string { return fmt.Sprintf(a.Format, age) }

// Sorted goes through a map in the order of its keys, so that errors have an order too.
func Sorted[K cmp.Ordered, V any](m map[K]V) iter.Seq2[K, V] {
	return func(yield func(K, V) bool) {
		for _, key := range slices.Sorted(maps.Keys(m)) {
			if !yield(key, m[key]) {
				return
			}
		}
	}
}
