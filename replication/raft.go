package replication

import (
	"context"
	"fmt"
	"time"
)

// RaftReplicator keeps one history in one region alone. It implements [Replicator], and offers what stands beside it
// for one region: results, reads, membership. A region of one node needs a transport all the same.
type RaftReplicator struct{ node *node }

// NewRaftReplicator returns a node of a region that stands alone: Config.Regions and Config.InitialPrimary must be
// empty or say the same. The storage belongs to the caller, who closes it after Shutdown. c is copied. Error:
// ErrConfig.
func NewRaftReplicator(c *Config, s Storage) (*RaftReplicator, error) {
	n, err := newNode(c, s, ModeRaft)
	if err != nil {
		return nil, err
	}
	return &RaftReplicator{n}, nil
}

// SetTransport gives the node its network, as [MultiRegionReplicator.SetTransport] does.
func (r *RaftReplicator) SetTransport(t Transport) { r.node.setTransport(t) }

// Start implements [Replicator].
func (r *RaftReplicator) Start(ctx context.Context) error { return r.node.start(ctx) }

// Apply implements [Replicator].
func (r *RaftReplicator) Apply(c *Command, timeout time.Duration) error {
	return applyBatch(r.node, []*Command{c}, timeout)
}

// ApplyBatch implements [Replicator].
func (r *RaftReplicator) ApplyBatch(cs []*Command, timeout time.Duration) error {
	return applyBatch(r.node, cs, timeout)
}

// Propose writes cs as one atomic unit, as [MultiRegionReplicator.Propose] does.
func (r *RaftReplicator) Propose(ctx context.Context, cs []*Command) (*Receipt, error) {
	return write(ctx, r.node, cs, nil)
}

// ReadBarrier returns once a read of this node's storage is as fresh as l asks, as [MultiRegionReplicator.ReadBarrier]
// does.
func (r *RaftReplicator) ReadBarrier(ctx context.Context, l Level) error {
	if err := r.node.callable(ctx); err != nil {
		return err
	}
	if l != Linearizable && l != Serializable {
		return fmt.Errorf("%w: level %d of a read", ErrArgument, l)
	}
	return r.node.reads.Barrier(ctx, l)
}

// ReadWithin returns once a read of this node's storage is no older than age, as [MultiRegionReplicator.ReadWithin]
// does.
func (r *RaftReplicator) ReadWithin(ctx context.Context, age time.Duration) error {
	if err := r.node.callable(ctx); err != nil {
		return err
	}
	return r.node.reads.Within(ctx, age)
}

// WaitPosition returns once everything up to p is applied on this node, as [MultiRegionReplicator.WaitPosition] does.
func (r *RaftReplicator) WaitPosition(ctx context.Context, p Position) error {
	if err := r.node.callable(ctx); err != nil {
		return err
	}
	return r.node.reads.WaitPosition(ctx, p)
}

// WaitReceipt returns once the write of w is applied on this node, as [MultiRegionReplicator.WaitReceipt] does.
func (r *RaftReplicator) WaitReceipt(ctx context.Context, w *Receipt) error {
	return waitReceipt(ctx, r.node, w)
}

// Ask puts a question to Config.OnAsk on the leader, as [MultiRegionReplicator.Ask] does.
func (r *RaftReplicator) Ask(ctx context.Context, request []byte) ([]byte, error) {
	if err := r.node.callable(ctx); err != nil {
		return nil, err
	}
	return r.node.reads.Ask(ctx, request)
}

// Tenure returns the one in which this node takes the fleet's writes, as Config.OnLeadership was last told; the zero
// Tenure if it takes none.
func (r *RaftReplicator) Tenure() Tenure { return r.node.tenure() }

// IsLeader implements [Replicator].
func (r *RaftReplicator) IsLeader() bool { return r.node.serves() && r.node.leadership.Leads() }

// LeaderAddr implements [Replicator].
func (r *RaftReplicator) LeaderAddr() string { return r.node.leaderAddr() }

// LeaderID implements [Replicator].
func (r *RaftReplicator) LeaderID() string { return r.node.leaderName() }

// WaitForLeader implements [Replicator].
func (r *RaftReplicator) WaitForLeader(ctx context.Context) error {
	if err := r.node.callable(ctx); err != nil {
		return err
	}
	return r.node.waitForLeader(ctx)
}

// Health implements [Replicator].
func (r *RaftReplicator) Health() *HealthStatus { return r.node.health() }

// Members returns the nodes of the region, as its log says.
func (r *RaftReplicator) Members(ctx context.Context) ([]NodeStatus, error) {
	if err := r.node.callable(ctx); err != nil {
		return nil, err
	}
	return r.node.members.List(), nil
}

// AddMember adds a node to the region, as [MultiRegionReplicator.AddMember] does.
func (r *RaftReplicator) AddMember(ctx context.Context, name, peerAddr string, learner bool) (NodeStatus, error) {
	if err := r.node.callable(ctx); err != nil {
		return NodeStatus{}, err
	}
	return r.node.members.Add(ctx, name, peerAddr, learner)
}

// PromoteMember makes a learner a voter. Errors: ErrLearnerBehind if it has not caught up, ErrMember,
// ErrUnhealthy if too few voters answer.
func (r *RaftReplicator) PromoteMember(ctx context.Context, id uint64) error {
	if err := r.node.callable(ctx); err != nil {
		return err
	}
	return r.node.members.Promote(ctx, id)
}

// UpdateMember says where a node of the region is reached, as [MultiRegionReplicator.UpdateMember] does.
func (r *RaftReplicator) UpdateMember(ctx context.Context, id uint64, peerAddr string) error {
	if err := r.node.callable(ctx); err != nil {
		return err
	}
	return r.node.members.Update(ctx, id, peerAddr)
}

// RemoveMember removes a node from the region, as [MultiRegionReplicator.RemoveMember] does.
func (r *RaftReplicator) RemoveMember(ctx context.Context, id uint64) error {
	if err := r.node.callable(ctx); err != nil {
		return err
	}
	return r.node.members.Remove(ctx, id)
}

// TransferLeader makes the member with this Raft identity the leader of the region. Only the leader can: ErrNotLeader
// elsewhere; ErrMember if it is no voter, or did not take over in time; ErrUnknownOutcome if ctx ended before: it may
// take over yet; ErrNotReady, ErrClosed, ErrStopped.
func (r *RaftReplicator) TransferLeader(ctx context.Context, to uint64) error {
	if err := r.node.callable(ctx); err != nil {
		return err
	}
	return orEnded(r.node, r.node.members.Transfer(ctx, to))
}

// Stopped is closed when the node begins to end, because of Shutdown or by itself; Err says why. The storage is in use
// until Shutdown has returned.
func (r *RaftReplicator) Stopped() <-chan struct{} { return r.node.life.Stopped() }

// Err returns nil while nothing has ended the node, ErrClosed after Shutdown, and ErrStopped with its cause if it
// stopped itself.
func (r *RaftReplicator) Err() error { return r.node.life.Failure() }

// Shutdown implements [Replicator].
func (r *RaftReplicator) Shutdown() error { return r.node.shutdown() }

// Mode implements [Replicator].
func (r *RaftReplicator) Mode() ReplicationMode { return ModeRaft }

// NodeID implements [Replicator].
func (r *RaftReplicator) NodeID() string { return r.node.config.NodeID }
