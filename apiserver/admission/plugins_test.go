package admission

import (
	"slices"
	"testing"
)

func TestFlagsChooseAmongPlugins(t *testing.T) {
	all, err := Options{}.Enabled()
	if err != nil || !slices.Contains(all, "ServiceAccount") || !slices.Contains(all, "NamespaceLifecycle") {
		t.Fatalf("by default: %v, %v", all, err)
	}
	less, err := Options{Disable: []string{"ServiceAccount"}}.Enabled()
	if err != nil || slices.Contains(less, "ServiceAccount") || len(less) != len(all)-1 {
		t.Errorf("with one off: %v, %v", less, err)
	}
	if !slices.IsSortedFunc(less, func(a, b string) int { return slices.Index(Order(), a) - slices.Index(Order(), b) }) {
		t.Errorf("out of order: %v", less)
	}
	for _, o := range []Options{{Enable: []string{"Nonsense"}}, {Disable: []string{"Nonsense"}}} {
		if _, err := o.Enabled(); err == nil {
			t.Errorf("an unknown plugin is no error: %+v", o)
		}
	}
}
