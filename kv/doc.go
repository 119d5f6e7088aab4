// Package kv is the multi-version store on Pebble: revisions, transactions, watches, leases and compaction, with the
// meaning that etcd v3 gives to them. A [Store] is a replication.Storage and a replication.Checkpointer.
//
// It promises:
//
//   - Invariant 5: the effects of a batch and the replication metadata are one atomic write; after a crash the store is
//     exactly what it was after some earlier batch.
//   - Invariant 10: revision, compaction revision and contents are a function of the commands and reigns applied,
//     however they were cut into batches, and whenever old versions are physically removed.
//   - A disk without room ends nothing: what is flushed and compacted in the background is given up, [Lacking] says so,
//     and it is tried again. Of what is free compactions leave some to the log, and [Reclaim] gives back the room of
//     what was deleted.
//   - A table or list of tables that is not what was written is told from one that is, block by block and without being
//     read for a client: [Store.VerifyFile], [Store.Verify].
//   - A batch is published in one step: to readers, to whoever looks at leases, and to watchers.
//
// Its rooms, from the ground up: command (what requests and results look like as bytes), auth (users and roles, and
// what they may), keyset (keys, counted at every revision), mvcc (versions on disk), snapshot (whole copies as files),
// lease (which leases there are, and keeping them alive: invariant 12), watch (events, each once and in order:
// invariant 11). Here they are put together: a batch is a run over a generation, one Pebble database; its commands are
// checked and executed, transactions and ranges among them.
//
// It leaves to its neighbours: the order of commands and their durability (replication; Pebble's own log is off), who
// may write, regions, and the translation to and from gRPC (etcdapi). It knows nothing of regions or Raft.
//
// README.md of this package has the layout of everything on disk and in commands.
package kv
