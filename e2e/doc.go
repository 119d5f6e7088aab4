// Package e2e holds the acceptance run of Mimir: a fleet of real processes, real disks and real etcd clients, under the
// faults that the product promises to survive.
//
// It checks from outside, with what an operator and a client have, that
//
//   - a load of real records arrives whole and identical in every region while nodes are killed and the link is cut,
//     and a watcher of the secondary sees every event once and in order (invariants 1, 4, 5, 10 and 11);
//   - a switchover under load loses nothing and shows clients a pause and no error (invariant 6);
//   - a switchover during which the link is cut or a leader dies ends with one primary that has every write
//     (invariant 6), while a client of all regions sees each of its requests done once and in order, and its leases
//     live as long as it keeps them alive (invariants 5, 11 and 12);
//   - a region that was away for longer than the log is kept takes a copy of the state, and the log stays within its
//     bound;
//   - after a forced failover every acknowledged write is either in the new primary or in the rescue file of the old
//     one, never in both, and the old region follows again by itself even if its leaders die meanwhile
//     (invariants 8 and 9); a client that has seen what was lost is told so by watches and reads (invariant 11);
//   - a fleet that lost power as a whole comes back with everything and needs no hand (invariants 1 and 15), and no
//     node shows less than it did;
//   - bad input gives one clear line and the right exit status or gRPC code.
//
// Run does it; command firstlight is Run for everyone, and TestFirstLight is Run with a small excerpt.
//
// TestCampaign does to the machines under the processes what happens to machines, one fault after the other, or for as
// long as it is told and drawn from a seed, and checks that
//
//   - registers that clients of all nodes use are linearizable, the whole time (invariants 1, 2 and 6);
//   - every acknowledged write is there at the end, and all nodes are equal (invariants 1, 4 and 5);
//   - a node with a directory that is old, foreign or damaged ends with one line that says so, or serves what the
//     others do; one that was removed ends with its own status; no other node ends, and no log has a stack.
//
// TestFiveRegions has five regions in two levels, which are cut off, broken, killed, moved, made to follow each other,
// removed and added under load, each once, or drawn from a seed for as long as it is told, and checks that
//
//   - a watcher in each region is told every revision once and in order, over thousands of connections (invariants 4,
//     5, 10 and 11);
//   - registers are linearizable, no acknowledged write is lost, and all nodes are equal (invariants 1, 2 and 6).
//
// TestBootstrapUnderFaults has a region take a copy of the whole state of another one, which is written meanwhile, and
// cuts the link and kills the nodes on the way. It checks that
//
//   - the copy goes on where it was, and what crosses is one copy and what was written (invariant 13);
//   - every acknowledged write is in both regions, which are equal (invariants 1, 4 and 5).
//
// TestFailovers, by hand, does to two regions and a witness what moves the primary, over a network of namespaces with
// the delays and cuts of a wide one, and checks that
//
//   - every acknowledged write is in the history at its revision, or in a rescue file on every node, never in both, and
//     no more are lost than the failovers had told (invariants 1 and 8, L3);
//   - registers are linearizable over the reigns: nothing is acknowledged or seen in one after something was in the
//     next (invariant 7);
//   - every region comes back by itself, and all nodes are equal (invariants 4 and 9).
//
// TestStrangers does at all ports what somebody can who only reaches them, and checks that the node lives, that what
// he costs in memory, descriptors, goroutines and lines of the log is bounded and gone with him, and that a client goes
// on; it tells how much slower.
//
// The driver of the processes and links is package localfleet. What happens inside a node is for the tests of the other
// rooms, and of sim.
package e2e
