// Package events keeps a node's event log: what was decided about the fleet, and what this node saw of it.
//
// It promises that what [Log.Read] tells is on the disk, that the log takes no more than [Options] allow, by size and
// by age, and that nothing of it holds up the node: whoever adds an event never waits, and a disk that takes none, or a
// file that is damaged, is said and costs events alone. An event with an identity is kept once, however often it is
// told. README.md has the bytes.
//
// [Merge] puts together what several nodes hold. Each event of the history or of a region's log is then one, with all
// who saw it; what a node saw alone keeps the order in which that node saw it. Clocks decide only what nothing else
// does.
//
// What is worth an event is decided by whoever adds it: package replication, which derives decisions from the state of
// the region, alike on every node; the store, which has the alarms; and this node's handlers, for what operators order.
package events
