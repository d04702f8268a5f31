// Package pull sees that a container's image is on the node, by its pull
// policy and with the pod's credentials.
//
// Contract: Ensure answers at once while an image is in back-off; a failure
// doubles the back-off of that image for that pod from 10 s to 5 min, a
// success ends it. A few pulls run at a time; the rest wait in line, and look
// again whether the image has come meanwhile.
//
// Events, reasons and messages are those of Kubernetes 1.37.
package pull
