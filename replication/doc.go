// Package replication makes any deterministic storage engine multi-region: one history of writes, identical everywhere.
//
// Inside a region a Raft group keeps the history safe and linearizable; between regions the committed log is streamed
// asynchronously; one region is the primary and takes the writes; a switchover moves the primary without losing
// anything, a failover moves it when the old one is gone and keeps what it lost.
//
// # Embedding
//
// Write a [Storage]: it applies runs of commands in order, and saves the [Metadata] that comes with each run in the
// same atomic write. An engine that keeps its content in files, and can copy it by hard links, implements
// [Checkpointer] as well; one that keeps nothing on disk returns [ErrVolatile] from Sync, and the library keeps
// snapshots of it beside the log.
//
// Fill a [Config] for each node: its name, its region, the nodes that form the region, where the other regions are, and
// which region begins. Then
//
//	node, err := replication.NewMultiRegionReplicator(&config, storage)
//	node.SetTransport(network) // package transport/grpc, or transport/memory in tests
//	err = node.Start(ctx)
//
// and the same on every other node. Whoever brings another transport links no gRPC; [Config] says where another clock
// and filesystem go in. [NewRaftReplicator] is for one region alone. The example shows a whole engine in two regions.
//
// # Writing
//
// Propose takes one atomic unit of commands on any node of any region, forwards it to the leader of the primary, and
// returns the storage's results with the place in the history. Apply and ApplyBatch are the same with a timeout and
// without results. An error that is [ErrNotReady] or [ErrTooLarge] says that nothing was written; [ErrUnknownOutcome]
// says that it cannot be known, as with any database whose leader died with the answer. [WithRegions] waits until
// further regions have the write.
//
// # Reading
//
// Reads go to the storage directly. ReadBarrier comes first where a read must be fresh: with [Linearizable] it sees
// everything that was acknowledged anywhere before; [Serializable] costs nothing and promises nothing. WaitPosition
// makes a read see a certain write: that of a [Receipt].
//
// # Regions
//
// Switchover and Failover move the primary and report what happened; any node takes the call. RegionFailover is the
// forced move to the region of the node that it is called on. A region that lost its place saves what only it has to
// rescue files, which Tails lists and ReadTail reads, and rejoins by itself. [Storage.Begin] tells the engine of every
// new epoch, in order with the commands.
//
// # What it promises, and what it leaves to others
//
// The package promises invariants 1 to 6, 8 to 10 and 13 to 15 of ARCHITECTURE.md for any Storage that keeps its
// contract. It leaves what commands mean to the Storage, consensus to raftgroup, the log to wal, the way between
// regions to stream, and the rules of who may write to timeline. README.md has the formats.
package replication
