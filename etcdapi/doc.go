// Package etcdapi speaks the etcd v3 API: it translates requests into commands of kv and calls of replication, and
// results and errors back into what etcd clients expect.
//
// It promises:
//
//   - Requests that etcd refuses are refused with the same gRPC code and message, because clients compare them.
//   - A read is linearizable unless the request says serializable; a write is acknowledged only by a receipt of
//     replication.
//   - A write that asks for other regions is acknowledged when they have it, as the primary's leader counts them; else
//     it is told that it is committed, or that nothing was written. What waits for them is bounded.
//   - An error that clients retry is only given for a write that was certainly not applied, or that clients do not
//     retry by themselves: nothing is applied twice (invariant 5 seen from the client).
//   - A read at a revision says that this is one of the future, or lost, only if the primary was asked, and what was
//     shown before a start is not shown in an older state after it.
//   - A watch sends every event once and in order, or ends with an explicit error (invariant 11); a progress
//     notification never runs ahead of the events sent on its stream.
//   - Any node answers any request, of any region; what only the primary's leader knows (the remaining time of leases)
//     is asked of it, in batches.
//   - Where users and roles are enabled, no request is done, nor told what it read, but for somebody who may: by what
//     is applied here, or where the request is applied. A refusal is by what the primary had when it was asked. What is
//     written is judged where it is applied, and by the password that was shown: who had another one once writes
//     nothing, through whatever region.
//
// It holds no state of its own that outlives a request or stream. It leaves what requests mean to kv, order and
// durability to replication, listeners, TLS and metrics to server, what users and roles may to kv/auth, and what tokens
// say to its room token.
//
// README.md has the table of services and the bytes of the messages between nodes.
package etcdapi
