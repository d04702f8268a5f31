// Package rbac authorizes by roles and role bindings.
//
// A request is allowed if any rule of any role that is bound to the user covers it: cluster role bindings
// count everywhere, role bindings in their namespace. There are no rules that deny. A binding whose role
// is missing gives nothing. Rules come from listers, thus the watch cache's pace is that of changes.
//
// Who writes roles and bindings may grant only what they hold, or what they are allowed to escalate or to
// bind (GuardRoles, GuardBindings).
package rbac
