package replication

import (
	"context"
	"time"
)

// retryEvery is how often this package looks again at what it waits for, where nobody tells.
const retryEvery = 20 * time.Millisecond

// IsLeader implements Replicator.
func (n *node) IsLeader() bool {
	if !n.running() {
		return false
	}
	_, leads := n.leadership.Term()
	return leads
}

// leader returns the Raft identity of the region's leader, zero if none is known.
func (n *node) leader() uint64 {
	if !n.running() {
		return 0
	}
	return n.group.Status().Leader
}

// LeaderAddr implements Replicator.
func (n *node) LeaderAddr() string {
	id := n.leader()
	if id == 0 {
		return ""
	}
	addr, _ := n.directory.Addr(id)
	return addr
}

// LeaderID implements Replicator.
func (n *node) LeaderID() string {
	id := n.leader()
	if id == 0 {
		return ""
	}
	return n.directory.Name(id)
}

// WaitForLeader implements Replicator.
func (n *node) WaitForLeader(ctx context.Context) error {
	for n.leader() == 0 {
		if err := n.life.Err(); err != nil {
			return err
		}
		if err := n.life.Pause(ctx, retryEvery); err != nil {
			return err
		}
	}
	return nil
}

// Mode implements Replicator.
func (n *node) Mode() ReplicationMode { return n.mode }

// NodeID implements Replicator.
func (n *node) NodeID() string { return n.config.NodeID }

// RegionID returns Config.RegionID.
func (n *node) RegionID() string { return n.config.RegionID }

// IsPrimaryRegion reports whether this node's region is the primary, as far as this node knows.
func (n *node) IsPrimaryRegion() bool { return n.running() && n.standing.Primary() }
