package replication

import (
	"context"
	"crypto/rand"
	"encoding/binary"
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"time"

	"google.golang.org/protobuf/proto"

	"go.etcd.io/raft/v3/raftpb"

	"github.com/mimir-kv/mimir/replication/internal/fleet"
	"github.com/mimir-kv/mimir/replication/internal/raftgroup"
	"github.com/mimir-kv/mimir/replication/internal/stream"
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
	transport transport.Transport
	logger    *slog.Logger

	log      *wal.Log
	applier  *applier
	group    *raftgroup.Group
	pipeline *pipeline
	router   *router
	forward  *forwarder
	barrier  *barrier
	fleet    *fleet.Watcher
	source   *stream.Source
	slots    *slots
	streamed *streamLog
	governor *governor
	copies   *copies

	leading sync.Mutex
	leads   bool // what OnLeadership was told last

	mu      sync.Mutex
	started time.Time // zero: not yet
	failure error
	once    sync.Once
	stopped chan struct{}
	cancel  context.CancelFunc
	work    sync.WaitGroup
}

func newNode(c *Config, storage Storage, mode ReplicationMode) (*node, error) {
	config, err := c.withDefaults()
	if err != nil {
		return nil, err
	}
	return &node{
		config: config, id: raftID(config.RegionID, config.NodeID), mode: mode, storage: storage,
		logger:  config.Logger.With("node", config.NodeID, "region", config.RegionID),
		stopped: make(chan struct{}),
	}, nil
}

// SetTransport gives the node its network. It is called once, before Start; the node closes the transport at Shutdown.
func (n *node) SetTransport(t transport.Transport) { n.transport = t }

// Start implements Replicator.
func (n *node) Start(ctx context.Context) error {
	n.mu.Lock()
	defer n.mu.Unlock()
	switch {
	case n.failure != nil:
		return n.failure
	case !n.started.IsZero():
		return errors.New("replication: started already")
	case n.transport == nil:
		return errors.New("replication: no transport set")
	}
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
	n.started = n.config.Clock.Now()
	n.launch()
	return nil
}

// open brings back the log and the state, and builds everything on top of them. Nothing runs yet. A directory that was marked held a log
// before: if that is gone, so are this node's votes.
func (n *node) open(fresh bool) error {
	c := &n.config
	state, meta, err := n.load()
	if err != nil {
		return err
	}
	n.log, err = wal.Open(wal.Options{FS: c.FS, Dir: c.path("wal"), SegmentBytes: c.SegmentBytes, Logger: n.logger})
	if err != nil {
		return fmt.Errorf("open log: %w", err)
	}
	if !fresh && !c.Join && n.log.HardState() == nil && meta.AppliedIndex == 0 {
		err := fmt.Errorf("%w: %s is marked as its own and holds neither log nor state; remove the member and add it again under a new name", ErrDiskLost, c.DataDir)
		return errors.Join(err, n.log.Close())
	}
	n.build(state, meta)
	if err := n.copies.clean(); err != nil {
		return errors.Join(err, n.log.Close())
	}
	n.group, err = raftgroup.New(n.groupConfig())
	if err != nil {
		return errors.Join(err, n.log.Close())
	}
	return nil
}

// load returns the region's state as the storage has it, or a new one.
func (n *node) load() (*timeline.State, *Metadata, error) {
	k := n.keeper()
	meta, err := n.storage.Load()
	if err != nil {
		return nil, nil, fmt.Errorf("load storage: %w", err)
	}
	if meta == nil {
		dir, err := k.newest()
		if err != nil {
			return nil, nil, fmt.Errorf("find snapshot: %w", err)
		}
		if dir != "" {
			if meta, err = k.metadataOf(dir); err == nil {
				err = k.replaceBy(dir, meta)
			}
			if err != nil {
				return nil, nil, fmt.Errorf("restore snapshot %s: %w", dir, err)
			}
		}
	}
	if meta == nil {
		return n.emptyState(), &Metadata{}, nil
	}
	state, err := stateOf(meta)
	if err != nil {
		return nil, nil, fmt.Errorf("load storage: %w", err)
	}
	if state.Region != n.config.RegionID {
		return nil, nil, fmt.Errorf("%w: state of region %s, this is %s", ErrIdentity, state.Region, n.config.RegionID)
	}
	return state, meta, nil
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

func (n *node) keeper() keeper {
	return keeper{states: states{fs: n.config.FS, storage: n.storage}, dir: n.config.path("snapshots")}
}

func (n *node) build(state *timeline.State, meta *Metadata) {
	c := &n.config
	a := newApplier(n.storage, state, meta.AppliedIndex, meta.AppliedTerm, n.logger)
	a.states, a.keeper = states{fs: c.FS, storage: n.storage}, n.keeper()
	n.applier = a
	n.fleet = fleet.NewWatcher(fleet.Config{Regions: c.Regions, Ask: n.askReport, Clock: c.Clock, Interval: c.fleetInterval(), Timeout: c.callTimeout()})
	n.slots = newSlots(n)
	n.copies = newCopies(n)
	n.governor = newGovernor(n)
	n.pipeline = &pipeline{
		propose: n.propose, mayOpen: n.mayOpen, applied: n.slots.deliver,
		frameSize: c.MaxFrameBytes, window: c.MaxInflightBytes, wake: make(chan struct{}, 1), folder: timeline.NewFolder(),
	}
	n.forward = &forwarder{transport: n.transport, clock: c.Clock, links: map[string]*link{}, misrouted: n.fleet.Refresh}
	n.router = &router{clock: c.Clock, find: n.findRoute, refresh: n.fleet.Refresh, pipeline: n.pipeline, forward: n.forward, wake: make(chan struct{}, 1)}
	n.pipeline.again, n.forward.again = n.router.again, n.router.again
	n.barrier = &barrier{confirm: n.confirmRead}
	n.streamed = &streamLog{Log: n.log, pins: map[string]bool{}}
	n.source = stream.NewSource(stream.SourceConfig{
		Region: c.RegionID, Log: n.streamed, History: n.history(), Clock: c.Clock, Logger: n.logger, WindowBytes: c.StreamWindowBytes,
		Committed: n.sourceCommitted, OnAck: n.slots.acknowledged, OnSession: n.slots.session,
	})
	a.saveTail, a.staged, a.discard, a.fetchOwn = n.saveTail, n.copies.stagedDir, n.copies.discard, n.fetchOwn
	a.waiting, a.resolve, a.overtaken, a.rebase = n.pipeline.waiting, n.resolved, n.pipeline.overtaken, n.log.Rebase
	n.log.Rebase(state.Base.Index, state.Base.Position)
	if _, known := n.log.FirstPosition(); !known {
		n.log.Rebase(meta.AppliedIndex, meta.Position)
	}
}

// resolved tells what was applied to whoever waits for it, and lets the governor look at what it decides.
func (n *node) resolved(entries []applied) {
	n.pipeline.resolve(entries)
	for i := range entries {
		if entries[i].token != 0 || entries[i].reign != nil {
			n.leadership()
			n.governor.nudge()
			return
		}
	}
}

func (n *node) groupConfig() raftgroup.Config {
	c := &n.config
	return raftgroup.Config{
		ID: n.id, Name: c.NodeID, GroupID: c.FleetID + "/" + c.RegionID, Peers: n.peers(), Join: c.Join,
		Log: n.log, Machine: n.applier, FS: c.FS, StagingDir: c.path("snapshot-staging"),
		Transport: n.transport, Address: n.memberAddr, Clock: c.Clock,
		TickInterval: c.TickInterval, ElectionTicks: c.ElectionTicks, CompactBytes: c.CompactBytes,
		Logger: c.Logger, OnLeader: n.onLeader, OnFollower: n.onFollower, OnFatal: n.fail,
	}
}

func (n *node) services() map[string]transport.Handler {
	s := n.group.Services()
	s[callService] = n.serveCall
	s[proposeService] = n.serveForwards
	s[stream.Service] = n.source.Handle
	s[copyService] = n.copies.serve
	return s
}

func (n *node) launch() {
	ctx, cancel := context.WithCancel(context.Background())
	n.cancel = cancel
	n.forward.ctx, n.barrier.base = ctx, ctx
	n.slots.retain()
	n.group.Start()
	for _, f := range []func(context.Context){n.pipeline.run, n.router.run, n.fleet.Run, n.governor.run, n.slots.run, n.watchFleet} {
		n.work.Go(func() { f(ctx) })
	}
}

// onLeader and onFollower are called in order with what is applied.
func (n *node) onLeader(term uint64) {
	n.logger.Info("leads its region", "term", term)
	n.pipeline.lead(term)
	n.governor.setTerm(term)
	n.leadership()
}

func (n *node) onFollower(term, leader uint64) {
	n.pipeline.follow()
	n.governor.setTerm(0)
	n.slots.abandon(errLedElsewhere)
	n.leadership()
}

// leadership tells the embedder when this node begins or ceases to take the fleet's writes.
func (n *node) leadership() {
	n.leading.Lock()
	defer n.leading.Unlock()
	if open := n.pipeline.isOpen(); open != n.leads && n.config.OnLeadership != nil {
		n.leads = open
		n.config.OnLeadership(open)
	}
}

// watchFleet reconsiders what this node may do when news of other regions arrive.
func (n *node) watchFleet(ctx context.Context) {
	for {
		_, changed := n.fleet.View()
		n.pipeline.evaluate()
		n.leadership()
		n.governor.nudge()
		select {
		case <-ctx.Done():
			return
		case <-changed:
		}
	}
}

func (n *node) propose(ctx context.Context, term uint64, payloads [][]byte) (uint64, error) {
	return n.group.Propose(ctx, term, payloads)
}

// mayOpen returns the applied place, and whether the region may write there.
func (n *node) mayOpen() (timeline.Cursor, bool) {
	s := &n.applier.board.get().state
	return s.Cursor, n.entitled(s)
}

// entitled reports whether the region in this state acts as primary as far as is known here: it is primary and not sealed, every other
// region was asked at least once since this process started, and none of them has a higher claim.
func (n *node) entitled(s *timeline.State) bool {
	v, _ := n.fleet.View()
	own := s.HighestClaim()
	return s.Writable() && v.Settled() && !timeline.Supersedes(v.Claim(own), own)
}

// fail stops the node loudly: it can no longer keep an invariant.
func (n *node) fail(cause error) {
	n.mu.Lock()
	if n.failure == nil {
		n.failure = fmt.Errorf("%w: %w", ErrStopped, cause)
		n.logger.Error("node stops itself", "cause", cause)
	}
	n.mu.Unlock()
	n.halt()
}

// Stopped is closed once the node was shut down or stopped itself; Err says why.
func (n *node) Stopped() <-chan struct{} { return n.stopped }

// Err returns nil while the node runs, ErrClosed after Shutdown, and the wrapped cause if it stopped itself.
func (n *node) Err() error {
	n.mu.Lock()
	defer n.mu.Unlock()
	return n.failure
}

// err returns why a call cannot be served at all: the node was not started, or runs no more.
func (n *node) err() error {
	n.mu.Lock()
	defer n.mu.Unlock()
	if n.failure == nil && n.started.IsZero() {
		return fmt.Errorf("%w: not started", ErrNotReady)
	}
	return n.failure
}

// running reports whether the node was started, so that everything below is there.
func (n *node) running() bool {
	n.mu.Lock()
	defer n.mu.Unlock()
	return !n.started.IsZero()
}

// Shutdown implements Replicator.
func (n *node) Shutdown() error {
	n.mu.Lock()
	if n.failure == nil {
		n.failure = ErrClosed
	}
	running := !n.started.IsZero()
	n.mu.Unlock()
	n.halt()
	n.work.Wait()
	if !running && n.transport != nil {
		return n.transport.Close() // never started, or not to the end
	}
	return nil
}

// halt ends every wait; tearDown does the rest once.
func (n *node) halt() {
	n.once.Do(func() {
		close(n.stopped)
		n.mu.Lock()
		running := !n.started.IsZero()
		n.mu.Unlock()
		if running {
			n.work.Go(n.tearDown)
		}
	})
}

func (n *node) tearDown() {
	err := n.err()
	n.cancel()
	n.pipeline.abandon(err)
	n.router.abandon(err)
	n.group.Stop()
	closed := errors.Join(n.transport.Close(), n.forwardDone())
	if closed = errors.Join(closed, n.log.Close()); closed != nil {
		n.logger.Warn("closing", "err", closed)
	}
	n.leadership()
}

func (n *node) forwardDone() error {
	n.forward.finished.Wait()
	return nil
}

// pause waits for d, or returns why not.
func (n *node) pause(ctx context.Context, d time.Duration) error {
	t := n.config.Clock.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C():
		return nil
	case <-ctx.Done():
		return context.Cause(ctx)
	case <-n.stopped:
		return n.err()
	}
}

// nonce returns fresh randomness: it tells proposals apart and decides nothing.
func nonce() (b [16]byte) {
	_, _ = rand.Read(b[:]) // never fails
	return b
}

func token() uint64 {
	b := nonce()
	return binary.LittleEndian.Uint64(b[:]) | 1
}
