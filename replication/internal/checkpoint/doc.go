// Package checkpoint moves a directory of immutable files over a stream: how a follower that fell behind, or a region
// that is empty, gets a whole state.
//
// It promises:
//
//   - What [Receive] returns without an error is complete: every file has the bytes that [Describe] summed, and is
//     durable (invariants 1 and 13). Anything less has no manifest, so that [Load] refuses it.
//   - A transfer that broke off is taken up where it stopped, if it is offered again with the same manifest. With
//     another one it is taken up by files: what both have under one name with one sum is not sent again.
//   - A file that is not what its storage wrote is neither described nor received, where somebody can tell ([Look]):
//     whoever sums it looks at it, and so does whoever receives it, once each, right when it was read or written.
//   - A receiver that got something else than was summed is told from one that failed otherwise ([ErrDoubted]).
//   - A file that never changes is summed once, where the filesystem tells that it is the same one ([Sums]).
//   - Nothing is written outside the directory, whatever the sender says.
//   - Nobody waits for the other side when that hangs, and everybody as long as it works: a side that goes through
//     files says so ([Line]), unless the other is of a version that does not know that word.
//
// It leaves to its neighbours: making and installing checkpoints (the storage), what Meta means and when a transfer is
// needed (raftgroup, transfer), and the connection (transport). The formats are in README.md.
package checkpoint
