package replication

import (
	"github.com/mimir-kv/mimir/replication/internal/raftgroup"
	"github.com/mimir-kv/mimir/replication/internal/region"
)

// RaftReplicator keeps one history in one region alone. It implements Replicator.
type RaftReplicator struct{ *node }

// MultiRegionReplicator keeps one history in several regions. It implements Replicator, and adds what regions need: SetTransport,
// RegionID, IsPrimaryRegion, RegionFailover, and beside the fixed surface Propose, ReadBarrier, Switchover, Failover and Fleet.
type MultiRegionReplicator struct{ *node }

var (
	_ Replicator        = (*RaftReplicator)(nil)
	_ Replicator        = (*MultiRegionReplicator)(nil)
	_ raftgroup.Machine = (*region.Applier)(nil)
)

// NewRaftReplicator returns a node of a region that stands alone. The storage belongs to the caller, who closes it after
// Shutdown. c is copied.
func NewRaftReplicator(c *Config, s Storage) (*RaftReplicator, error) {
	alone := *c
	alone.Regions, alone.InitialPrimary = nil, c.RegionID
	n, err := newNode(&alone, s, ModeRaft)
	if err != nil {
		return nil, err
	}
	return &RaftReplicator{n}, nil
}

// NewMultiRegionReplicator returns a node of a fleet. The storage belongs to the caller, who closes it after Shutdown. c is
// copied.
func NewMultiRegionReplicator(c *Config, s Storage) (*MultiRegionReplicator, error) {
	n, err := newNode(c, s, ModeMultiRegion)
	if err != nil {
		return nil, err
	}
	return &MultiRegionReplicator{n}, nil
}
