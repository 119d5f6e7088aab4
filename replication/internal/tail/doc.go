// Package tail saves what a region loses when it gives way to another history: everything that it applied after the
// fork.
//
// It promises the other half of invariant 8: before a region gives up what it has after a fork, every node that gives
// it up has that on disk, as a rescue file with exactly the entries that the history took, in order; or, where its log
// does not reach back to the fork, with those that it has, beside a copy of the whole state. Whatever is saved is
// listed, and can be read.
//
// It leaves to its neighbours: the file (rescue), copying the state (copies, region), and when a region gives way
// (timeline).
package tail
