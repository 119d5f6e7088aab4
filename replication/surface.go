package replication

import (
	"context"
	"time"
)

// Replicator is what a node of one replicated history offers. RaftReplicator implements it for one region alone,
// MultiRegionReplicator for a fleet. All methods are safe for concurrent use.
type Replicator interface {
	// Start opens the log, joins the region and returns once this node follows or leads; it does not wait for a leader. A node is
	// started once.
	Start(ctx context.Context) error
	// Apply writes one command and returns once it is committed and applied in the primary region. A node that
	// is not the primary's leader forwards it. Errors: ErrNotReady and ErrTooLarge (certainly not applied),
	// ErrUnknownOutcome, ErrClosed, ErrStopped.
	Apply(c *Command, timeout time.Duration) error
	// ApplyBatch writes several commands as one atomic unit: at consecutive positions, all or none.
	ApplyBatch(cs []*Command, timeout time.Duration) error
	// IsLeader reports whether this node leads its region.
	IsLeader() bool
	// LeaderAddr returns the peer address of the region's leader, "" if none is known.
	LeaderAddr() string
	// LeaderID returns the NodeID of the region's leader, "" if none is known.
	LeaderID() string
	// Health returns a fresh picture of this node; it never blocks on the network.
	Health() *HealthStatus
	// WaitForLeader returns once a leader of the region is known, or with the context's error.
	WaitForLeader(ctx context.Context) error
	// Shutdown stops the node in good order; unfinished calls return ErrClosed. Further calls do nothing.
	Shutdown() error
	// Mode tells one region from many.
	Mode() ReplicationMode
	// NodeID returns Config.NodeID.
	NodeID() string
}

// ReplicationMode tells how far a Replicator replicates.
type ReplicationMode string

// Modes.
const (
	ModeRaft        ReplicationMode = "raft"
	ModeMultiRegion ReplicationMode = "multi-region"
)

// ProposeOption changes what Propose waits for.
type ProposeOption func(*proposal)

// WithRegions makes Propose return only when the write is durable with the quorums of k regions, the primary's
// included. If that takes longer than the context allows, Propose returns the receipt together with ErrUnderReplicated: the write is
// applied in the primary, and may be lost with it.
func WithRegions(k int) ProposeOption { return func(p *proposal) { p.regions = k } }

// HealthStatus is one node's picture of itself and its region.
type HealthStatus struct {
	NodeID       string        `json:"node"`
	Region       string        `json:"region"`
	RaftID       uint64        `json:"raftID"`
	Healthy      bool          `json:"healthy"` // can serve linearizable reads of its region
	Problem      string        `json:"problem,omitempty"`
	Leader       bool          `json:"leader"`
	LeaderID     string        `json:"leaderID"`
	LeaderRaftID uint64        `json:"leaderRaftID"`
	Term         uint64        `json:"term"`
	CommitIndex  uint64        `json:"commitIndex"`
	AppliedIndex uint64        `json:"appliedIndex"`
	Role         Role          `json:"role"`
	Primary      string        `json:"primary"` // the region believed to be primary
	Epoch        Epoch         `json:"epoch"`
	Position     Position      `json:"position"`
	Chain        string        `json:"chain"` // hexadecimal, whole
	Sealed       bool          `json:"sealed"`
	Lag          Lag           `json:"lag"` // zero at the primary
	Slots        []SlotStatus  `json:"slots,omitempty"`
	Nodes        []NodeStatus  `json:"nodes"`
	LogBytes     int64         `json:"logBytes"`
	Uptime       time.Duration `json:"uptimeNanos"`
}

// proposal is what the options of a Propose add up to.
type proposal struct {
	regions int
}
