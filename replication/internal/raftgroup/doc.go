// Package raftgroup drives one Raft group: the members of one region, or the votes of a fleet.
//
// It promises, for whatever [Machine] it is given:
//
//   - Invariant 1: an entry reaches the machine only after a quorum has it on disk, and this node too. Nothing that
//     promises durability (a vote, an acknowledgement) leaves the node before the log's sync behind it returned.
//   - Invariant 2: [Group.ReadIndex] returns a point at or after everything that was acknowledged before the call.
//   - Invariant 5: every machine of the group sees the same entries once and in the same order, across crashes: what a
//     crash took from the machine is replayed from the log, and a log that cannot give it is refused with an error.
//   - Invariant 13: damage of the log or a state that contradicts it stops the node; it is never sent nor applied. So
//     does a log that lacks what this node acknowledged.
//   - [Group.Heard] says how old the word is by which this node names a leader, or leads: raft forgets a leader late or
//     never.
//   - No message stops this node, or changes for good what it has, by being none that a member sends: raft trusts its
//     members and panics, so what it cannot take is refused before (door.go). What a message says of this node that
//     would stop it, the member in whose name it came is asked, where it is known to be (doubt.go). A member that lies
//     is believed: who may speak as one is decided by package transport and its owner.
//   - Nobody is helped to lead by this node who lacks what a member said was agreed on when this node started: where a
//     disk lost what it had synced, two that lack it do not elect one of them, unless they have gone on without it. Nor
//     is anybody, for a time that is bounded, before all voters were heard that may have more (agreed.go).
//   - A leader whose disk hangs, or is far slower than those of a quorum, hands leadership over, and so does one whose
//     machine hangs, as behind a store of its own disk: nobody whom it leads is answered. A member whose disk is
//     full is one whose disk hangs: it answers nothing that it could not make durable, and goes on once there is room.
//
// Three goroutines share the work. The loop owns the Raft state machine and never blocks: messages, ticks, proposals
// and reads go in, messages come out. The writer appends to the log everything that waits, with one sync. The applier
// hands committed entries to the machine. The followers are sent entries while the leader's own sync still runs.
//
// None of them holds the group, nor another's state. Each names what it needs of its neighbours as an interface beside
// it: the loop hands work down to writer, applier, peers and snapshots, the writer has the applier install a received
// state, and everything that comes back goes through the mailbox. [Group] alone knows them all, and does nothing but
// put them together.
//
// Two rooms lie below: package peers connects the members, package snapshots brings whole states to those that need
// more than the log holds. Where a file speaks of a property by number, the list stands at the type it belongs to, with
// a valid method beside it that the tests run.
//
// The rules of consensus are those of go.etcd.io/raft, the log is package wal's, files of a checkpoint are moved by
// package checkpoint, connections are package transport's. What entries mean, who is a member under which name, and
// when a learner is promoted is left to the owner of the machine.
package raftgroup
