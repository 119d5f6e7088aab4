package replication

import (
	"context"
	"maps"
	"slices"

	"go.etcd.io/raft/v3/raftpb"

	"github.com/mimir-kv/mimir/replication/internal/members"
	"github.com/mimir-kv/mimir/replication/internal/overview"
	"github.com/mimir-kv/mimir/replication/internal/primary"
	"github.com/mimir-kv/mimir/replication/internal/raftgroup"
	"github.com/mimir-kv/mimir/replication/internal/secondary"
	"github.com/mimir-kv/mimir/replication/timeline"
)

// buildSuccession builds what changes the members, what follows and what moves the primary.
func (n *node) buildSuccession() {
	c := &n.config
	n.members = members.NewRegistrar(members.Config{
		Region: c.RegionID, Self: timeline.Member{ID: n.id, Name: c.NodeID, PeerAddr: c.PeerAddr,
			ClientURLs: c.ClientURLs}, Timeout: c.callTimeout(),
		Clock: c.Clock, Applied: n.applied, Leadership: n.leadership, Directory: n.directory, Group: lateGroup{n},
		Controls: n.proposer, Client: n.client,
	})
	n.follower = secondary.New(secondary.Config{
		Region: c.RegionID, Self: n.id, WindowBytes: c.StreamWindowBytes, Transport: n.transport, Clock: c.Clock,
		Logger: n.logger, Life: n.life,
		Applied: n.applied, Leadership: n.leadership, Fleet: n.fleet, Group: lateGroup{n}, Copies: copyPort{n},
		Directory: n.directory,
	})
	regions := append(slices.Collect(maps.Keys(c.Regions)), c.RegionID)
	slices.Sort(regions)
	n.governor = primary.New(primary.Config{
		Region: c.RegionID, Regions: regions, Founder: c.RegionID == c.InitialPrimary, CallTimeout: c.callTimeout(),
		Clock: c.Clock, Logger: n.logger,
		Life: n.life, Applied: n.applied, Leadership: n.leadership, Fleet: n.fleet, Standing: n.standing,
		Leader: n.directory, Client: n.client,
		Decider: n.proposer, Follower: n.follower,
	})
}

// buildOverview builds what tells how this node and the fleet are.
func (n *node) buildOverview() {
	c := &n.config
	self := timeline.Member{ID: n.id, Name: c.NodeID, PeerAddr: c.PeerAddr, ClientURLs: c.ClientURLs}
	n.reporter = overview.NewReporter(overview.ReporterConfig{
		Fleet: c.FleetID, Region: c.RegionID, Self: self, Clock: c.Clock, Life: n.life, Applied: n.applied,
		Leadership: n.leadership,
		Group:      lateGroup{n}, Log: n.log, Slots: n.slots, Follower: n.follower, Governor: n.governor,
	})
	n.survey = overview.NewSurvey(overview.SurveyConfig{
		Fleet: c.FleetID, Region: c.RegionID, Regions: slices.Sorted(maps.Keys(c.Regions)), Self: self,
		Timeout: c.callTimeout(),
		Watcher: n.fleet, Members: n.members, Client: n.client, Reporter: n.reporter,
	})
}

// Leader implements overview.Group.
func (g lateGroup) Leader() (id, term uint64) {
	status := g.node.group.Status()
	return status.Leader, status.Term
}

func (g lateGroup) Status() raftgroup.Status { return g.node.group.Status() }

func (g lateGroup) ChangeMembers(ctx context.Context, c *raftpb.ConfChangeV2) error {
	return g.node.group.ChangeMembers(ctx, c)
}

func (g lateGroup) TransferLeader(ctx context.Context, to uint64) error {
	return g.node.group.TransferLeader(ctx, to)
}

func (g lateGroup) Voters() []uint64 { return g.node.group.Status().Conf.GetVoters() }
