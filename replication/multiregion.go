package replication

import (
	"context"
	"fmt"
	"slices"
	"time"

	"github.com/mimir-kv/mimir/replication/internal/primary"
	"github.com/mimir-kv/mimir/replication/timeline"
)

// MultiRegionReplicator keeps one history in several regions. It implements [Replicator]; what stands beside that is
// for regions, and for callers that want results, fresh reads or durability in more than one region.
type MultiRegionReplicator struct {
	Orders
	Reading
	Understanding
	Direct
	node *node
}

// NewMultiRegionReplicator returns a node of a fleet. The storage belongs to the caller, who closes it after Shutdown.
// c is copied. Error: ErrConfig.
func NewMultiRegionReplicator(c *Config, s Storage) (*MultiRegionReplicator, error) {
	n, err := newNode(c, s, ModeMultiRegion)
	if err != nil {
		return nil, err
	}
	return &MultiRegionReplicator{Orders{n}, Reading{n}, Understanding{n}, Direct{n}, n}, nil
}

// SetTransport gives the node its network. It is called once, before Start; the node closes the transport at Shutdown.
// A transport that is nil, or a second one, makes Start fail with ErrArgument; one that comes after Start is not
// taken: that is logged, and Shutdown returns it as an error.
func (r *MultiRegionReplicator) SetTransport(t Transport) { r.node.setTransport(t) }

// Start implements [Replicator].
func (r *MultiRegionReplicator) Start(ctx context.Context) error { return r.node.start(ctx) }

// Apply implements [Replicator].
func (r *MultiRegionReplicator) Apply(c *Command, timeout time.Duration) error {
	return applyBatch(r.node, []*Command{c}, timeout)
}

// ApplyBatch implements [Replicator].
func (r *MultiRegionReplicator) ApplyBatch(cs []*Command, timeout time.Duration) error {
	return applyBatch(r.node, cs, timeout)
}

// Propose writes cs, 1 to 65,536 commands of Config.MaxCommandBytes in total, as one atomic unit and returns where it
// is in the history, with the storage's results. Any node takes it and forwards it to the leader of the primary
// region. While there is none (an election, a switchover), it waits until ctx ends. The commands' data must not be
// changed afterwards.
//
// Errors: ErrArgument, ErrNotReady, ErrLagging (other regions are too far behind), ErrTooLarge, ErrRejected and
// ErrUnknownRegion (more regions asked for than there are) say that nothing was and will be written, and so does
// ErrNotLeader of a write WithinTenure; ErrUnknownOutcome says that it cannot be known; ErrUnderReplicated comes with a
// receipt; ErrClosed and ErrStopped say nothing of a write that was under way.
func (r *MultiRegionReplicator) Propose(ctx context.Context, cs []*Command, opts ...ProposeOption) (*Receipt, error) {
	return write(ctx, r.node, cs, opts)
}

// Ask puts a question to Config.OnAsk on the leader of the primary region, and returns its answer. A question whose
// answer is lost is asked again: OnAsk may hear of it more than once. Errors: ErrRejected if OnAsk refused, with the
// text of its error, which is not wrapped; ErrNotReady if ctx ends before there is an answer, for want of such a leader
// or while an answer is due: OnAsk may have heard the question by then; ErrClosed, ErrStopped.
func (r *MultiRegionReplicator) Ask(ctx context.Context, request []byte) ([]byte, error) {
	if err := r.node.callable(ctx); err != nil {
		return nil, err
	}
	return r.node.reads.Ask(ctx, request)
}

// Tenure returns the one in which this node takes the fleet's writes, as Config.OnLeadership was last told; the zero
// Tenure if it takes none.
func (r *MultiRegionReplicator) Tenure() Tenure { return r.node.tenure() }

// IsLeader implements [Replicator].
func (r *MultiRegionReplicator) IsLeader() bool { return r.node.serves() && r.node.leadership.Leads() }

// LeaderAddr implements [Replicator].
func (r *MultiRegionReplicator) LeaderAddr() string { return r.node.leaderAddr() }

// LeaderID implements [Replicator].
func (r *MultiRegionReplicator) LeaderID() string { return r.node.leaderName() }

// WaitForLeader implements [Replicator].
func (r *MultiRegionReplicator) WaitForLeader(ctx context.Context) error {
	if err := r.node.callable(ctx); err != nil {
		return err
	}
	return r.node.waitForLeader(ctx)
}

// Health implements [Replicator].
func (r *MultiRegionReplicator) Health() *HealthStatus { return r.node.health() }

// Fleet asks every node of every region, and returns the picture. Nodes that do not answer before ctx ends, or within
// the call timeout of about a second, are shown as unreachable.
func (r *MultiRegionReplicator) Fleet(ctx context.Context) *FleetStatus {
	return r.node.fleetStatus(ctx)
}

// IsPrimaryRegion reports whether this node's region is the primary, as far as this node knows.
func (r *MultiRegionReplicator) IsPrimaryRegion() bool { return r.node.isPrimary() }

// Switchover moves the primary to the region to, without losing anything. Any node takes the call. On ErrHandoff the
// primary is what it was; on ErrUnknownOutcome the region ends what was begun by itself, one way or the other. Further
// errors, with which nothing was moved: ErrUnknownRegion, ErrAlreadyPrimary, ErrNotReady, ErrRejected if the region may
// not become primary, or the primary is moved already, and ErrNotLeader, if the leader of the primary changes
// meanwhile.
func (r *MultiRegionReplicator) Switchover(ctx context.Context, to string) (*MoveReport, error) {
	if err := r.node.callable(ctx); err != nil {
		return nil, err
	}
	return r.node.governor.Switchover(ctx, to)
}

// Failover makes the region to primary without the old one, at its own last position. Any node takes the call. Without
// force it is ErrNeedsForce: what the old primary had and this region has not will be lost to the fleet, until the old
// region comes back and saves it. Further errors: ErrUnknownRegion, ErrAlreadyPrimary, ErrDiverged, ErrNotReady,
// ErrRejected if the region has no vote where the fleet votes, or something else decides who is primary; ErrNotLeader
// if the leader of the region changes meanwhile, and ErrHandoff if the region takes part in a switchover: nothing was
// moved; ErrAlreadyBegun if a primary is forced to itself out of a switchover whose target is heard to have begun:
// nothing was done, and the target is primary; ErrUnknownOutcome. A region that has no vote, and whose leader has not
// heard that of another one since it started, asks that for 8 s and a question's time before it takes it for silent.
// For a caller that does not wait for that the leader moves nothing: ErrNotReady, from another node ErrUnknownOutcome.
func (r *MultiRegionReplicator) Failover(ctx context.Context, to string, force bool) (*MoveReport, error) {
	if err := r.node.callable(ctx); err != nil {
		return nil, err
	}
	return r.node.governor.Failover(ctx, to, primary.Force{Any: force})
}

// FailoverWithin is Failover where votes are taken, with force, if at most accept acknowledged commands are lost by
// what a majority of the voters knows: else ErrNotReady, with how many may be. ErrArgument: no votes are taken.
func (r *MultiRegionReplicator) FailoverWithin(ctx context.Context, to string, accept uint64) (*MoveReport, error) {
	if err := r.node.callable(ctx); err != nil {
		return nil, err
	}
	return r.node.governor.Failover(ctx, to, primary.Force{Within: &accept})
}

// RegionFailover makes this node's region primary by force. On a node that does not lead its region it is
// ErrNotLeader; in the primary region it does nothing. While a switchover from this region is under way it is
// ErrNotReady, since the target may have begun and acknowledged writes: AbortSwitchover ends that, or Failover with
// force to this region, which may lose them. Once the target is heard to have begun, and until this region has given
// way to it, it may be ErrAlreadyBegun. It takes as long as Failover. Further errors are those of that: ErrDiverged,
// ErrNotReady, ErrRejected, ErrHandoff, ErrUnknownOutcome.
func (r *MultiRegionReplicator) RegionFailover(ctx context.Context) error {
	if err := r.node.callable(ctx); err != nil {
		return err
	}
	return r.node.governor.RegionFailover(ctx)
}

// Tails returns the rescue files on this node, by name.
func (r *MultiRegionReplicator) Tails(ctx context.Context) ([]TailInfo, error) {
	if err := r.node.callable(ctx); err != nil {
		return nil, err
	}
	return r.node.tails.List()
}

// TailState returns the directory of a whole state that this node saved because its log did not have all commands of
// the tail, and what it is a state of. In the directory are the files that a Checkpointer made, or in the file
// "stream" what a Snapshot wrote. Nothing in it may be changed. Errors: ErrTailNotFound.
func (r *MultiRegionReplicator) TailState(ctx context.Context, name string) (dir string, state *TailState, err error) {
	if err := r.node.callable(ctx); err != nil {
		return "", nil, err
	}
	return r.node.tails.StateDir(name)
}

// ReadTail calls visit with each command of a rescue file on this node, in order: those behind TailInfo.Begins.
// Errors: ErrTailNotFound, ErrTailDamaged, and what visit returns.
func (r *MultiRegionReplicator) ReadTail(
	ctx context.Context, name string, visit func(epoch Epoch, p Position, c Command) error,
) error {
	if err := r.node.callable(ctx); err != nil {
		return err
	}
	if visit == nil {
		return fmt.Errorf("%w: no visit", ErrArgument)
	}
	return r.node.tails.Read(ctx, name, visit)
}

// TailReigns returns the reigns whose beginnings a rescue file on this node has, or all that lead to the end of the
// whole state of which the file has a part, and those of the history that this
// node has taken since: where the first of today's that is not lost begins, the two parted. Reigns of both that begin
// just after the fork are in both. Errors: ErrTailNotFound, ErrTailDamaged; ErrTailForeign if the tail parted from
// another history; ErrDiverged while this node has taken no other one.
func (r *MultiRegionReplicator) TailReigns(ctx context.Context, name string) (lost, today []Reign, err error) {
	if err := r.node.callable(ctx); err != nil {
		return nil, nil, err
	}
	state := r.node.applied.View().State
	if state.Role() == timeline.Diverged {
		return nil, nil, fmt.Errorf("%w: this node still has the history that was lost", ErrDiverged)
	}
	lost, err = r.node.tails.Reigns(name, state.Reigns)
	return lost, slices.Clone(state.Reigns), err
}

// DiscardTail deletes what this node saved of a tail: its rescue file and its state. Errors: ErrTailNotFound.
func (r *MultiRegionReplicator) DiscardTail(ctx context.Context, name string) error {
	if err := r.node.callable(ctx); err != nil {
		return err
	}
	return within(ctx, r.node, func(context.Context) error { return r.node.tails.Discard(name) })
}

// Members returns the nodes of this region, as its log says.
func (r *MultiRegionReplicator) Members(ctx context.Context) ([]NodeStatus, error) {
	if err := r.node.callable(ctx); err != nil {
		return nil, err
	}
	return r.node.members.List(), nil
}

// OtherMembers returns the nodes of the other regions as each region last described them, by region and name; of a
// region that was not heard since this node started it knows none. It asks nobody, and what it returns may be old.
func (r *MultiRegionReplicator) OtherMembers() []NodeStatus {
	if !r.node.serves() {
		return nil
	}
	return otherMembers(r.node.fleetView())
}

// AddMember adds a node to this region, as a voter or as a learner that receives everything and does not vote. The
// node is then started with Config.Join. With an empty name a place is held for a node that presents itself as one at
// peerAddr; it does not vote before, and has another identity then. Any node of the region takes the call. Errors:
// ErrMember if it is a member already; ErrRemoved if it was one: a name is not used twice; ErrUnhealthy if it is to
// vote and a voter does not answer; ErrOldNode if it has no name, and the leader wants one; ErrNotReady and
// ErrNotLeader, then nothing was changed; ErrUnknownOutcome.
func (r *MultiRegionReplicator) AddMember(
	ctx context.Context, name, peerAddr string, learner bool,
) (NodeStatus, error) {
	if err := r.node.callable(ctx); err != nil {
		return NodeStatus{}, err
	}
	return r.node.members.Add(ctx, name, peerAddr, learner)
}

// PromoteMember makes a learner a voter. Errors: ErrLearnerBehind if it has not caught up, ErrMember,
// ErrUnhealthy if too few voters answer.
func (r *MultiRegionReplicator) PromoteMember(ctx context.Context, id uint64) error {
	if err := r.node.callable(ctx); err != nil {
		return err
	}
	return r.node.members.Promote(ctx, id)
}

// UpdateMember says where a node of this region is reached, for others to find it. The node's own word takes its place
// when it starts next: it publishes Config.PeerAddr. Errors: ErrMember, and those of AddMember that are not of adding.
func (r *MultiRegionReplicator) UpdateMember(ctx context.Context, id uint64, peerAddr string) error {
	if err := r.node.callable(ctx); err != nil {
		return err
	}
	return r.node.members.Update(ctx, id, peerAddr)
}

// RemoveMember removes a node from this region. It stops itself as soon as it is told, with ErrRemoved, and a node can
// only be added under another name. Errors: ErrMember; ErrUnhealthy if of the others less than a majority answer.
func (r *MultiRegionReplicator) RemoveMember(ctx context.Context, id uint64) error {
	if err := r.node.callable(ctx); err != nil {
		return err
	}
	return r.node.members.Remove(ctx, id)
}

// TransferLeader makes the member with this Raft identity the leader of the region. Only the leader can: ErrNotLeader
// elsewhere; ErrMember if it is no voter, or did not take over in time; ErrUnknownOutcome if ctx ended before: it may
// take over yet; ErrNotReady, ErrClosed, ErrStopped.
func (r *MultiRegionReplicator) TransferLeader(ctx context.Context, to uint64) error {
	if err := r.node.callable(ctx); err != nil {
		return err
	}
	return orEnded(r.node, r.node.members.Transfer(ctx, to))
}

// Stopped is closed when the node begins to end, because of Shutdown or by itself; Err says why. The storage is in use
// until Shutdown has returned.
func (r *MultiRegionReplicator) Stopped() <-chan struct{} { return r.node.life.Stopped() }

// Err returns nil while nothing has ended the node, ErrClosed after Shutdown, and ErrStopped with its cause if it
// stopped itself.
func (r *MultiRegionReplicator) Err() error { return r.node.life.Failure() }

// Shutdown implements [Replicator].
func (r *MultiRegionReplicator) Shutdown() error { return r.node.shutdown() }

// Mode implements [Replicator].
func (r *MultiRegionReplicator) Mode() ReplicationMode { return ModeMultiRegion }

// NodeID implements [Replicator].
func (r *MultiRegionReplicator) NodeID() string { return r.node.config.NodeID }

// RegionID returns Config.RegionID.
func (r *MultiRegionReplicator) RegionID() string { return r.node.config.RegionID }
