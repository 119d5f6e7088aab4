// Package timeline holds the words of the design as types, and every decision about who may write what and where
// histories part, as pure functions and one pure state machine. Nothing here does I/O, reads a clock, starts a
// goroutine or logs.
//
// It promises:
//
//   - Invariant 4: a [Frame] is taken only if it continues position, epoch and [Chain]; what is held already is skipped
//     and anything else is refused with an error that names both sides' values. What follows a reign that was refused
//     is refused as well; every other chain that does not continue stops the node ([ErrChain]).
//   - Invariant 6: a [Machine] never lowers its epoch, and accepts at most one [Reign] for an epoch. Of two claims that
//     differ exactly one outranks the other ([Supersedes]).
//   - Invariant 8: [Compare] finds the fork of two histories as far as reigns and positions tell, and [Part] where
//     their chains do: in a reign that has two histories these are not the same. The tail is what follows it. A region
//     remembers each time that it gave one up: a node which missed several knows the least fork ([State.GaveUp]).
//
// It leaves to its neighbours: keeping entries (wal), agreeing on them (raftgroup), moving them between regions
// (stream), and applying their commands to a storage (region).
package timeline
