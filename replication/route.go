package replication

import (
	"context"
	"errors"
	"slices"
	"strings"

	"github.com/mimir-kv/mimir/replication/internal/raftgroup"
	"github.com/mimir-kv/mimir/replication/timeline"
	"github.com/mimir-kv/mimir/replication/transport"
)

// findRoute returns where writes go, as far as is known here: to this node, to the leader of this region, or to the leader of the region with the
// highest claim.
func (n *node) findRoute() route {
	s := &n.applier.board.get().state
	v, _ := n.fleet.View()
	claim := v.Claim(s.HighestClaim())
	if claim.Primary == n.config.RegionID {
		if _, leads := n.governor.leads(); leads {
			return route{local: true}
		}
		return route{addr: n.LeaderAddr()}
	}
	if l := v.Regions[claim.Primary].Leader(); l != nil {
		return route{addr: l.Asked}
	}
	return route{}
}

// isPrimaryView reports whether this region is the primary, as far as is known here.
func (n *node) isPrimaryView() bool {
	s := &n.applier.board.get().state
	v, _ := n.fleet.View()
	return s.Role() == timeline.Primary && v.Claim(s.HighestClaim()).Primary == n.config.RegionID
}

// isRoutingError reports whether a call came to the wrong node, or to none, so that nothing was done and another may do it.
func isRoutingError(err error) bool {
	return errors.Is(err, ErrNotLeader) || errors.Is(err, ErrNotReady) || errors.Is(err, raftgroup.ErrNotLeader) ||
		errors.Is(err, transport.ErrUnreachable)
}

// IsLeader implements Replicator.
func (n *node) IsLeader() bool {
	if !n.running() {
		return false
	}
	_, leads := n.governor.leads()
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
	addr, _ := n.memberAddr(id)
	return addr
}

// LeaderID implements Replicator.
func (n *node) LeaderID() string {
	id := n.leader()
	if id == 0 {
		return ""
	}
	return n.memberName(id)
}

func (n *node) memberName(id uint64) string {
	for _, m := range n.applier.board.get().state.Members {
		if m.ID == id {
			return m.Name
		}
	}
	for name := range n.config.Nodes {
		if raftID(n.config.RegionID, name) == id {
			return name
		}
	}
	return ""
}

// WaitForLeader implements Replicator.
func (n *node) WaitForLeader(ctx context.Context) error {
	for n.leader() == 0 {
		if err := n.err(); err != nil {
			return err
		}
		if err := n.pause(ctx, retryEvery); err != nil {
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
func (n *node) IsPrimaryRegion() bool { return n.running() && n.isPrimaryView() }

func (n *node) regionNames() string {
	names := []string{n.config.RegionID}
	for r := range n.config.Regions {
		names = append(names, r)
	}
	slices.Sort(names)
	return strings.Join(names, ", ")
}
