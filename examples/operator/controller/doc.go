// Package controller reconciles Websites, as an example of an operator that clustertest tests.
//
// It watches Websites, and owns of each a ConfigMap with the page, a Deployment that serves it, and a
// Service. It writes the Website's status.
//
// Invariants: a change of the page rolls the Deployment out anew; what it owns goes with the Website, by
// garbage collection; fields that others own are left to them (server-side apply).
package controller
