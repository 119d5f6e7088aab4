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
// Of a Checkpointer: a checkpoint is durable once it is made, and stays what it is; one whose directory cannot be made
// says so, and keeps nothing from the next sync; an install is held to what a restore is, and says of what is no
// checkpoint any more that it is damaged. Of a Verifier: it passes every file of a checkpoint with which nothing is
// wrong, and nothing that is damaged where that matters. Of a Brancher: a branch goes on as the storage did, and beside
// it.
//
// It leaves to the author what commands mean, how contents are compared, and what a power cut leaves of his disk:
// [Engine], and [Directories] of a Checkpointer.
//
// With [Suite.CrashInside] it cuts the power within the calls, too; without, what an Apply or an Install that is cut
// short leaves is not seen. It cannot see a descriptor that is not closed, or a sync that the author's Crashed does not
// model, nor whether an error that is no damage is told as such, nor what a checkpoint does that fails after its
// directory is made. Of a storage that is no Verifier it does not see which damage an install takes for a state. Run it
// with the race detector: Sync, a look at checkpoints, a Branch and the methods of a Snapshot come from other
// goroutines.
package storagetest
