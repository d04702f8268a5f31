// Package controllers runs Kubernetes' control loops.
//
// Each loop is a controller-runtime Reconciler in a folder of its own, written
// as anyone would write an operator: New makes it, SetupWithManager adds it to
// a manager. A controller needs nothing of Coracle: it talks to any Kubernetes
// API server through the manager's client and cache, and can be used alone in
// anyone's manager.
//
// This package owns the one explicit list of the controllers (controllers.go)
// and runs a selection of them in one manager with one cache. What a controller
// decides is in its plan.go, a pure function of what it observed; reading,
// writing, time and events are in the files beside it. What several controllers
// share is in internal/.
//
// Invariants: controllers never import one another; they meet in the API alone.
// The cache holds no managed fields. Requests are not rate limited on the
// client's side, since the API server's priority and fairness does that.
package controllers
