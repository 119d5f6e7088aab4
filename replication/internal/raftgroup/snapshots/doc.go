// Package snapshots brings a whole state to members of a Raft group that need more than the log holds: those who join,
// and those who were away for too long.
//
// Two words: a checkpoint is a state as a directory of files that never change; a snapshot is what raft says of one,
// its last entry, the members as of it, and, as data, the ID of the checkpoint.
//
// It promises:
//
//   - P1: what raft says of a snapshot is what the files of its checkpoint hold. A snapshot is named only once its
//     checkpoint is complete and summed; until then raft is told to come back.
//   - P2: while a checkpoint may still be sent, the log after it is kept (pinned), so that its receiver can go on from
//     there. It is kept for no receiver that hangs, or is no member any more.
//   - P3: a receiver tells raft of a snapshot only when every file of its checkpoint is there, verified and durable;
//     and the sender counts it as delivered only after that.
//   - P4: at most one checkpoint is made or kept for others, and one is received at a time, from its offer until it is
//     installed or found to be of no use. What a crash, a broken stream or a refusal leaves is removed before the next,
//     or taken up again; and by itself where no next one comes, since the log led on without it. The place is held by
//     no sender that hangs, nor by a leader of before.
//   - P5: a checkpoint that cannot be made or sent never stops the group; it is tried again after a pause.
//   - P6: of a state that is known to be wrong nothing is sent, nor more of what was begun before that was known; and
//     nothing of what was made of it once another state took its place.
//   - P7: a checkpoint whose files are not what was written is neither sent nor told to raft, where the machine can
//     tell: both sides look at each file once, and of a wrong one the state's owner is told. One of which something
//     else arrived than was summed is not sent again, and the next one is read anew.
//
// It leaves to its neighbours: when a snapshot is due and what becomes of it (raft), making a checkpoint and installing
// one (the applier, through [State]), moving the files (package checkpoint), and who may talk to whom (package peers).
//
// Whoever makes and sends is [Outgoing], whoever receives is [Incoming]; they share nothing but the directory. The
// formats are in the README of raftgroup.
package snapshots
