// Package votes runs the machines of ballot: it serves what a voter is asked, renews the promises that a primary lives
// on, and asks for votes. It brings their questions to where the voters are, their controls to the region's log, and
// what a majority promised to the fence of standing. Where no charter is, it does nothing.
//
// It promises:
//
//   - V1: a message is judged by a reading of the lease clock that was taken when it came; what is asked for counts
//     from a reading before it is sent (B2).
//   - V2: a promise is answered only after the region confirmed who leads it, and after what it tells is applied (B4).
//   - V3: after a gap in any clock no lease counts that was promised before, and what a hold promised for as much less.
//   - V4: nothing of ballots is proposed before every node of every region is known to understand it.
//   - V5: an order that writes a charter ends when a majority of its voters keeps it. By one charter no more than one
//     voter comes or goes, but after a recovery; and the next one comes when what was acknowledged is known to a
//     majority of this one (B3).
//   - V6: what is of a later level stands in a charter only if every node of every region, and every witness, is known
//     to understand it; but see V8.
//   - V7: who is asked for a voter's promise or vote is that voter, as far as its version says who it is: an address
//     that leads to another gives nobody a second vote.
//   - V8: a charter by whose voters what nobody may lose is not counted as before says up to where was acknowledged
//     (B3): nothing above that is before it is written, or another one in its place. Only a node that is known to be
//     too old keeps it from being written; who does not answer may be why it is.
//
// It leaves to its neighbours: what is decided (ballot, timeline), in which order it goes to the log (primary), what a
// lease allows (standing), and a witness' file (replication/witness).
package votes
