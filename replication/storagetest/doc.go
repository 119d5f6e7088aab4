// Package storagetest is the contract of [replication.Storage] as a test: the author of an engine calls [Run] from one
// test of his own.
//
// It promises that an engine which passes keeps what the library relies on: commands apply in order and give their
// results, which stay what they are, and are not changed themselves; data and metadata are saved in one atomic step, or
// in one for each cut of a batch (invariant 5); what was synced survives a power cut, also where the sync ran beside
// other calls; a snapshot shows one position while applying goes on; a restore that fails or is cut off leaves the
// former content; and equal commands leave equal contents on every replica, however they are cut into batches
// (invariant 10).
//
// It leaves to the author what commands mean, how contents are compared, and what a power cut leaves of his disk:
// [Engine].
//
// With [Suite.CrashInside] it cuts the power within the calls, too; without, what an Apply that is cut short leaves is
// not seen. It cannot see a descriptor that is not closed, or a sync that the author's Crashed does not model. Run it
// with the race detector: Sync and the methods of a Snapshot come from other goroutines.
package storagetest
