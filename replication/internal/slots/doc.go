// Package slots is what the secondaries of a region have of its history: for the writes that wait for it, and for the
// log that has to be kept.
//
// It promises:
//
//   - A write counts as durable in k regions only when k-1 others acknowledged it in the very history that holds it:
//     an acknowledgement is an epoch and a position, and says nothing of a history in which that epoch ended earlier
//     ([Tracker]). What a region acknowledged to another one that it follows is passed on, hop by hop, and counts as
//     far as the one that says so has acknowledged as much itself, in the same reign.
//   - Whoever waits for further regions is answered once: with the receipt alone when they have the write, as many as
//     he asked for and the charter does by then; else with the receipt and ErrUnderReplicated, or, once the write was
//     cut from the history, with ErrUnknownOutcome. The write was applied, so that no answer reads as "not done".
//   - Nobody waits for what cannot come: waits end when this node does not lead any more or its region is not primary,
//     when fewer regions are left than were asked for, and when their callers leave.
//   - Log that a secondary needs is kept (invariant 15) up to the bound on it, RetainBytes. What falls behind that
//     bound is marked lost in its slot, told once, and has to bootstrap. A region without a slot counts as one that
//     stands at most where the reign began; a node of a secondary goes by what it heard last. Streams keep no more
//     than the bound either. Only when a fork is expected, and nothing is written, all log is kept, for the tail.
//   - Behind a copy that another region takes the bound is CopyRetainBytes, on every node that heard of it, until the
//     region follows again within RetainBytes, was silent for copyLease, or too much was written (Copying).
//
// Acknowledgements reach the leader from the node that serves a stream, by the question "ack"; the leader remembers
// them at once and writes them to the region's log now and then. Of copies the nodes hear from their own shelf, and by
// the question "copying" from the region that takes one; that is in memory alone, and said again while it goes on.
// A process that starts knows by the log that is there that more was kept for a region than usual.
//
// It leaves to its neighbours the stream, taking slots to the log (propose), and what a slot is (timeline).
package slots
