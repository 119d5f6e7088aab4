// Package rewind takes a region whose history has a fork back to the fork on its own disks, so that what it costs
// follows what was written since, and not the size of the data: a checkpoint from before the fork, and what the log has
// between the two.
//
// A mark is a checkpoint that a node keeps for that day. Marks are the node's own: those of its siblings may be at
// other places, since what all of them come to is the one state at the fork. A rewound state is a whole state as a copy
// from elsewhere is one, which the region agrees to install. It includes the reigns of the history that the region gave
// way to, as far as they begin at the fork; what comes behind, further reigns among it, is the stream's.
//
// It promises:
//
//   - W1 (invariant 9). A rewound state is that of the history to which the region gave way, and ends at the fork: the
//     reign with which that history goes on names the chain behind which it begins, and the state has that chain, or is
//     not made; where that goes on in the reign that both have, the stream compares the chains. So have all nodes that
//     made it the same one; and it has one name on all of them.
//   - W2. A mark is of the history that the region has: one that is older than an install is none.
//   - W3. A rewound state is made when a power cut leaves it, and stays until nothing in the log can ask for it any
//     more, also where no marks are wanted any more.
//   - W4. There are at most three marks, and none where the disk lacks room or none are wanted. Log is kept from the
//     oldest one on, as far as log is kept for other regions. What could not be removed is tried again until it is
//     gone, and before that no mark is made. A full disk gets its room back. What is half removed
//     passes for no whole one.
//   - W5. A mark at which processes ended is left alone in the end.
//   - W6. A node that holds something else than its region keeps no marks, and makes no state of one. What was made of
//     the state that was here is gone from the disk before that of another node takes its place: what was wrong stays
//     so however often it is replayed.
//
// It leaves to its neighbours: what the fork is and when a region rewinds (succession), having a majority do it
// (secondary), that the tail is saved before (region, tail), the state itself (contract.Brancher), and installing it
// (region).
package rewind
