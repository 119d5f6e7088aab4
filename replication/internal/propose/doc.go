// Package propose is the way of a write from its caller to a frame in the region's log, and of the result back.
//
// A proposal goes to the pipeline of the primary region's leader: on this node at once, from another over a link that
// carries many. The pipeline makes frames of what waits, hands them to the region's Raft group, and knows them again
// when they are applied. Controls and beginnings of epochs go the same way, in order with the frames.
//
// It promises, with timeline:
//
//   - Invariant 4: every frame in the log continues the one before it. One goroutine stamps; properties P1 to P8 of
//     pipeline say how.
//   - Invariant 6: no frame of this node stands behind a control that ends the right to write. It asks for that right
//     with its lock held.
//   - Invariant 1, its half: a write is answered as done only after its frame was applied, hence committed.
//   - Exactly one answer: each proposal ends once. ErrNotReady, ErrTooLarge and ErrRejected say that nothing was and
//     will be written; a proposal that raft may hold, or that was sent and not answered, ends with ErrUnknownOutcome
//     and is never sent again.
//   - Invariant 7, its half: what is known to be cut off by a later reign is not answered as done, however long ago the
//     answer was sent; it may be in a tail.
//   - What nobody waits for any more and is in no frame never comes into one: its caller withdraws it here, and at the
//     leader the word of the node that forwarded it, its deadline and the end of the stream that brought it do. What is
//     bound to a tenure is written in that one or never.
//
// It leaves to its neighbours who may write (standing), what frames mean (timeline), agreement (raftgroup), applying
// (region), and in which other regions a write is (slots: asked only for writes that wait for more than one).
package propose
