// Package primary moves the primary: it runs the machine of succession on the leader of a region, carries out what
// that decides, and takes the orders of operators to any node, wherever the leader that can do it is.
//
// It promises:
//
//   - G1: the machine takes one step at a time, and sees at each what is applied by then; what it decided is begun in
//     its order.
//   - G2: everything that was begun is told to the machine once, however it ends; nothing is begun after the node's
//     end.
//   - G3: an order that has not reached the leader it needs is given again, for a bounded time, so that no move begins
//     long after it was asked for. One that was given up where it may have been carried out ends with
//     ErrUnknownOutcome, also if it was only the connection that broke; ErrHandoff says only what is known.
//   - G4 (invariant 8): before a failover, everybody is asked once more what this region lacks, and the answer is
//     reported; where votes are taken, also how much can be lost at most.
//   - G5 (invariant 6): a region without a vote is not made primary of a fleet that was heard to vote.
//
// It leaves to its neighbours: what has to be done (succession); the region's log (behind Decider); following
// (secondary); who is where (fleet, members) and who may write (standing).
package primary
