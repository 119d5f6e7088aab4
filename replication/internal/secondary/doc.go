// Package secondary carries out how a region follows another: it streams from the source, fetches a copy of it, and
// brings that to a majority of the region's nodes. One of them runs at a time, on the region's leader.
//
// It promises:
//
//   - F1 (invariant 3, 4): what the stream brings is proposed in its order, and only in the term for which it was
//     begun.
//   - F2: when a stream has ended, everything that it proposed is applied here, or this node leads no more. Whoever
//     begins an epoch behind it knows where it begins.
//   - F3 (invariant 9): a copy is of the region that was asked, which is the nearer one that is to be followed if that
//     is well and what it offers leads on from what is here and lacks nothing of it (nearer.go), or any such while the
//     source is silent, or the one state to which all nodes of this region came that made it from what they have; and
//     of a history that has the claim to which this region gave way. It is offered for installation only when a
//     majority of the voters holds it, so that a crash at any point leaves the old state or the new one. One that turns
//     out to be damaged while it is brought there is offered no more, and another is fetched.
//   - F4 (invariant 14): a lag that is not known is not reported as small, and no bootstrap as further than is known.
//   - F5: one bootstrap takes one copy as long as the node that gives it lives, a follower if one is well and not far
//     behind: the source and the region that gives it are told of it, and where it is as soon as that is known, so that
//     they keep the log behind it, and the rest is asked for where the part came from, also where the primary moves
//     meanwhile and what is given leads on still. A node that hangs blocks none: one that gives a copy and says nothing
//     is given up by transfer, and the next one asked; status says of whom what is waited for.
//   - F6: a source that is cut off from its region is left for one that is not; where no node of the source can read
//     the log, a further region with the same history is followed for a while, and a copy taken if there is none. By
//     which region the primary is followed otherwise is a choice: by none that leads back here (way.go, choice.go).
//   - F7 (invariant 8): a fork is told where chains prove it, and not where positions suggest it: of two histories of
//     one reign everything is told to be missing that is not proven to be in the other one. Whether a copy has what is
//     here, all nodes of other regions are asked where who gave it does not know, and again where one of them is
//     silent: by a silence nothing is taken for a part of a copy. What none of them knows is, unless this region itself
//     wrote it.
//   - F8 (invariant 6): no stream takes a reign of this region to its log that this region has forgotten.
//   - F9 (invariant 13): no copy is installed of which the giver is known, when it is on a majority, to hold something
//     else than its region, as far as a node of that region answers.
//
// It leaves to its neighbours: what runs when, and what is decided of a fork (succession, through primary); the
// stream's protocol (stream); how a copy travels and is kept (behind Copies); what is applied (region).
package secondary
