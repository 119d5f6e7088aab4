// Package contract holds what an engine is told and must keep, and the words that every room of the library shares with
// the embedder: [Storage], [Metadata], what is reported of a node, a region and a fleet, and the errors that callers
// must tell apart.
//
// It promises that an engine which keeps the contract of [Storage] can be replicated: invariant 5 (commands apply
// exactly once and in order, the applied index is saved in the same atomic write) is half here, in what Apply must do,
// and half in the room that calls it.
//
// It leaves everything that acts to its neighbours. Package replication gives all of it to the embedder by alias, so
// that nobody has to import this package; it exists so that no room has to import upward. It is the lowest room but for
// timeline.
package contract
