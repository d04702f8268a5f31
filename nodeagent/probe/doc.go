// Package probe asks running containers whether they have started, are ready,
// and are alive.
//
// Contract: Sync states which containers run; from then on each probe of each
// of them has a goroutine with a timer, until Sync no longer names the
// container. A result that changes reaches the owner through the callback at
// once. Liveness and readiness wait for the startup probe. A liveness or
// startup probe that failed for good stays silent: its container is about to
// be replaced by one with another id.
//
// Results are kept by container id, so that they end with the container.
package probe
