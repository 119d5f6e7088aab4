// Package members knows the nodes of this region by name and address ([Directory]), and changes who they are
// ([Registrar]).
//
// It promises:
//
//   - M1: a change of membership is made by the region's leader through Raft, one at a time, and one that makes no
//     sense is refused before.
//   - M2: a node's identity is derived from its names alone, so that every node computes the same.
//   - M3: a node describes itself to its region until the region's log has it as it is; one that was removed and still
//     runs is refused.
//
// It leaves agreement to raftgroup, the list itself to timeline's state, and the nodes of other regions to fleet.
package members
