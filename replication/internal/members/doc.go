// Package members knows the nodes of this region by name and address, and changes who they are.
//
// It promises that a change of membership is made by the region's leader through Raft, one at a time, and that a node's identity is derived
// from its names alone, so that every node computes the same.
//
// It leaves agreement to raftgroup, and the nodes of other regions to fleet.
package members
