package snapshot

import (
	"cmp"
	"slices"

	"k8s.io/apimachinery/pkg/labels"
)

// Budget is what a PodDisruptionBudget lets happen at present.
type Budget struct {
	Namespace, Name string
	Selector        labels.Selector
	Allowed         int
	Disrupted       map[string]bool // pods by name whose disruption has been counted already
}

// SetBudget tells of a budget.
func (c *Cluster) SetBudget(b Budget) {
	c.RemoveBudget(b.Namespace, b.Name)
	i, _ := slices.BinarySearchFunc(c.budgets, b, compareBudgets)
	c.budgets = slices.Insert(c.budgets, i, b)
}

// RemoveBudget forgets a budget.
func (c *Cluster) RemoveBudget(namespace, name string) {
	if i, found := slices.BinarySearchFunc(c.budgets, Budget{Namespace: namespace, Name: name}, compareBudgets); found {
		c.budgets = slices.Delete(c.budgets, i, i+1)
	}
}

func compareBudgets(a, b Budget) int {
	return cmp.Or(cmp.Compare(a.Namespace, b.Namespace), cmp.Compare(a.Name, b.Name))
}

// Violating tells which of these pods could not be deleted, in this order, within all budgets.
func (c *Cluster) Violating(pods []*Pod) []bool {
	left := make([]int, len(c.budgets))
	for i := range c.budgets {
		left[i] = c.budgets[i].Allowed
	}
	out := make([]bool, len(pods))
	for j, p := range pods {
		for i := range c.budgets {
			b := &c.budgets[i]
			if b.Namespace != p.Namespace || len(p.Labels) == 0 || b.Selector.Empty() || b.Disrupted[p.Name] || !b.Selector.Matches(labels.Set(p.Labels)) {
				continue
			}
			if left[i]--; left[i] < 0 {
				out[j] = true
			}
		}
	}
	return out
}
