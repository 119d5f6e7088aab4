// Package region is what a node has applied of its region's log: the [Applier], which turns committed entries into
// batches for the storage, and the narrow handles by which everybody else sees it: [Applied] (the newest view, and
// waiting for a newer one) and [Leadership] (the term in which this node leads).
//
// It promises, with the invariants A1 to A7 of [Applier] between its steps:
//
//   - Invariant 5: commands apply exactly once and in order, and the applied index is saved in the same atomic batch as
//     the data. With timeline, also invariants 4, 6 and 13.
//   - A view is never changed after it was published, and what it shows is committed.
//   - There is one way to another state (adopt.go), whoever it comes from. A crash in any step of it leaves the old
//     state or the new one.
//   - A copy that turns out to be damaged as it is put in place costs that copy and no more: the node takes the state
//     of one sibling after the other, and does not end while one is left.
//   - Nothing is applied while somebody takes hold of the state, which is quick; everything is while the state is
//     written out (hold.go). Nobody takes hold of it while what comes next waits for room on the disk; what is durable
//     is told meanwhile (room.go).
//   - Before a region gives up what it has after a fork, its tail is saved on this node (invariant 8, with tail).
//
// It leaves the decisions to timeline, agreement to raftgroup, whole states as directories to copies, getting those of
// others to transfer, what was proposed here to propose, and what commands mean to the embedder's Storage.
package region
