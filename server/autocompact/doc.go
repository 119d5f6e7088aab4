// Package autocompact has the history of the fleet compacted by itself, by etcd's two rules.
//
// It promises that what is younger than the retention is never compacted: with the periodic rule what was written
// within so much time, by the clock that runs on while the machine sleeps, and with the other the newest so many
// revisions that there are, what a reign jumped over not counted (C1); and that on the node that takes the fleet's
// writes what is older goes, once in the retention or in an hour, whichever is shorter, or every five minutes (C2).
// Every node watches, in every region, so that the node which takes writes next goes on where the one before was (C3).
//
// Which node that is, and that the order to compact is void once it is another, is the business of who makes the
// order; what it does is that of the store.
package autocompact
