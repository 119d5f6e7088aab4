// Package lease is leases: which there are, and keeping them alive on the one node where that is its task.
//
// It promises:
//
//   - Invariant 12: nothing here lets a lease end but a revocation that was applied. The [Lessor] of the primary's
//     leader only asks for one, in the tenure that it was promoted in, and gives every lease its full time to live when
//     it is promoted.
//   - L3: a lease whose end has begun, as the content says, is not kept alive any more: not by the next one who keeps
//     leases either, nor after a restart or a copy of the content. Who keeps them ends it. Until every node of the
//     fleet knows that, no end begins: keys of a lease may be gone, and who keeps it next gives it its full time.
//   - L4: what was decided of a lease is done to no later one once the content says that its end has begun. Before, an
//     attempt to revoke ends when it is applied here that its lease is gone, or is granted anew under the same ID; what
//     it has proposed by then is done to a lease of that ID.
//   - L1: a [Table] tells its observer of every change, in order; the observer's picture is the table's at any moment
//     that both are seen.
//   - L2: a lease of a promoted Lessor either waits for its deadline or is being revoked, and no more than a bounded
//     number are being revoked at a time, none for longer than a bounded time without being tried anew.
//
// It leaves to its neighbours: deciding what is granted and revoked, deleting the keys that are attached to a lease,
// and writing all that (kv); proposing a revocation (server); who is the primary's leader (replication).
package lease
