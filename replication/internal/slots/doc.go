// Package slots is what the secondaries of a region have of its history: for the writes that wait for it, and for the
// log that has to be kept.
//
// It promises:
//
//   - A write counts as durable in k regions only when k-1 others acknowledged it in the very history that holds it: an
//     acknowledgement is an epoch and a position, and says nothing of a history in which that epoch ended earlier
//     ([Tracker]).
//   - Whoever waits for further regions is answered once: with the receipt alone when they have the write, else with
//     the receipt and ErrUnderReplicated. The write is applied, so that no answer reads as "not done".
//   - Log that a secondary needs is kept (invariant 15) up to the bound on it. What falls behind that bound is marked
//     lost in its slot and has to bootstrap; log from which a tail may have to be saved is kept in any case.
//
// Acknowledgements reach the leader from the node that serves a stream, by the question "ack"; the leader remembers
// them at once and writes them to the region's log now and then.
//
// It leaves to its neighbours the stream, taking slots to the log (propose), and what a slot is (timeline).
package slots
