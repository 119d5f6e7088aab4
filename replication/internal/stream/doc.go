// Package stream moves the committed log from one region to another.
//
// A [Source] runs on any node of the source region and serves what that node has applied; a [Sink] runs on the leader
// of a secondary region, subscribes at a source, checks what arrives and hands it over to be proposed there. A
// secondary's node can be a source in turn.
//
// It promises:
//
//   - Invariant 3: only entries that the serving node has applied, hence that were committed, are sent.
//   - Invariant 4: a source serves only a subscriber whose history is a prefix of its own; a sink hands over an entry
//     only if it continues position, epoch and chain. A fork, a history older than the log and a subscriber that is
//     ahead are told apart and named; nothing is guessed and no gap is skipped.
//   - Invariant 13: the chain is folded and compared on both sides, so what was damaged on one node is neither sent nor
//     handed over.
//   - Invariant 14: a reported lag is an upper bound, and needs no synchronised clocks.
//   - Position moves only with what is durable: a sink acknowledges what its region's quorum has committed, nothing
//     earlier, and a send that fails changes nothing on either side.
//
// The payloads of the log travel as they are: the same bytes are in the log of every node of every region. New commits
// are sent at once; while a batch is on its way the next one gathers; a window in bytes bounds what is not yet
// acknowledged.
//
// It leaves to its neighbours: keeping entries (wal), what an entry means and where histories part (timeline),
// connections (transport), moving whole states (checkpoint), what to do about a fork or a bootstrap (succession),
// keeping slots over disconnections (slots), and proposing (secondary).
//
// The messages are specified in README.md.
package stream
