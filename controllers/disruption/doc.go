// Package disruption keeps the status of PodDisruptionBudgets, by which the
// eviction of pods is allowed or refused.
//
// It watches budgets, pods and the owners of pods, and writes the status of
// budgets. It also takes back, from a pod that was to be evicted and is still
// there after two minutes, the condition that says so.
//
// Invariants: the disruptions allowed are never more than the pods that are
// healthy beyond those wanted; an eviction that the server has granted counts
// until the pod is seen being deleted, or two minutes have passed. If the number
// of pods wanted cannot be told, no disruption is allowed.
package disruption
