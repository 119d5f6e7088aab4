package contract

import "errors"

// Errors that callers must tell apart. All are returned wrapped; compare with errors.Is.
var (
	// ErrNotLeader says that the call needs the leader of the region (RegionFailover, membership).
	ErrNotLeader = errors.New("replication: not the leader of the region")
	// ErrNotReady says that the call could not be served before its deadline: the node is not started, or no leader
	// that can do it was reached. Nothing was written, and it may be tried again.
	ErrNotReady = errors.New("replication: not ready")
	// ErrClosed says that the replicator was shut down. Of a write that was under way by then nothing is known.
	ErrClosed = errors.New("replication: closed")
	// ErrUnknownOutcome says that a write was handed over, and that it cannot be known whether it was or will be
	// applied.
	ErrUnknownOutcome = errors.New("replication: outcome unknown")
	// ErrRejected says that the leader of the primary region will not take a call, whoever forwards it. Nothing was
	// written.
	ErrRejected = errors.New("replication: rejected by the leader")
	// ErrLagging says that the primary takes no writes now, since too few other regions keep up with it (LagGate).
	// Nothing was written, and it may be tried again later.
	ErrLagging = errors.New("replication: other regions are too far behind")
	// ErrUnderReplicated says that a write is applied in the primary, but not yet known to be durable in as many
	// regions as were asked for.
	ErrUnderReplicated = errors.New("replication: not yet durable in as many regions as asked")
	// ErrTooLarge says that a command or batch is over the limit.
	ErrTooLarge = errors.New("replication: command too large")
	// ErrVolatile is what Storage.Sync returns if the storage keeps nothing on disk.
	ErrVolatile = errors.New("replication: storage keeps nothing on disk")
	// ErrStopped says that this node stopped itself because it can no longer keep an invariant. The cause is wrapped.
	ErrStopped = errors.New("replication: node stopped")
	// ErrIdentity says that a data directory belongs to another node, region or fleet.
	ErrIdentity = errors.New("replication: data directory of another node")
	// ErrDiskLost says that the region knows this node, but its data directory is empty.
	ErrDiskLost = errors.New("replication: this member has lost its data")
	// ErrDamaged says that a data directory does not hold what was written to it: something changed, cut or removed a
	// file of it. The node must be replaced; the message names the file.
	ErrDamaged = errors.New("replication: data directory damaged")
	// ErrNewer says that a newer version wrote what is to be read, in a format that is not known here. Nothing is
	// damaged, and nothing was changed: the newer version reads it.
	ErrNewer = errors.New("replication: written by a newer version")
	// ErrUnknownRegion says that a region's name is not configured.
	ErrUnknownRegion = errors.New("replication: unknown region")
	// ErrHandoff says that a switchover was aborted; the primary is what it was.
	ErrHandoff = errors.New("replication: switchover aborted")
	// ErrAlreadyPrimary says that the region asked to become primary is.
	ErrAlreadyPrimary = errors.New("replication: region is primary already")
	// ErrNeedsForce says that a failover may lose writes, and was not forced.
	ErrNeedsForce = errors.New("replication: failover may lose writes and was not forced")
	// ErrDiverged says that histories have a fork: a region's, which is being rejoined, or that of a write which is
	// asked for, which is not the one here (WaitReceipt).
	ErrDiverged = errors.New("replication: history diverged")
	// ErrAlreadyBegun says that the target of a handoff has begun an epoch and cannot promise not to: it is primary,
	// and the region that was gives way to it.
	ErrAlreadyBegun = errors.New("replication: the next epoch has begun")
	// ErrArgument says that a call makes no sense: an argument is nil, zero or out of its range. Nothing was done.
	ErrArgument = errors.New("replication: invalid argument")
	// ErrConfig says that a Config cannot work.
	ErrConfig = errors.New("replication: invalid configuration")
	// ErrMember says that a membership change makes no sense: the member is not there, or is there already.
	ErrMember = errors.New("replication: impossible membership change")
	// ErrLearnerBehind says that a learner has too little of the log to vote: as a voter it would count for the quorum
	// and hold it up.
	ErrLearnerBehind = errors.New("replication: learner is not in sync with the leader")
	// ErrUnhealthy says that a membership change was not made, since it would have left less than a majority of voters
	// that are known to live.
	ErrUnhealthy = errors.New("replication: unhealthy region")
	// ErrRemoved says that a node was removed from its region: it stops itself, and neither it nor its name comes back.
	ErrRemoved = errors.New("replication: removed from the region")
	// ErrOldNode says that a node of the fleet is of a version that does not know what was asked for. It is ErrNotReady
	// too.
	ErrOldNode = errors.New("replication: not every node knows that")
	// ErrDelayed says that the region shows its history late, on purpose, so that what was asked for is not to be had
	// from its nodes, at once and however long one waits.
	ErrDelayed = errors.New("replication: region is kept delayed")
	// ErrMessage says that a message of another node cannot be read: it is damaged, or of a version that this node does
	// not know.
	ErrMessage = errors.New("replication: malformed message")
)
