// Package snapshot is whole copies of a store as files: a checkpoint directory brought where generations are, and the
// archive, which is one stream.
//
// It promises:
//
//   - An archive verifies itself: [Read] takes nothing but exactly what [Write] wrote, up to where that ends, and
//     anything else is mvcc.ErrCorrupt. Its length is 32 above a multiple of 512, the SHA-256 of all before last, which
//     is how etcd's tools know a whole snapshot.
//   - What [Write] writes can be read again: each block of each table is compared with its sum on its way out.
//   - [Link] leaves its source as it is, whatever becomes of the copy. What [Sync] returns from without error survives
//     a crash; so does a copy of a source that does, after [SyncAll] of what Link returned and of the directory that it
//     is in.
//   - [VerifyTable] passes no table of which a block is not what was written, whichever it is: what it finds is
//     mvcc.ErrCorrupt.
//
// It leaves to its neighbours: what the files mean, when they are of one moment, and which directory counts (kv). The
// README of kv has the format of an archive and what is assumed of the filesystem.
package snapshot
