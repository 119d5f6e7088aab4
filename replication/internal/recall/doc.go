// Package recall notices a disk that went back: an older copy of a node's data directory, put where the newer one was.
// Such a node has forgotten what it acknowledged and for whom it voted, and nothing on its disk tells. So every start
// of a disk is numbered ([Disk]), every node remembers what it heard the others have ([Memory]), and one that starts
// asks them what they remember of it ([Check]).
//
// It promises:
//
//   - R1 (invariant 1): a node does not serve, and stops if it serves already, once it hears that its disk held an
//     entry that it does not hold, or has been through a start that it does not know of. It asks before it votes for
//     the first time, those that do not answer until they do.
//   - R2: who stopped, or did not start, for R1 does not start again on that disk: it says so itself.
//   - R3: what is remembered is what nodes said of themselves, under the identity of their disk: a disk that was
//     replaced by an empty one is another disk, of which nothing is remembered.
//   - R4: what witnesses said of their directories is remembered alike, for those who ask them (votes): they find out
//     themselves that theirs went back (witness). Whoever hears the same keeps the same, in whatever order.
//   - R5: nothing that others say in its name ends a node: it believes what it sealed itself, but at the first start of
//     a directory of a version that did not seal.
//   - R6 (invariant 1): it knows how far the region had agreed, and in which term, by the word of each sibling that
//     answered since the start ([Agreed]), so that nobody is helped to lead who lacks that. One of another life of the
//     region says nothing of it, and a node that was empty when it started asks for none. What the node lacks of it
//     outlasts the process.
//   - R7: at its start it waits for the word of all voters, and no longer than Patience or five election timeouts, and
//     says of whom it had none. Meanwhile nobody is helped who lacks what is in the log of anybody: what was agreed on
//     last before a power cut nobody knows to be so.
//   - R8: who committed another entry than this node in the same place is of another history of the region, and is not
//     voted for, whatever its term; and a node that most voters contradict so stops (ErrOutvoted).
//
// What it cannot notice: a disk whose last entries nobody is left to remember. Memory outlasts the process that has it
// (README.md has the file), and goes back with the disk that has it, so that a fleet whose disks all went back, to
// backups of one night, starts again.
//
// It leaves to its neighbours an empty directory (forming), entries that are damaged (wal), and a region whose
// history is behind what it streamed (standing).
package recall
