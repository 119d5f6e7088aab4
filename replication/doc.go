// Package replication makes any deterministic storage engine multi-region: one history of writes, identical everywhere.
//
// Inside a region a Raft group keeps the history safe and linearizable; between regions the committed log is streamed
// asynchronously; one region is the primary and takes the writes; a switchover moves the primary without losing
// anything, a failover moves it when the old one is gone and keeps what it lost.
//
// An embedder implements [Storage], fills a [Config], and calls [NewMultiRegionReplicator] (or [NewRaftReplicator] for
// one region alone), SetTransport and Start. Package transport has a Transport over gRPC.
//
// The package promises invariants 1 to 10 and 13 to 15 of ARCHITECTURE.md for any Storage that keeps its contract. It leaves
// what commands mean to the Storage, consensus to raftgroup, the log to wal, the way between regions to stream, and
// the rules of who may write to timeline.
package replication
