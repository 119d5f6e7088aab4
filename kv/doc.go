// Package kv is the multi-version store on Pebble: revisions, transactions, watches, leases and compaction, with the
// meaning that etcd v3 gives to them. A [Store] is a replication.Storage and a replication.Checkpointer.
//
// It promises:
//
//   - Invariant 5: the effects of a batch and the replication metadata are one atomic write; after a crash the store is
//     exactly what it was after some earlier batch.
//   - Invariant 10: revision, compaction revision and contents are a function of the commands and reigns applied, however
//     they were cut into batches, and whenever old versions are physically removed.
//   - Invariant 11: a [Watcher] yields every matching event once and in order, or ends with an error that says why.
//   - Invariant 12: nothing here lets a lease expire but a LeaseRevoke command; the [Lessor] of the primary's leader only
//     asks for one, and gives every lease its full time to live when it is promoted.
//
// It leaves to its neighbours: the order of commands and their durability (replication; Pebble's own log is off), who
// may write, regions, and the translation to and from gRPC (etcdapi). It knows nothing of regions or Raft.
//
// README.md of this package has the layout of everything on disk and in commands.
package kv
