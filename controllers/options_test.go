package controllers

import (
	"slices"
	"strings"
	"testing"
)

func TestSelection(t *testing.T) {
	for _, tc := range []struct {
		selected string
		name     string
		want     bool
	}{
		{"", "deployment-controller", true},
		{"*", "deployment-controller", true},
		{"* -deployment-controller", "deployment-controller", false},
		{"* -deployment-controller", "replicaset-controller", true},
		{"replicaset-controller", "deployment-controller", false},
		{"replicaset-controller", "replicaset-controller", true},
	} {
		o := Options{Controllers: strings.Fields(tc.selected)}.withDefaults()
		if err := o.validate(); err != nil {
			t.Errorf("%q: %v", tc.selected, err)
		}
		if got := o.enabled(tc.name); got != tc.want {
			t.Errorf("%q selects %s: %v", tc.selected, tc.name, got)
		}
	}
	err := Options{Controllers: []string{"*", "-deployments"}}.validate()
	if err == nil || !strings.Contains(err.Error(), `"deployments"`) {
		t.Errorf("a misspelt name gives %v", err)
	}
}

func TestNamesAreUnique(t *testing.T) {
	names := Names()
	slices.Sort(names)
	if len(slices.Compact(slices.Clone(names))) != len(names) {
		t.Errorf("names are %v", names)
	}
}
