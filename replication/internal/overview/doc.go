// Package overview says how this node and its region are ([Reporter]), and how the whole fleet is ([Survey]).
//
// It promises:
//
//   - O1: what is shown of a region is what one of its nodes said of itself, its leader if that answers, and else the
//     one that is furthest, with its name. A region that does not answer is shown as it was last heard, with the age of
//     that. Nodes are those of the region's configuration; who does not answer is named.
//   - O2 (invariant 14): a lag that nobody measures is shown as unknown, never as small.
//   - O3: a region's loss counts as survivable only if another region has all of the history that its leader had, one
//     whom a majority of its voters names. Else it is not known.
//   - O4: what keeps a region from its work is told with it: a primary that is sealed for a target which does not
//     answer says so. Two regions that take writes are the first warning.
//   - O5: a node says for how long it has not heard its leader, or, if it leads, a majority; past the election time it
//     is cut off, and what it says of its region is shown as what it knew then, with a warning if it is the asked one.
//
// It decides nothing. It leaves the watching to fleet, and what is reported to the rooms that know it.
package overview
