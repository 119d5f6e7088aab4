// Package progress says how far a copy of a whole state is on its way to a node and to a region, and how fast it comes.
//
// It promises:
//
//   - G1 (invariant 14). What is not known is nil, and never small: bytes of which nobody knows how many there are have
//     no time that is left, and neither has what does not come.
//   - G2. What an earlier attempt had left counts as done, and not as come: it makes nothing look fast.
//   - G3. The time that is left is of the phase that is told with it, at the lower of the pace of late and the pace
//     since the phase began.
//
// It is pure: whoever measures brings the time. It leaves to its neighbours what is transferred (checkpoint, transfer),
// what the region does with it (secondary), and who is told (fleet, overview).
package progress
