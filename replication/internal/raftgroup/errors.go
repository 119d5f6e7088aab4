package raftgroup

import (
	"errors"

	"github.com/mimir-kv/mimir/replication/internal/raftgroup/peers"
)

// Errors that callers tell apart with errors.Is.
var (
	// ErrNotLeader says that this node does not lead the term asked for, or is handing leadership over. Nothing was
	// appended.
	ErrNotLeader = errors.New("raftgroup: not the leader")
	// ErrBusy says that too much is uncommitted, or another membership change is under way, or may be. Nothing was
	// appended; try again.
	ErrBusy = errors.New("raftgroup: busy")
	// ErrStopped says that the group was stopped, or stopped itself: then the cause is wrapped too. Whether a proposal
	// that was under way was appended is unknown.
	ErrStopped = errors.New("raftgroup: stopped")
	// ErrTooLarge says that a payload is over MaxPayloadBytes. Nothing was appended.
	ErrTooLarge = errors.New("raftgroup: payload too large")
	// ErrOvertaken says that the members are not any more as they were when a change was decided. Nothing was appended;
	// decide anew.
	ErrOvertaken = errors.New("raftgroup: another membership change came first")
	// ErrMembership says that a membership change makes no sense for the members as they are.
	ErrMembership = errors.New("raftgroup: impossible membership change")
	// ErrTransfer says that leadership did not go where it was asked to go.
	ErrTransfer = errors.New("raftgroup: leadership not transferred")
	// ErrUnknownOutcome says that a membership change may or may not have been made.
	ErrUnknownOutcome = errors.New("raftgroup: outcome unknown")

	// ErrRemoved says that this node is not a member of its group any more, and never will be again.
	ErrRemoved = errors.New("raftgroup: removed from the group")

	// ErrConfig says that a Config cannot work.
	ErrConfig = errors.New("raftgroup: invalid configuration")
	// ErrLogLost says that the machine has a state, but the log is empty: votes and acknowledgements of this member are
	// forgotten, and it must not take part again under its identity.
	ErrLogLost = errors.New("raftgroup: the log is lost")
	// ErrAcknowledgedLost says that the log lacks entries which this member had acknowledged: its disk did not keep
	// what it had synced. What it promised is forgotten, and it must not take part again under its identity.
	ErrAcknowledgedLost = errors.New("raftgroup: the log lost entries that this node had acknowledged")
	// ErrRegionLost says that this member has committed entries which its leader does not have: disks of a majority
	// went back in time, and the region goes on with another history. What this member has may be the only copy.
	ErrRegionLost = errors.New("raftgroup: the region lost entries that this node has committed")
	// ErrStateLost says that the machine lacks entries which the log has released.
	ErrStateLost = errors.New("raftgroup: the state is behind the log")
	// ErrMachine wraps what a method of the machine returned.
	ErrMachine = errors.New("raftgroup: machine failed")
	// ErrSpoiled is what a machine's Install returns of a checkpoint that is not what was written, and could not be
	// installed: the machine has the state that it had. Nothing is wrong with the disk of this node.
	ErrSpoiled = errors.New("raftgroup: the state that was received is damaged, and nothing here is: start the node " +
		"again, and it takes what its leader sends then; if that is damaged too, check the disk of the leader")
	// ErrInvariant says that the Raft state machine found itself contradicted.
	ErrInvariant = errors.New("raftgroup: invariant broken")
	// ErrFormat says that bytes from a peer are not a message of this protocol.
	ErrFormat = peers.ErrFormat
	// ErrWrongGroup says that a peer belongs to another group, or meant another node.
	ErrWrongGroup = peers.ErrWrongGroup
)
