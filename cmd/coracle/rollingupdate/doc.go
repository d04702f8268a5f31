// Package rollingupdate is the kubectl plugin that brings back 'kubectl rolling-update': it replaces a
// ReplicationController by another, one pod at a time.
//
// It writes the two controllers, and nothing else. How far an update has come is in the controllers
// themselves, with annotations named as kubectl named them, so that an update that was interrupted goes on
// when the command is run again, from anywhere.
//
// Invariants: there are never fewer pods available than the new controller is to have (or than there were),
// nor more than one beyond. The old controller is deleted when it has no pods left, and all of the new one's
// are ready.
//
// Differences from kubectl 1.17, the last to have the verb: there is no --image, which needs the labels of
// running pods changed, and no pause between pods unless --update-period asks for one, since each pod
// is waited for to be ready anyway.
package rollingupdate
