// Package region is what a node has applied of its region's log, and the narrow handles by which everybody else sees it: [Applied] (the
// newest view, and waiting for a newer one) and [Leadership] (the term in which this node leads).
//
// It promises invariant 5 (commands apply exactly once and in order, the applied index is saved in the same atomic batch as the data) and,
// with timeline, invariants 4, 6 and 13. A view is never changed after it was published, and what it shows is committed.
//
// It leaves the decisions to timeline, agreement to raftgroup, and what commands mean to the embedder's Storage.
package region
