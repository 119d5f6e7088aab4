// Package members knows the nodes of this region by name and address ([Directory]), and changes who they are
// ([Registrar]).
//
// It promises:
//
//   - M1: a change of membership is made by the region's leader through Raft, one at a time, and one that makes no
//     sense is refused before.
//   - M2: a node's identity is derived from its names alone, so that every node computes the same. Who was removed does
//     not come back under it: the region remembers the last [timeline.MaxRemoved] of them, and refuses to add them.
//   - M3: a node describes itself to its region until the region's log has it as it is; one that was removed and still
//     runs is refused.
//   - M4: an address is configuration and no identity. Of two words of a node on where it is, the one of its later
//     start counts; where it is not found it is looked for at the other addresses that are known of it.
//   - M5: a node presents itself to the others when it starts, while it knows no leader, and now and then. So they
//     learn where it is without any leader, and it learns where they are, and that it was removed. Who joins believes
//     whoever presents itself, until it has the members.
//   - M6: no change is made that would leave less than a majority of voters that have answered the leader since it was
//     asked for. Whoever has not answered counts as dead; removing the dead stays possible.
//   - M7: a node that is added by its address alone takes part under its own name from when it presents itself at that
//     address and is found there; until then nobody does, and nobody waits for it: its place does not vote. Its place's
//     identity means it, and never another node.
//   - M8: a change is decided on the members on which it is made, in one term of one leader. If another one comes in
//     between it is decided anew. What a node or an operator says late of who was removed is taken off the list again
//     by the leader, at its next turn; until then nobody is added under that name.
//
// It leaves agreement to raftgroup, the list itself to timeline's state, and the nodes of other regions to fleet.
package members
