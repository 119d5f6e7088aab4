// Package roster is which regions the fleet has, as state of it: the primary writes a roster (timeline.Roster) by
// order, every other region takes the newest one that it hears of, and all nodes of a region go by the one in their
// log. Without one they go by their configuration, and serve beside the regions of that only those that were primary,
// or are in the configuration of a node of another region, as was heard since the start. A region that has a vote is
// served with and without a roster.
//
// It promises:
//
//   - A region that is there, by a roster that this node has applied, is watched, has a slot and is served; one that is
//     not there is forgotten by this node: what it acknowledged counts for nothing, and it holds no log ([Keeper]).
//
//   - A roster outlasts restarts and moves: it is in the log of every region, and whoever is primary writes the next
//     one, with a higher number. What was written within the last second or so may be lost in a forced failover, as
//     writes may: no other region has heard of it yet, and the order has to be given again.
//
//   - A node of a region that was removed ends once its region has agreed on that, or, where it has not within
//     patience, since it has no quorum, by what it heard. Who is primary by a claim that outranks the roster is
//     not removed by it.
//
//   - Rosters are ordered as the claims are by which they are written (timeline.RosterMark.Before), and a primary
//     writes its roster anew as soon as it reigns, so that what an earlier one writes is older, whoever reigns later.
//     Nothing is sealed before, and nobody begins by a handoff who has not got it. That is so of ranked rosters: where
//     a node of timeline.LevelRoster is, they are what that one writes and judges, and the primary writes them anew as
//     soon as none is.
//
//   - The regions that were removed last are asked for what they claim, and a roster is not taken by whose primary a
//     region was removed that began a reign which outranks that primary's (timeline.State.Beyond): one that was cut off
//     when it was removed may have been made primary before. Where such a roster is in force that region is one of the
//     fleet beside it, and is in the one that is written anew.
//
//   - Only a region that was removed ends: one that a roster lacks and does not name among the former waits, since it
//     may be about to be added, or was by an order that was lost.
//
//   - A roster is only believed from a region that is known here already: a node of another fleet that is named by
//     mistake changes nothing.
//
//   - An order writes once, after everything that it needs was looked at: that all nodes understand it, that the region
//     which comes has no other history, that none which goes is known to hold what nobody else has, that no region is
//     left out which is known of, and that a voter which goes leaves a majority.
//
//   - Whom a region is to follow is in the roster too, and leads from each to the primary: no order has regions follow
//     each other. It is said to no fleet with a node that does not know it (timeline.LevelSources).
//
//   - An order and a switchover are not under way at once: whoever comes second is refused, and told of the other. A
//     roster that is written when the target was found to be close would cost the pause of the move.
//
// It leaves to its neighbours the rules of a roster (timeline), the vote of a region that goes (votes), and following
// (succession, secondary).
package roster
