package replication

import (
	"cmp"
	"context"
	"errors"
	"maps"
	"slices"

	"github.com/mimir-kv/mimir/replication/internal/copies"
	"github.com/mimir-kv/mimir/replication/internal/delay"
	"github.com/mimir-kv/mimir/replication/internal/fleet"
	"github.com/mimir-kv/mimir/replication/internal/forming"
	"github.com/mimir-kv/mimir/replication/internal/laggate"
	"github.com/mimir-kv/mimir/replication/internal/leading"
	"github.com/mimir-kv/mimir/replication/internal/members"
	"github.com/mimir-kv/mimir/replication/internal/overview"
	"github.com/mimir-kv/mimir/replication/internal/peer"
	"github.com/mimir-kv/mimir/replication/internal/primary"
	"github.com/mimir-kv/mimir/replication/internal/propose"
	"github.com/mimir-kv/mimir/replication/internal/raftgroup"
	"github.com/mimir-kv/mimir/replication/internal/reads"
	"github.com/mimir-kv/mimir/replication/internal/recall"
	"github.com/mimir-kv/mimir/replication/internal/region"
	"github.com/mimir-kv/mimir/replication/internal/rewind"
	"github.com/mimir-kv/mimir/replication/internal/roster"
	"github.com/mimir-kv/mimir/replication/internal/secondary"
	"github.com/mimir-kv/mimir/replication/internal/slots"
	"github.com/mimir-kv/mimir/replication/internal/standing"
	"github.com/mimir-kv/mimir/replication/internal/stream"
	"github.com/mimir-kv/mimir/replication/internal/tail"
	"github.com/mimir-kv/mimir/replication/internal/transfer"
	"github.com/mimir-kv/mimir/replication/internal/votes"
	"github.com/mimir-kv/mimir/replication/internal/wal"
	"github.com/mimir-kv/mimir/replication/timeline"
	"github.com/mimir-kv/mimir/replication/transport"
)

// build makes every room, the lower ones first. Nothing runs yet, and nothing is applied: what a room must know of the
// state it reads from the view when it needs it.
func (n *node) build() {
	c := &n.config
	n.applied = region.NewApplied(&region.View{State: timeline.State{Region: c.RegionID}}, n.life)
	n.group = &groupPort{}
	n.leadership = region.NewLeadership(n.group)
	n.room = raftgroup.NewRoom(c.Clock, n.logger)
	n.directory = members.NewDirectory(c.RegionID, n.id, c.Nodes, n.applied, func() uint64 {
		id, _ := n.group.Leader()
		return id
	})
	n.forming = forming.New(forming.Config{
		Fleet: c.FleetID, Region: c.RegionID, Self: n.self(), Nodes: c.Nodes, Regions: c.Regions,
		FleetExists: c.FleetExists, Blank: n.found.blank() && !c.Join && len(c.Nodes) > 1, Sown: n.found.sown,
		Born: n.found.born, Disk: n.disk.Disk, Dir: c.DataDir, Applied: n.applied, Client: n.client, Life: n.life,
		Clock: c.Clock, Logger: n.logger, Timeout: c.callTimeout(),
		Note:     func(born recall.Part) error { return markDirectory(c.FS, c, born) },
		TakeBack: func() error { return n.found.takeBack(c) },
	})
	n.fleet = fleet.NewWatcher(fleet.Config{
		Regions: c.Regions, Clock: c.Clock, Interval: c.fleetInterval(), Timeout: c.callTimeout(),
		Anew: peer.Anew,
		Ask: func(ctx context.Context, addr string) (fleet.Report, error) {
			return newInquiry(n).report(ctx, addr)
		},
		Heard: func(r fleet.Heard) {
			n.roster.Hear(r)
			n.memory.Note(r.ID, said(r.Disk, r.Boot, r.Starts, r.Index, r.Seal))
			for id, words := range r.Witnesses {
				if c := n.applied.State().Charter(); c != nil && c.Voter(id) != nil {
					n.memory.NoteWords(id, words)
				}
			}
		},
	})
	n.fence = standing.NewFence(c.Clock, n.applied)
	n.standing = standing.New(c.RegionID, n.applied, n.leadership, n.fleet, n.directory, n.fence)
	n.staging = transfer.NewStaging(transfer.StagingConfig{
		Region: c.RegionID, FS: c.FS, Dir: c.path("staging"), Transport: n.transport, Peers: n.directory,
		Alike: n.forming.Alike, Look: lookOf(c.FS, n.storage), Applied: n.applied, Life: n.life, Clock: c.Clock,
		Logger: n.logger,
	})
	streamed := slots.NewLog(n.log)
	n.buildWrites(streamed)
	n.buildSuccession()
	n.votes = newVotes(n)
	n.roster = newRoster(n)
	n.buildState(streamed)
	n.buildSource(streamed)
	n.buildOverview()
}

// said is what a node said of its disk.
func said(disk, boot string, starts, index uint64, seal string) recall.Said {
	return recall.Said{Disk: recall.Disk{ID: disk, Starts: starts, Boot: boot}, Index: index, Seal: seal}
}

// buildWrites makes the way of writes and of reads.
func (n *node) buildWrites(log *slots.Log) {
	c := &n.config
	n.tracker = slots.NewTracker(n.applied)
	n.gate = newGate(n)
	n.proposer = propose.New(propose.Config{
		Group: n.group, Standing: n.standing, Fleet: n.fleet, Durability: n.tracker, Gate: n.gate, Applied: n.applied,
		Life:      n.life,
		Transport: n.transport, Clock: c.Clock, Logger: n.logger,
		Regions: func() int { return n.tracker.Countable(n.roster.All()) }, MaxCommandBytes: c.MaxCommandBytes,
		FrameBytes: c.MaxFrameBytes, WindowBytes: c.MaxInflightBytes, CommandLevel: c.CommandLevel, Tracer: c.Tracer,
	})
	n.slots = slots.New(slots.Config{
		Region: c.RegionID, Others: func() []string { return n.roster.Names() },
		Tracker: n.tracker, Log: log, Controls: n.proposer,
		Leader: n.directory,
		Client: n.client,
		Fleet:  n.fleet, Applied: n.applied, Leadership: n.leadership, Clock: c.Clock, Logger: n.logger,
		Upstream:    func() string { return n.follower.Upstream() },
		RetainBytes: c.RetainBytes, CopyRetainBytes: c.CopyRetainBytes, Timeout: c.callTimeout(),
	})
	n.reads = reads.New(reads.Config{
		Region: c.RegionID, Group: n.group, Standing: n.standing, Fleet: n.fleet, Writes: n.proposer,
		Applied: n.applied, Client: n.client, Life: n.life, Clock: c.Clock, Past: shownBefore(n.log),
		Timeout: c.callTimeout(), OnAsk: c.OnAsk,
	})
}

// newGate makes what holds back writes while other regions are too far behind.
func newGate(n *node) *laggate.Gate {
	limits := n.config.LagGate
	if limits == nil {
		limits = func() LagGate { return LagGate{} }
	}
	return laggate.New(laggate.Config{
		Limits: limits, Clock: n.config.Clock, Logger: n.logger,
		Places: func() (end Position, regions []laggate.Place, leads bool) {
			if !n.proposer.Open() {
				return n.applied.State().Cursor.Position, nil, false
			}
			end, regions = n.slots.Places()
			return end, regions, true
		},
	})
}

// shownBefore returns what earlier processes may have shown that wrote this log.
func shownBefore(l *wal.Log) reads.Past {
	last := l.LastIndex()
	term, _ := l.Term(last) // which a log always knows
	return reads.Past{Last: last, Term: term, Commit: l.HardState().GetCommit()}
}

// buildSuccession makes what changes the members, what follows, and what moves the primary.
func (n *node) buildSuccession() {
	c := &n.config
	n.members = members.NewRegistrar(members.Config{
		Region: c.RegionID, Self: n.self(), Timeout: c.callTimeout(), Clock: c.Clock, Applied: n.applied,
		Leadership: n.leadership, Directory: n.directory, Group: n.group, Controls: n.proposer, Client: n.client,
		Logger: n.logger, OnRemoved: n.departure().begin, Disk: n.disk.ID, Boot: n.disk.Boot,
		Seal: n.disk.Seal, Admits: n.forming.Admits, Life: n.forming,
		OnMet: func(p members.Presence) {
			n.memory.NoteTold(p.Member.ID, said(p.Disk, p.Boot, p.Member.Starts, p.Index, p.Seal))
		},
		OnAnswered: func(p members.Presented) {
			n.memory.Note(p.Self.ID, said(p.Disk, p.Boot, p.Self.Starts, p.Index, p.Seal))
		},
	})
	n.follower = secondary.New(secondary.Config{
		Region: c.RegionID, Formed: n.forming.Born, Self: n.id, WindowBytes: c.StreamWindowBytes,
		Transport: n.transport, Clock: c.Clock,
		Logger: n.logger, Life: n.life, Applied: n.applied, Leadership: n.leadership, Fleet: n.fleet, Group: n.group,
		Copies: copyPort{region: c.RegionID, addr: c.PeerAddr, staging: n.staging, client: n.client,
			members: n.directory, late: &n.late},
		Chains: chainPort{&n.late}, Client: n.client, Directory: n.directory,
		Level: newInquiry(n).siblingsLevel, Wanted: func() (string, bool) { return roster.Wanted(n.roster) },
	})
	n.delay = delay.New(delay.Config{
		Region: c.RegionID, Delay: c.ApplyDelay, Bytes: c.DelayBytes, Applied: n.applied, Leadership: n.leadership,
		Controls: n.proposer, Log: n.log, Clock: c.Clock, Logger: n.logger, Level: newInquiry(n).wholeLevel,
		Revision: c.Revision, Timeout: c.callTimeout(),
	})
	n.governor = primary.New(primary.Config{
		Region: c.RegionID, Regions: func() []string { return n.roster.All() },
		Founder:     c.RegionID == c.InitialPrimary && !c.FleetExists,
		CallTimeout: c.callTimeout(), Clock: c.Clock, Logger: n.logger, Life: n.life, Applied: n.applied,
		Leadership: n.leadership, Fleet: n.fleet,
		Standing: n.standing, Leader: n.directory, Client: n.client, Decider: n.proposer, Follower: n.follower,
		Late:  n.delay,
		Level: newInquiry(n).siblingsLevel, Elections: elections{&n.late}, Rewinds: markEvery(c, n.storage) > 0,
		Changing: func() (string, bool) {
			what, charting := votes.Changing(n.votes)
			return cmp.Or(n.roster.Changing(), what), charting
		},
	})
	n.leading = leading.New(leading.Config{
		Writes: n.proposer, Leadership: n.leadership, Group: n.group, Applied: n.applied, Standing: n.standing,
		Tracker: n.tracker, Governor: n.governor, Members: n.members, Fleet: n.fleet, Votes: elections{&n.late},
		Tell: c.OnLeadership, Event: n.event, Logger: n.logger,
	})
}

// newVotes makes what votes about the primary.
func newVotes(n *node) *votes.Votes {
	c := &n.config
	return votes.New(votes.Config{
		Region: c.RegionID, Priority: uint8(max(c.Priority, 0)), Delayed: c.ApplyDelay > 0,
		Timeout: c.callTimeout(), Clock: c.Clock,
		Logger: n.logger, Life: n.life, Applied: n.applied, Leadership: n.leadership, Fleet: n.fleet,
		Standing: n.standing, Fence: n.fence, Leader: n.directory, Client: n.client,
		Group: n.group, Controls: n.proposer,
		Ready: func(ctx context.Context, level timeline.Level) error {
			return newInquiry(n).understood(ctx, n.fleetView(), level)
		},
		Governor: primary.Ballot{Governor: n.governor}, Slots: n.slots, Writes: n.proposer,
		Witnesses: n.memory, Formed: n.forming.Born, Strange: strangers(n),
		Moving: func() (string, bool) {
			to, _ := n.governor.Moving()
			return to, primary.Sealing(n.governor)
		},
		Changed: n.leading.Reconsider, Event: n.event,
		Initial: c.Votes,
	})
}

// newRoster makes what knows which regions the fleet has.
func newRoster(n *node) *roster.Keeper {
	c := &n.config
	return roster.New(roster.Config{
		Region: c.RegionID, Configured: c.Regions, Own: func() []string {
			return append(n.directory.Others(), c.PeerAddr)
		},
		Timeout: c.callTimeout(), Clock: c.Clock, Logger: n.logger, Life: n.life, Group: n.group, Applied: n.applied,
		Leadership: n.leadership, Fleet: n.fleet, Standing: n.standing, Client: n.client, Controls: n.proposer,
		Charter: votes.Orders{Votes: n.votes},
		Ready: func(ctx context.Context, level timeline.Level, without string) error {
			return newInquiry(n).understood(ctx, n.fleetView().Without(without), level)
		},
		Level: newInquiry(n).siblingsLevel, OnGone: func(region string) {
			n.slots.Forget(region)
			n.caps.forget(region)
		},
		Seen: func(ctx context.Context) map[string]string {
			seen := newInquiry(n).configured(ctx, n.fleetView())
			for _, s := range n.source.Slots() {
				seen[s.Region] = "it follows here"
			}
			return seen
		},
		Moving:    func() string { to, _ := n.governor.Moving(); return to },
		Follows:   func() bool { f := n.follower.Following(); return f != nil && f.Connected },
		OnStray:   func(region string) { n.source.Expel(region) },
		OnRemoved: func(told error) { n.departure().region(told) },
	})
}

// buildState makes what holds the region's state, and gives copies of it away.
func (n *node) buildState(log *slots.Log) {
	c := &n.config
	n.maker = copies.NewMaker(c.FS, n.storage)
	unfit := func() bool { return n.mustNotLead(n.id) }
	n.applier = region.NewApplier(region.Config{
		Region: c.RegionID, Storage: n.storage, Maker: n.maker,
		Keeper: copies.NewKeeper(n.maker, c.path("snapshots"), n.logger),
		Log:    n.log, Staging: stagingPort{n.staging, &n.late, n.life}, Tails: tail.NewSaver(n.tails, n.log),
		Proposers: n.leading, Forget: func(ctx context.Context) error { return forget(ctx, n) },
		Level: *c.EntryLevel, Logger: n.logger, Room: roomPort{n.room, n.life}, Event: n.event,
		Fatal: n.departure().ended,
	}, n.applied)
	n.caps = newCaps(c.Clock, c.RegionRate, func(region string) bool {
		seal := n.applied.State().Seal
		return seal != nil && seal.To == region
	})
	n.shelf = transfer.NewShelf(transfer.ShelfConfig{
		Region: c.RegionID, Self: n.id, Differs: n.mustNotLead, Formed: n.forming.Born,
		FS: c.FS, Dir: c.path("copies"), Source: n.applier, Applied: n.applied, Staging: n.staging,
		Copying: n.slots.Copying, Bars: n.roster.Bars, Unfit: unfit, Life: n.life, Clock: c.Clock, Logger: n.logger,
		Throttle: n.caps.copies, Look: lookOf(c.FS, n.storage), Damaged: damaged(n),
	})
	branches, _ := n.storage.(Brancher)
	n.rewinds = rewind.New(rewind.Config{
		FS: c.FS, Dir: c.path("rewind"), Brancher: branches, Source: n.applier, Applied: n.applied, Log: log,
		Least: n.slots.Least, Unfit: unfit, EveryBytes: markEvery(c, n.storage),
		SpareBytes: uint64(c.CheckpointSpareBytes), Clock: c.Clock, Logger: n.logger,
	})
}

// markEvery returns how much log is written between two checkpoints of the storage that a node keeps to go back to,
// zero if it keeps none.
func markEvery(c *Config, s Storage) int64 {
	if _, ok := s.(Brancher); ok && len(c.Regions) > 0 {
		return max(c.CheckpointBytes, 0)
	}
	return 0
}

// buildSource makes what serves the stream to other regions.
func (n *node) buildSource(log *slots.Log) {
	c := &n.config
	h := history{applied: n.applied, life: n.life, reads: n.reads}
	n.source = stream.NewSource(stream.SourceConfig{
		Region: c.RegionID, Log: log, History: h, Clock: c.Clock, Logger: n.logger, WindowBytes: c.StreamWindowBytes,
		Committed: h.committed, OnAck: n.slots.Acknowledged, OnSession: n.slots.Session, OnParted: n.leading.Parted,
		Throttle: n.caps.stream,
		Bars: func(region string) error {
			if err := n.roster.Bars(region); err != nil {
				return err
			}
			return tooOld(n.applied.State().Commands, n.fleetView().Regions[region])
		},
		Strange: strangers(n),
	})
}

// buildOverview makes what tells how this node and the fleet are.
func (n *node) buildOverview() {
	c := &n.config
	n.reporter = overview.NewReporter(overview.ReporterConfig{
		Fleet: c.FleetID, Region: c.RegionID, Self: n.self(), Level: *c.EntryLevel, Disk: n.disk, Clock: c.Clock,
		Life:    n.life,
		Applied: n.applied, Leadership: n.leadership, Group: n.group, Log: n.log, Slots: n.slots, Follower: n.follower,
		Governor: n.governor, Votes: n.votes, Late: n.delay, Losses: n.leading, OnAsked: n.fleet.Learn,
		Forming: primary.Orders{Governor: n.governor}.Forming, Witnesses: n.memory.Witnesses, Formed: n.forming.Born,
		StateAwaited: func() string { return awaited(n) }, Takes: n.staging.Transfer,
		HeldBack: func() string { return heldBack(n) },
		Writes:   n.proposer, Directory: n.directory, Configured: slices.Sorted(maps.Keys(c.Regions)),
	})
	n.survey = overview.NewSurvey(overview.SurveyConfig{
		Fleet: c.FleetID, Region: c.RegionID, Known: func() overview.Known {
			return overview.Known{
				Others: n.roster.Others(), Roster: n.applied.State().Roster, Strays: n.roster.Strays(),
				Former: n.fleetView().Former,
			}
		}, Self: n.self(), Timeout: c.callTimeout(),
		Watcher: n.fleet, Nodes: n.directory, Client: n.client, Reporter: n.reporter, Clock: c.Clock,
	})
}

// bindGroup makes the Raft group, on top of what is applied.
func (n *node) bindGroup() error {
	c := &n.config
	g, err := raftgroup.New(raftgroup.Config{
		ID: n.id, Name: c.NodeID, GroupID: c.FleetID + "/" + c.RegionID, Peers: c.peers(), Join: c.Join,
		Log: n.log, Machine: machine{n.applier, n.life}, Room: n.room, Unfit: n.mustNotLead, FS: c.FS,
		StagingDir: c.path("snapshot-staging"), Look: lookOf(c.FS, n.storage), OnDamage: damaged(n),
		Transport: n.transport, Directory: n.directory, Clock: c.Clock,
		TickInterval: c.TickInterval, ElectionTicks: c.ElectionTicks, CompactBytes: c.CompactBytes,
		Caller: members.Caller, Aside: n.forming.Waits(), Admits: n.forming.Admits, Apart: n.forming.Apart,
		Agreed: n.agreed.UpTo, Perhaps: n.agreed.Perhaps, Awaits: n.agreed.Awaits, Parted: n.agreed.Parted,
		Ask: func(ctx context.Context, member, at uint64) (raftgroup.Account, error) {
			return newInquiry(n).account(ctx, n.disk.Disk, member, at)
		},
		Logger: c.Logger, OnLeader: n.leading.Begins, OnFollower: n.leading.Ends,
		OnFatal: n.departure().ended,
	})
	n.group.Group = g
	if errors.Is(err, raftgroup.ErrRemoved) {
		return n.departure().why(err)
	}
	return err
}

// questionsOf are what other nodes may ask n, each room its own.
func questionsOf(n *node, door *peer.Door) *peer.Registry {
	questions := peer.NewRegistry(n.life.Err, door)
	n.slots.Register(questions)
	n.reads.Register(questions)
	n.governor.Register(questions)
	n.votes.Register(questions)
	n.roster.Register(questions)
	n.members.Register(questions)
	n.reporter.Register(questions)
	n.shelf.Register(questions)
	n.staging.Register(questions, func() uint64 { _, term := n.group.Leader(); return term })
	n.tails.Register(questions)
	n.rewinds.Register(questions)
	n.follower.Register(questions)
	peer.Handle(questions, askNode, peer.FleetNode, n.answerNode)
	recall.Register(questions, n.config.RegionID, n.config.NodeID, n.memory, n.group.account,
		partOf(n.forming))
	return questions
}

// partOf is what forming tells who asks. What he says of a node is noted of himself alone.
func partOf(f *forming.Forming) func(ctx context.Context, q recall.Question) recall.Part {
	return func(ctx context.Context, q recall.Question) recall.Part {
		if caller, known := members.Caller(ctx); known && caller != q.ID {
			return f.Part()
		}
		return f.Told(q)
	}
}

// offer is a service of this node, and what it takes to have it.
type offer struct {
	right  peer.Right
	handle transport.Handler
}

// offersOf are what n answers on its transport. Of the questions each says itself who may ask it, and the members of
// the group look at who is one.
func offersOf(n *node, questions *peer.Registry) map[string]offer {
	o := map[string]offer{
		peer.Service:    {peer.Anyone, questions.Serve},
		propose.Service: {peer.FleetNode, n.proposer.Serve}, propose.ServiceParts: {peer.FleetNode, n.proposer.Serve},
		propose.ServiceWhole:  {peer.FleetNode, n.proposer.ServeWhole},
		stream.Service:        {peer.FleetNode, n.source.Handle},
		stream.ServiceElder:   {peer.FleetNode, n.source.Handle},
		transfer.Service:      {peer.FleetNode, n.shelf.Serve},
		transfer.ServiceElder: {peer.FleetNode, n.shelf.ServeElder},
	}
	for name, handle := range n.group.Services() {
		o[name] = offer{peer.NamedRegion, handle}
	}
	return o
}

// services are the handlers of the offers, each behind the door.
func (n *node) services() map[string]transport.Handler {
	door := newDoor(n)
	services := map[string]transport.Handler{}
	for name, o := range offersOf(n, questionsOf(n, door)) {
		services[name] = door.Guard(name, o.right, o.handle)
	}
	return services
}

// self is this node as it describes itself to others.
func (n *node) self() timeline.Member {
	c := &n.config
	return timeline.Member{
		ID: n.id, Name: c.NodeID, PeerAddr: c.PeerAddr, ClientURLs: c.ClientURLs, Starts: n.disk.Starts,
	}
}

// event tells the embedder of an event.
func (n *node) event(e timeline.Event) {
	if n.config.OnEvent == nil {
		return
	}
	if e.ID == "" {
		e.Region = n.config.RegionID
	}
	n.config.OnEvent(e)
}

func (n *node) departure() departure { return departure{&n.config, n.life} }

// peers returns the members with which the region is first formed, in an order that is the same everywhere.
func (c *Config) peers() []raftgroup.Peer {
	list := make([]raftgroup.Peer, 0, len(c.Nodes))
	for _, name := range slices.Sorted(maps.Keys(c.Nodes)) {
		list = append(list, raftgroup.Peer{ID: members.RaftID(c.RegionID, name), Name: name, Addr: c.Nodes[name]})
	}
	return list
}
