// Package replay decides what of a tail, which a failover cut off, can still be done to the history that the fleet has
// today, and does it.
//
// It promises:
//
//   - R1: what a command did in the lost history is computed from the contents at the fork and the commands before it,
//     as the store would have: comparisons, leases and revisions included. What cannot be computed is never done: it is
//     a conflict that says what is missing.
//   - R2: a command is replayed as what it did, never as its condition, in one transaction that holds only if each
//     key that it wrote or compared, and each range, is as it was at the fork or as this very tail made it on its way.
//   - R3: what conflicts is not done, and neither is what builds on it. Nothing of a command is done alone.
//   - R4: a replay that ended anywhere can be run again: what is there already is recognised, where it is known what
//     the commands did.
//   - R5: the tail is read twice and never held. In memory is what its commands touch: each key that they write or
//     compare, or that a range of theirs covers, with its values at the fork, in the lost history and, in the first
//     pass, today. Where that may be no more than so much ([Options].MaxHeld), a tail that touches more is given up
//     ([ErrTooMuch]), and it shows in the first pass, which changes nothing.
//
// How it goes: an overlay holds the touched keys as they were in the lost history, and evaluates one command after the
// other. Each change of a key is a stage of it. The first pass finds the last stage at which the key is today; the
// second one takes it on from there.
//
// It leaves to its neighbours: where the histories parted (the node that has the tail, server/admin), the tail itself
// and speaking to the fleet (cmd/mimir).
package replay
