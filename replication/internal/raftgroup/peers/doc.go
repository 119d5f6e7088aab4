// Package peers connects one member of a Raft group with the others: it carries raft's messages both ways, and says who
// stands at the other end of a stream.
//
// It promises:
//
//   - N1: sending never blocks. What does not fit into a bounded queue is dropped, and so is what waited when a stream
//     broke; raft relies on no message, and is told that the peer cannot be reached.
//   - N2: all appends to one peer go one way, in the order in which they were sent, and so does everything else,
//     another way: a heartbeat never waits behind megabytes of entries. What arrives is a subsequence of what was sent
//     on each way.
//   - N3: nobody but a member of this group, who means this member, gets beyond the first message of a stream; and
//     nobody is a member whom the transport knows as another.
//   - N4: what comes out of [Inbox] is whole (summed) and of a kind that a peer may send; whatever is local to a node
//     stops here.
//   - N5: no connection outlives the group, or the membership of the peer; they are opened when there is something to
//     send. Package snapshots ends those that it opened here.
//   - N6: whoever was removed from the group is not listened to, and told so.
//   - N7: where a member is not reached at one address, the next attempt goes to the next one that is known; nobody
//     else than the member who is meant is talked to there (N3).
//   - N8: nothing is sent to where somebody is known to be of another life of the group, as whoever formed it anew by
//     himself: he would follow whom he does not know. The member may be at another address (N7).
//
// It leaves to its neighbours: what the messages say (raft), when they may leave (the log writer: a promise leaves only
// after its sync), the states that are sent to those far behind (package snapshots, which opens its streams here), and
// the connection itself (package transport). The formats are in the README of raftgroup.
//
// Who holds what: the loop and the log writer send, the transport calls Serve, and one goroutine a way empties its
// queue.
package peers
