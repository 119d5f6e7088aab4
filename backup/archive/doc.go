// Package archive keeps the history of a fleet as segments beside it, and brings a snapshot forward along it: to a
// revision, a time or a position that the snapshot does not have.
//
// It promises:
//
//   - A1: a segment is a run of the one history, whole and unchanged, or it is an error. The chain over the commands,
//     which every node checks too, leads from where it begins to where it ends.
//   - A2: a segment is never overwritten by another one: its name is made of what it holds. So two nodes that archive
//     at once do no harm, and neither does one that begins anew where it does not know how far it came.
//   - A3: what a failover gave up is a branch. What is restored follows one branch, from the snapshot to its end, and
//     nothing of any other; a snapshot that is not on it is refused.
//   - A4: where the history was not kept long enough to be archived there is a gap, which is told of and never skipped.
//   - A5: it holds one segment in memory, and waits for nothing without a bound.
//
// A segment notes the wall clock of the node that archived it: entries carry no time. What is restored to a time holds
// nothing that was archived later by that clock.
//
// It leaves to its neighbours: where segments lie (backup/store), what is committed and where histories part
// (replication), what commands mean (kv), and how a fleet begins with a content (backup, replication).
//
// README.md of backup has the format.
package archive
