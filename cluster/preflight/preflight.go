// Package preflight finds out whether this machine can run a cluster, before anything is started.
//
// Each check names what is missing, with the value that was seen, and the exact command that mends
// it. Checks only look: what they try out (a socket, an interface) is gone again when they return.
package preflight

import (
	"context"
	"fmt"
	"net/netip"
)

// Level says how bad a finding is.
type Level int

// OK needs nothing, Warning can be lived with, Failure keeps a cluster from starting.
const (
	OK Level = iota
	Warning
	Failure
)

func (l Level) String() string { return [...]string{"ok", "warning", "failure"}[l] }

// Finding is the outcome of one check.
type Finding struct {
	Check  string
	Level  Level
	Detail string
	// Remedy is a command, or an instruction where no command does it. Empty when Level is OK.
	Remedy string
}

// Target is what the cluster will need.
type Target struct {
	DataDir string
	// Ports are to be listened on, by the flag that sets each.
	Ports map[string]int
	// Ranges are address ranges, by the flag that sets each; Own are interfaces whose routes are
	// the cluster's own, left from an earlier run; a name may end in "*".
	Ranges map[string]netip.Prefix
	Own    []string
}

// Run makes all checks and returns one finding of each.
func Run(ctx context.Context, t Target) []Finding {
	findings := []Finding{checkRoot(), checkKernel(), checkCgroups(), checkCommands(ctx), checkInterfaces(), checkOverlay(),
		checkInotify(), checkMemory(), checkDisk(t.DataDir), checkExec(t.DataDir)}
	for _, flag := range sortedKeys(t.Ports) {
		findings = append(findings, checkPort(ctx, flag, t.Ports[flag]))
	}
	for _, flag := range sortedKeys(t.Ranges) {
		findings = append(findings, checkRange(flag, t.Ranges[flag], t.Own))
	}
	return findings
}

func ok(check, format string, args ...any) Finding {
	return Finding{Check: check, Detail: fmt.Sprintf(format, args...)}
}

func fail(check, remedy, format string, args ...any) Finding {
	return Finding{Check: check, Level: Failure, Detail: fmt.Sprintf(format, args...), Remedy: remedy}
}

func warn(check, remedy, format string, args ...any) Finding {
	return Finding{Check: check, Level: Warning, Detail: fmt.Sprintf(format, args...), Remedy: remedy}
}
