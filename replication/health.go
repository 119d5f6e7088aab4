package replication

import "time"

// State is how far a node is in its life.
type State string

// States of a node.
const (
	// StateInitializing is a node that was made and that Start has not yet brought up.
	StateInitializing State = "initializing"
	// StateReady is a node that serves.
	StateReady State = "ready"
	// StateClosed is a node that was shut down, or that stopped itself: Problem says why.
	StateClosed State = "closed"
)

// HealthStatus is one node's picture of itself, its region and the other regions. What is not known is zero; Problem says why.
type HealthStatus struct {
	Mode   ReplicationMode `json:"mode"`
	NodeID string          `json:"node"`
	Region string          `json:"region"`
	State  State           `json:"state"`
	RaftID uint64          `json:"raftID"`
	// Healthy says that this node can serve linearizable reads of its region as far as it knows: it is ready, its region has a leader and
	// its history is the fleet's.
	Healthy bool   `json:"healthy"`
	Problem string `json:"problem,omitempty"` // why it is not healthy

	IsLeader     bool   `json:"leader"` // of the region
	LeaderID     string `json:"leaderID"`
	LeaderAddr   string `json:"leaderAddr"`
	LeaderRaftID uint64 `json:"leaderRaftID"`
	Term         uint64 `json:"term"`
	CommitIndex  uint64 `json:"commitIndex"`
	AppliedIndex uint64 `json:"appliedIndex"`

	Role     Role     `json:"role"`
	Primary  string   `json:"primary"` // the region believed to be primary
	Epoch    Epoch    `json:"epoch"`
	Position Position `json:"position"`
	Chain    string   `json:"chain"` // hexadecimal, whole
	Sealed   bool     `json:"sealed"`
	Lag      Lag      `json:"lag"` // zero at the primary

	Peers    []PeerStatus  `json:"peers,omitempty"` // every other region, by name
	Slots    []SlotStatus  `json:"slots,omitempty"`
	Nodes    []NodeStatus  `json:"nodes"`
	LogBytes int64         `json:"logBytes"`
	Uptime   time.Duration `json:"uptimeNanos"`
}

// PeerStatus is another region as this node last heard of it.
type PeerStatus struct {
	ID string `json:"id"` // the region's name
	// Address is where the region is reached: its leader, or the first address that is configured.
	Address string `json:"address"`
	// Healthy says that the region's leader answered in the last round, about a second ago, and that its history is the fleet's.
	Healthy  bool     `json:"healthy"`
	Problem  string   `json:"problem,omitempty"` // why it is not healthy
	Role     Role     `json:"role"`              // "" if nobody answered
	Epoch    Epoch    `json:"epoch"`
	Position Position `json:"position"`
	// Lag is what the region says it is behind the primary; zero for the primary, Seconds negative if it is not known.
	Lag Lag `json:"lag"`
}
