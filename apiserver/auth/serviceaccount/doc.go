// Package serviceaccount issues and verifies the tokens of service accounts.
//
// A token is a JWT that names the service account, what it is for (its audiences), how long it lasts, and
// optionally one object (a pod, a secret or a node) with which it dies. A token is accepted if its
// signature is that of a known key, its time is now, and each object it names still exists with the UID
// that it had. The signer's keys are published for others to verify tokens with (Metadata).
//
// Objects are looked up through Objects: first in the watch cache, then, if that says no, in the storage,
// so that neither a new token is refused nor a dead one accepted for longer than the cache lags.
//
// Tokens of the older kind, kept in secrets and without an end, are accepted while their secret holds
// them, but not made: a token is made for a secret as well as it is for a pod.
//
// Differences from Kubernetes: when a token of the older kind was last used is not noted on its secret.
package serviceaccount
