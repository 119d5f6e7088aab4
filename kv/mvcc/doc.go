// Package mvcc is how versions of keys lie on disk: the tables of the database and the order of their keys, the state
// that says which revisions can be read, and the walks over them.
//
// It promises:
//
//   - M1: the newest version of a key at any revision is found by one seek, and the versions of a key lie together,
//     from new to old, in the order of user keys whatever bytes they hold.
//   - M2: a version and its entry in the table of revisions are written together ([Writer]). So [History] finds every
//     change of the revisions that can be read, in order.
//   - M3: [State]: compaction and gaps never make a revision readable again; a revision inside a gap is never served.
//   - M4: [RemoveSuperseded] removes nothing that can be read at or above the compaction revision, nor the changes of
//     that revision itself, since a watch may start there. It may stop anywhere: what is left to do is what is left
//     on disk.
//   - Bytes that are not what was written are [ErrCorrupt].
//
// It leaves to its neighbours: what a command changes, atomic batches, and when a state counts (kv); what the keys of
// requests mean (command). The README of kv has the layout in tables.
package mvcc
