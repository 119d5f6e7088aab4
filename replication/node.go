package replication

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"slices"
	"sync"
	"time"

	"google.golang.org/protobuf/proto"

	"go.etcd.io/raft/v3/raftpb"

	"github.com/mimir-kv/mimir/replication/internal/copies"
	"github.com/mimir-kv/mimir/replication/internal/fleet"
	"github.com/mimir-kv/mimir/replication/internal/life"
	"github.com/mimir-kv/mimir/replication/internal/members"
	"github.com/mimir-kv/mimir/replication/internal/overview"
	"github.com/mimir-kv/mimir/replication/internal/peer"
	"github.com/mimir-kv/mimir/replication/internal/primary"
	"github.com/mimir-kv/mimir/replication/internal/propose"
	"github.com/mimir-kv/mimir/replication/internal/raftgroup"
	"github.com/mimir-kv/mimir/replication/internal/reads"
	"github.com/mimir-kv/mimir/replication/internal/region"
	"github.com/mimir-kv/mimir/replication/internal/secondary"
	"github.com/mimir-kv/mimir/replication/internal/slots"
	"github.com/mimir-kv/mimir/replication/internal/standing"
	"github.com/mimir-kv/mimir/replication/internal/stream"
	"github.com/mimir-kv/mimir/replication/internal/tail"
	"github.com/mimir-kv/mimir/replication/internal/transfer"
	"github.com/mimir-kv/mimir/replication/internal/wal"
	"github.com/mimir-kv/mimir/replication/timeline"
	"github.com/mimir-kv/mimir/replication/transport"
)

// node is one process's part in the history: what RaftReplicator and MultiRegionReplicator share. It builds the rooms below and
// connects them; each file of this package is one of its duties.
type node struct {
	config    Config
	id        uint64
	mode      ReplicationMode
	storage   Storage
	transport Transport
	setting   sync.Mutex // held while transport and misuse are set or taken
	misuse    error      // of SetTransport
	logger    *slog.Logger

	life       *life.Life
	leadership *region.Leadership
	applied    *region.Applied
	client     *peer.Client
	directory  *members.Directory
	members    *members.Registrar
	standing   *standing.Standing

	log      *wal.Log
	tails    *tail.Tails
	staging  *transfer.Staging
	shelf    *transfer.Shelf
	applier  *region.Applier
	group    *raftgroup.Group
	fleet    *fleet.Watcher
	proposer *propose.Proposer
	tracker  *slots.Tracker
	slots    *slots.Slots
	reads    *reads.Reads
	source   *stream.Source
	governor *primary.Governor
	follower *secondary.Follower
	reporter *overview.Reporter
	survey   *overview.Survey

	leading sync.Mutex
	leads   bool // what OnLeadership was told last
}

func newNode(c *Config, storage Storage, mode ReplicationMode) (*node, error) {
	if storage == nil {
		return nil, fmt.Errorf("%w: no storage", ErrConfig)
	}
	if err := c.Validate(); err != nil {
		return nil, err
	}
	if mode == ModeRaft && len(c.Regions) > 0 {
		return nil, fmt.Errorf("%w: Regions has %d entries, and a region alone has none beside it", ErrConfig, len(c.Regions))
	}
	config := c.withDefaults()
	logger := config.Logger.With("node", config.NodeID, "region", config.RegionID)
	return &node{
		config: config, id: members.RaftID(config.RegionID, config.NodeID), mode: mode, storage: storage, logger: logger,
		life: life.New(config.Clock, logger), leadership: &region.Leadership{},
		tails: tail.New(tail.Config{
			Fleet: config.FleetID, Region: config.RegionID, Node: config.NodeID, FS: config.FS, Dir: config.path("rescue"),
			Clock: config.Clock, Logger: logger,
		}),
	}, nil
}

// SetTransport takes the node's network before it starts. What was wrong is told by Start, or by Shutdown if it is too late for that.
func (n *node) SetTransport(t Transport) {
	n.setting.Lock()
	defer n.setting.Unlock()
	switch {
	case t == nil:
		n.misuse = fmt.Errorf("%w: the transport is nil", ErrArgument)
	case n.transport != nil:
		n.misuse = fmt.Errorf("%w: a transport was set before", ErrArgument)
		n.logger.Error("second transport not taken", "err", n.misuse)
	default:
		n.transport = t
	}
}

// network returns the transport, or what is wrong with it.
func (n *node) network() (Transport, error) {
	n.setting.Lock()
	defer n.setting.Unlock()
	if n.misuse == nil && n.transport == nil {
		return nil, fmt.Errorf("%w: no transport set", ErrArgument)
	}
	return n.transport, n.misuse
}

// Start implements Replicator.
func (n *node) Start(ctx context.Context) error {
	if ctx == nil {
		return fmt.Errorf("%w: the context is nil", ErrArgument)
	}
	if ctx.Err() != nil {
		return fmt.Errorf("not started: %w", context.Cause(ctx))
	}
	if err := n.life.Failure(); err != nil {
		return err
	}
	if _, err := n.network(); err != nil {
		return err
	}
	if err := n.life.Begin(); err != nil {
		return err
	}
	if err := n.start(ctx); err != nil {
		n.life.Retry()
		return err
	}
	return nil
}

func (n *node) start(ctx context.Context) error {
	n.client = peer.NewClient(n.transport)
	fresh, err := claimDirectory(n.config.FS, &n.config)
	if err != nil {
		return err
	}
	if fresh && !n.config.Join {
		if err := n.checkNotKnown(ctx); err != nil {
			return err
		}
	}
	if err := n.open(fresh); err != nil {
		return err
	}
	if fresh {
		if err := markDirectory(n.config.FS, &n.config); err != nil {
			return errors.Join(err, n.log.Close())
		}
	}
	if err := n.transport.Serve(n.services()); err != nil {
		return errors.Join(fmt.Errorf("serve peers: %w", err), n.log.Close())
	}
	if err := n.life.Ready(); err != nil {
		return errors.Join(err, n.log.Close())
	}
	n.launch()
	return nil
}

// open brings back the log and the state, and builds everything on top of them. Nothing runs yet. A directory that was marked held a log
// before: if that is gone, so are this node's votes.
func (n *node) open(fresh bool) (err error) {
	c := &n.config
	n.log, err = wal.Open(wal.Options{FS: c.FS, Dir: c.path("wal"), SegmentBytes: c.SegmentBytes, Logger: n.logger})
	if err != nil {
		return fmt.Errorf("open log: %w", err)
	}
	n.build()
	if err := n.load(fresh); err != nil {
		return errors.Join(err, n.log.Close())
	}
	n.group, err = raftgroup.New(n.groupConfig())
	if err != nil {
		return errors.Join(err, n.log.Close())
	}
	return nil
}

// load brings back what is applied, and removes what an earlier process left for others.
func (n *node) load(fresh bool) error {
	c := &n.config
	found, err := n.applier.Load(n.emptyState())
	if err != nil {
		return err
	}
	if !fresh && !c.Join && n.log.HardState() == nil && !found {
		return fmt.Errorf("%w: %s is marked as its own and holds neither log nor state; remove the member and add it again under a new name", ErrDiskLost, c.DataDir)
	}
	return n.shelf.Clean()
}

// emptyState is what a region begins with. The members with which it is formed are part of it, so that a later change of the
// configuration file changes nothing.
func (n *node) emptyState() *timeline.State {
	s := &timeline.State{Region: n.config.RegionID}
	if n.config.Join {
		return s
	}
	conf := &raftpb.ConfState{}
	for _, p := range n.peers() {
		conf.Voters = append(conf.Voters, p.ID)
	}
	s.Conf, _ = proto.Marshal(conf)
	return s
}

func (n *node) build() {
	c := &n.config
	n.applied = region.NewApplied(&region.View{State: timeline.State{Region: c.RegionID}}, n.life)
	n.directory = members.NewDirectory(c.RegionID, n.id, c.Nodes, n.applied, n.leader)
	n.fleet = fleet.NewWatcher(fleet.Config{
		Regions: c.Regions, Clock: c.Clock, Interval: c.fleetInterval(), Timeout: c.callTimeout(),
		Ask: func(ctx context.Context, addr string) (fleet.Report, error) { return overview.Ask(ctx, n.client, addr) },
	})
	n.standing = standing.New(c.RegionID, n.applied, n.leadership, n.fleet, n.directory)
	streamed := slots.NewLog(n.log)
	n.buildWrites(streamed)
	n.buildSuccession()
	n.buildOverview()
	n.source = stream.NewSource(stream.SourceConfig{
		Region: c.RegionID, Log: streamed, History: n.history(), Clock: c.Clock, Logger: n.logger, WindowBytes: c.StreamWindowBytes,
		Committed: n.sourceCommitted, OnAck: n.slots.Acknowledged, OnSession: n.slots.Session,
	})
	n.buildState()
}

// buildState builds the rooms that hold the region's state.
func (n *node) buildState() {
	c := &n.config
	n.staging = transfer.NewStaging(transfer.StagingConfig{
		Region: c.RegionID, FS: c.FS, Dir: c.path("staging"), Transport: n.transport, Peers: n.directory, Applied: n.applied,
		Life: n.life, Logger: n.logger,
	})
	maker := copies.NewMaker(c.FS, n.storage)
	n.applier = region.NewApplier(region.Config{
		Region: c.RegionID, Storage: n.storage, Maker: maker, Keeper: copies.NewKeeper(maker, c.path("snapshots")),
		Log: n.log, Staging: n.staging, Tails: tail.NewSaver(n.tails, n.log), Proposers: proposers{n}, Logger: n.logger,
	}, n.applied)
	n.shelf = transfer.NewShelf(transfer.ShelfConfig{
		Region: c.RegionID, FS: c.FS, Dir: c.path("copies"), Source: n.applier, Applied: n.applied, Staging: n.staging,
		Clock: c.Clock, Logger: n.logger,
	})
}

// proposers are told what became of what this node proposed.
type proposers struct{ node *node }

func (p proposers) Waiting() bool                 { return p.node.proposer.Waiting() }
func (p proposers) Resolve(told []region.Outcome) { p.node.resolved(told) }
func (p proposers) Overtaken()                    { p.node.proposer.Overtaken() }

// buildWrites builds the way of writes and of reads.
func (n *node) buildWrites(log *slots.Log) {
	c := &n.config
	n.tracker = slots.NewTracker(n.applied)
	n.proposer = propose.New(propose.Config{
		Group: lateGroup{n}, Standing: n.standing, Fleet: n.fleet, Durability: n.tracker, Applied: n.applied, Life: n.life,
		Transport: n.transport, Clock: c.Clock, Logger: n.logger,
		Regions: len(c.Regions) + 1, MaxCommandBytes: c.MaxCommandBytes,
		FrameBytes: c.MaxFrameBytes, WindowBytes: c.MaxInflightBytes,
	})
	n.slots = slots.New(slots.Config{
		Regions: slices.Sorted(maps.Keys(c.Regions)), Tracker: n.tracker, Log: log, Controls: n.proposer,
		Leader: n.directory, Client: n.client, Fleet: n.fleet, Applied: n.applied, Leadership: n.leadership, Clock: c.Clock, Logger: n.logger,
		RetainBytes: c.RetainBytes, Timeout: c.callTimeout(),
	})
	n.reads = reads.New(reads.Config{
		Region: c.RegionID, Group: lateGroup{n}, Standing: n.standing, Fleet: n.fleet, Writes: n.proposer,
		Applied: n.applied, Client: n.client, Life: n.life, Timeout: c.callTimeout(), OnAsk: c.OnAsk,
	})
}

// resolved tells what was applied to whoever waits for it, and lets the governor look at what it decides.
func (n *node) resolved(entries []region.Outcome) {
	n.proposer.Resolve(entries)
	for i := range entries {
		if entries[i].Token != 0 || entries[i].Reign != nil {
			n.leadershipChanged()
			n.governor.Nudge()
			return
		}
	}
}

func (n *node) groupConfig() raftgroup.Config {
	c := &n.config
	return raftgroup.Config{
		ID: n.id, Name: c.NodeID, GroupID: c.FleetID + "/" + c.RegionID, Peers: n.peers(), Join: c.Join,
		Log: n.log, Machine: n.applier, FS: c.FS, StagingDir: c.path("snapshot-staging"),
		Transport: n.transport, Address: n.directory.Addr, Clock: c.Clock,
		TickInterval: c.TickInterval, ElectionTicks: c.ElectionTicks, CompactBytes: c.CompactBytes,
		Logger: c.Logger, OnLeader: n.onLeader, OnFollower: n.onFollower, OnFatal: n.life.Fail,
	}
}

func (n *node) services() map[string]transport.Handler {
	s := n.group.Services()
	s[peer.Service] = n.questions().Serve
	s[propose.Service] = n.proposer.Serve
	s[stream.Service] = n.source.Handle
	s[transfer.Service] = n.shelf.Serve
	return s
}

func (n *node) launch() {
	n.slots.Retain()
	n.group.Start()
	for _, f := range []func(context.Context){
		n.proposer.Run, n.fleet.Run, n.governor.Run, n.members.Run, n.slots.Run, n.watchFleet, n.tidyCopies,
	} {
		n.life.Go(f)
	}
	n.life.Go(func(ctx context.Context) {
		<-ctx.Done()
		n.tearDown()
	})
}

// onLeader and onFollower are called in order with what is applied.
func (n *node) onLeader(term uint64) {
	n.logger.Info("leads its region", "term", term)
	n.tracker.Lead()
	n.proposer.Lead(term)
	n.leadership.Set(term)
	n.governor.Nudge()
	n.members.Nudge()
	n.leadershipChanged()
}

func (n *node) onFollower(term, leader uint64) {
	n.proposer.StepDown()
	n.leadership.Set(0)
	n.governor.Nudge()
	n.members.Nudge()
	n.tracker.StepDown()
	n.leadershipChanged()
}

// leadershipChanged tells the embedder when this node begins or ceases to take the fleet's writes.
func (n *node) leadershipChanged() {
	n.leading.Lock()
	defer n.leading.Unlock()
	if open := n.proposer.Open(); open != n.leads && n.config.OnLeadership != nil {
		n.leads = open
		n.config.OnLeadership(open)
	}
}

// watchFleet reconsiders what this node may do when news of other regions arrive.
func (n *node) watchFleet(ctx context.Context) {
	for {
		_, changed := n.fleet.View()
		n.proposer.Evaluate()
		n.leadershipChanged()
		n.governor.Nudge()
		select {
		case <-ctx.Done():
			return
		case <-changed:
		}
	}
}

// tidyCopies removes what nobody came back for, now and then.
func (n *node) tidyCopies(ctx context.Context) {
	ticker := n.config.Clock.NewTicker(2 * time.Second)
	defer ticker.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-ticker.C():
			n.staging.Tidy(n.group.Status().Term)
			n.shelf.Tidy()
		}
	}
}

// callable reports why a call with this context cannot be served.
func (n *node) callable(ctx context.Context) error {
	switch {
	case ctx == nil:
		return fmt.Errorf("%w: the context is nil", ErrArgument)
	case ctx.Err() != nil:
		return fmt.Errorf("%w: %w", ErrNotReady, context.Cause(ctx))
	default:
		return n.life.Err()
	}
}

// lateGroup is the Raft group for rooms that are built before it, since it needs the machine that tells them outcomes.
type lateGroup struct{ node *node }

func (g lateGroup) Propose(ctx context.Context, term uint64, payloads [][]byte) (uint64, error) {
	return g.node.group.Propose(ctx, term, payloads)
}

func (g lateGroup) ReadIndex(ctx context.Context) (uint64, error) { return g.node.group.ReadIndex(ctx) }

// Stopped is closed once the node was shut down or stopped itself; Err says why.
func (n *node) Stopped() <-chan struct{} { return n.life.Stopped() }

// Err returns nil while nothing has ended the node, ErrClosed after Shutdown, and the wrapped cause if it stopped itself.
func (n *node) Err() error { return n.life.Failure() }

// running reports whether the node was started, so that everything below is there.
func (n *node) running() bool {
	_, ok := n.life.Started()
	return ok
}

// Shutdown implements Replicator.
func (n *node) Shutdown() error {
	n.life.Close()
	n.life.Wait()
	t, misuse := n.network()
	switch {
	case n.running():
		return misuse
	case t != nil:
		return errors.Join(t.Close(), misuse) // never started, or not to the end
	default:
		return nil
	}
}

func (n *node) tearDown() {
	err := n.life.Failure()
	n.proposer.Abandon(err)
	n.group.Stop()
	n.proposer.Wait()
	if closed := errors.Join(n.transport.Close(), n.log.Close()); closed != nil {
		n.logger.Warn("closing", "err", closed)
	}
	n.leadershipChanged()
}
