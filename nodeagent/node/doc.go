// Package node keeps the Node object of this machine: it registers it, renews
// its lease, and reports conditions, capacity, addresses and images.
//
// Contract: the status is looked at every ten seconds (four times a second
// until the node is first ready) and written when it changed or is five
// minutes old; the lease is what tells the control plane that the node lives.
// A Node that somebody deleted is registered again, where upstream's kubelet
// would wait for its own restart.
//
// DiskPressure and MemoryPressure only inform, and keep the scheduler away;
// nothing is evicted. Disk pressure begins at 1 GiB free instead of upstream's
// tenth of the disk, as nothing here would relieve it.
package node
