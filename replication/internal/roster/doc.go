// Package roster is which regions the fleet has, as state of it: the primary writes a roster (timeline.Roster) by
// order, every other region takes the newest one that it hears of, and all nodes of a region go by the one in their
// log. Without one they go by their configuration.
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
//     patience, since it has no quorum, by what it heard. Who is primary of a later epoch than the roster is not
//     removed by it.
//
//   - The regions that were removed last are asked for what they claim, and a roster is not taken that is older than
//     the reign of a region which it lacks (timeline.Roster.Overtaken): one that was cut off when it was removed may
//     have
//     been made primary before. Where such a roster is in force that region is one of the fleet beside it, until the
//     next roster of its epoch.
//
//   - A roster is only believed from a region that is known here already: a node of another fleet that is named by
//     mistake changes nothing.
//
//   - An order writes once, after everything that it needs was looked at: that all nodes understand it, that the region
//
//     which comes has no other history, that no region is left out which is known of, and that a voter which goes
//     leaves
//     a
//     majority.
//
// It leaves to its neighbours the rules of a roster (timeline), the vote of a region that goes (votes), and following
// (succession, secondary).
package roster
