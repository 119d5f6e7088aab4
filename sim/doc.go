// Package sim runs whole fleets of real nodes in one process, on a simulated network, clock and disk, under faults
// drawn from a seed, and checks what they promised.
//
// [Run] draws a plan from a seed (regions, nodes, storages, delays, which faults), lets clients write and read while
// nodes lose power in the middle of whatever they do, links break and the primary is moved, then heals everything and
// waits until the fleet has come together. Checked are, by the numbers of ARCHITECTURE.md:
//
//   - 1 and 8: every acknowledged command is in the final history at the position of its receipt, or in a rescue file
//     of a region that was deposed; whatever any node has applied is in one of the two; a tail begins exactly at the
//     fork.
//   - 2, as long as no failover was forced: writes and linearizable reads respect the order in which they happened.
//   - 3: nothing is applied anywhere before a node of the region that made it has applied it.
//   - 4 and 10: at equal places all nodes have equal histories; at the end equal contents, revisions and compaction
//     revisions.
//   - 5: each batch continues position, chain and index of the storage that takes it, restarts included; no command is
//     applied twice.
//   - 6: claims of a node never fall; an epoch has one primary, unless an operator forced two.
//   - 7 and 2, where the fleet votes: whatever was forced, and see README.md for the budget of a failover.
//   - 15: after the faults the fleet converges within bounded (virtual) time.
//   - users: where clients say who they are, nobody is told or changes what he may not.
//
// The checks do not trust what nodes report: an auditor stands between each node and its storage, and sees every batch.
//
// Time is testing/synctest's. Every decision of the simulation comes from the seed and virtual time, and so does the
// randomness of the nodes; the order in which the goroutines of one instant run does not, so that a seed repeats a
// failure usually, not always. The package is for tests: it leaves single rooms to their own tests, and processes,
// sockets and real disks to those of cmd/mimir.
package sim
