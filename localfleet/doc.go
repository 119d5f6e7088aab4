// Package localfleet lays out a fleet on this machine, runs its nodes as real processes, and does to them what the
// world does. `mimir dev` is made of it, and so is the acceptance run.
//
// It promises that every node is a process of its own that can be stopped, killed and started again on the same
// addresses and data; that no process outlives Close (on Linux not even if this process is killed); and that all
// traffic between two regions passes links, unless they are not wanted. A link delays every byte; a link that is cut is
// silent, as a lost route is: connections stay open, and nothing gets through until Heal. A node that does not listen
// is refused by its links too: they listen while it does.
//
// A node that does not run can be given other addresses, or its place to a node of another name. The links of the other
// regions lead to where it was until they are told (Follow).
//
// Ports are handed out once, to whichever programs on this machine ask for them with Ports at the same time.
//
// It knows how a node is configured and nothing of what it serves; what a fleet is for is the business of packages
// cmd/mimir/dev and e2e.
package localfleet
