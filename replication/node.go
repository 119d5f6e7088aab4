package replication

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"sync"
	"sync/atomic"
	"time"

	"google.golang.org/protobuf/proto"

	"go.etcd.io/raft/v3/raftpb"

	"github.com/mimir-kv/mimir/replication/contract"
	"github.com/mimir-kv/mimir/replication/durable"
	"github.com/mimir-kv/mimir/replication/internal/copies"
	"github.com/mimir-kv/mimir/replication/internal/delay"
	"github.com/mimir-kv/mimir/replication/internal/fleet"
	"github.com/mimir-kv/mimir/replication/internal/forming"
	"github.com/mimir-kv/mimir/replication/internal/laggate"
	"github.com/mimir-kv/mimir/replication/internal/leading"
	"github.com/mimir-kv/mimir/replication/internal/life"
	"github.com/mimir-kv/mimir/replication/internal/members"
	"github.com/mimir-kv/mimir/replication/internal/overview"
	"github.com/mimir-kv/mimir/replication/internal/peer"
	"github.com/mimir-kv/mimir/replication/internal/primary"
	"github.com/mimir-kv/mimir/replication/internal/propose"
	"github.com/mimir-kv/mimir/replication/internal/raftgroup"
	"github.com/mimir-kv/mimir/replication/internal/reads"
	"github.com/mimir-kv/mimir/replication/internal/recall"
	"github.com/mimir-kv/mimir/replication/internal/region"
	"github.com/mimir-kv/mimir/replication/internal/roster"
	"github.com/mimir-kv/mimir/replication/internal/secondary"
	"github.com/mimir-kv/mimir/replication/internal/slots"
	"github.com/mimir-kv/mimir/replication/internal/standing"
	"github.com/mimir-kv/mimir/replication/internal/tail"
	"github.com/mimir-kv/mimir/replication/internal/transfer"
	"github.com/mimir-kv/mimir/replication/internal/wal"
	"github.com/mimir-kv/mimir/replication/timeline"
)

// node is one process's part in the history: what RaftReplicator and MultiRegionReplicator share. It makes the rooms,
// starts and ends them; no room holds it.
type node struct {
	config    Config
	id        uint64
	mode      ReplicationMode
	storage   Storage
	transport Transport
	setting   sync.Mutex // held while transport and misuse are set or taken
	misuse    error      // of SetTransport
	closing   sync.Once  // of the transport of a node that never ran
	logger    *slog.Logger

	rebuilding atomic.Bool // it applies nothing while the state of another node comes

	life       *life.Life
	leadership *region.Leadership
	applied    *region.Applied
	client     *peer.Client
	directory  *members.Directory
	members    *members.Registrar
	fence      *standing.Fence
	standing   *standing.Standing

	broken   error      // with what the storage failed a start; whoever claimed the start has it
	held     io.Closer  // the lock of the data directory
	let      chan error // of one that ran: what came of letting go of the lock, and closed then
	disk     recall.Own
	found    claim // what the data directory said of itself
	forming  *forming.Forming
	memory   *recall.Memory
	agreed   recall.Agreed
	log      *wal.Log
	tails    *tail.Tails
	staging  *transfer.Staging
	shelf    *transfer.Shelf
	delay    *delay.Keeper
	maker    *copies.Maker
	applier  *region.Applier
	room     *raftgroup.Room
	group    *groupPort
	fleet    *fleet.Watcher
	leading  *leading.Leading
	proposer *propose.Proposer
	gate     *laggate.Gate
	writes   writes
	tracker  *slots.Tracker
	slots    *slots.Slots
	reads    *reads.Reads
	governor *primary.Governor
	follower *secondary.Follower
	reporter *overview.Reporter
	survey   *overview.Survey
	late
}

func newNode(c *Config, storage Storage, mode ReplicationMode) (*node, error) {
	if storage == nil {
		return nil, fmt.Errorf("%w: no storage", ErrConfig)
	}
	if err := c.Validate(); err != nil {
		return nil, err
	}
	if mode == ModeRaft && len(c.Regions) > 0 {
		return nil, fmt.Errorf("%w: Regions has %d entries, and a region alone has none beside it", ErrConfig,
			len(c.Regions))
	}
	config := c.withDefaults()
	logger := config.Logger.With("node", config.NodeID, "region", config.RegionID)
	return &node{
		config: config, id: members.RaftID(config.RegionID, config.NodeID), mode: mode, storage: storage,
		logger: logger,
		life:   life.New(config.Clock, logger),
		tails: tail.New(tail.Config{
			Fleet: config.FleetID, Region: config.RegionID, Node: config.NodeID, FS: config.FS,
			Dir:   config.path("rescue"),
			Clock: config.Clock, Logger: logger,
		}),
	}, nil
}

// setTransport takes the node's network before it starts. What was wrong is told by Start, or by Shutdown if it is too
// late for that.
func (n *node) setTransport(t Transport) {
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

// start claims the one start, and takes it back if it fails.
func (n *node) start(ctx context.Context) error {
	if ctx == nil {
		return fmt.Errorf("%w: the context is nil", ErrArgument)
	}
	if ctx.Err() != nil {
		return fmt.Errorf("not started: %w", contract.Ended(ctx))
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
	defer n.life.EndStart()
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	defer context.AfterFunc(n.life.Context(), cancel)() // a Shutdown does not wait for the network
	if n.broken != nil {
		return fmt.Errorf("the storage failed a start before, and only one that is opened anew has what it should: %w",
			n.broken)
	}
	err := n.bringUp(ctx)
	if errors.Is(err, copies.ErrStorage) {
		n.broken = err
	}
	return err
}

func (n *node) bringUp(ctx context.Context) error {
	n.client = peer.NewClient(n.transport)
	var err error
	if n.held, err = n.config.lock(); err != nil {
		return err
	}
	if err := n.bringUpLocked(ctx); err != nil {
		return errors.Join(asDamage(err), n.held.Close())
	}
	return nil
}

func (n *node) bringUpLocked(ctx context.Context) error {
	if err := durable.Settle(n.config.FS, n.config.DataDir); err != nil {
		return err
	}
	found, err := claimDirectory(n.config.FS, &n.config)
	if err != nil {
		return err
	}
	n.found = found
	if found.sown != "" && n.config.Join {
		return fmt.Errorf("%w: %s was restored, and a node that joins a region takes the content of that: start it "+
			"with an empty directory", ErrConfig, n.config.DataDir)
	}
	blank := found.blank()
	if n.disk, err = recall.Start(n.config.FS, n.config.path(diskFile)); err != nil {
		return err
	}
	if blank && !n.config.Join && len(n.config.Nodes) <= 1 { // it forms its region alone
		found.born = recall.Part{Formed: map[uint64]string{n.id: n.disk.ID}}
		n.found = found
	}
	if err := n.open(found.fresh); err != nil {
		return err
	}
	if blank && !n.config.Join {
		if err := n.forming.Ask(ctx); err != nil {
			return errors.Join(err, n.log.Close())
		}
	}
	if err := n.life.Failure(); err != nil {
		return errors.Join(err, n.log.Close())
	}
	check := newInquiry(n).pastOf(n)
	if err := check.Ask(ctx); err != nil {
		return errors.Join(n.departure().giveUp(err), n.log.Close())
	}
	if found.fresh && n.config.Join {
		found.born = check.Formed()
		n.forming.Joined(found.born)
	}
	if !n.forming.Waits() && (blank || !found.sealed) {
		if err := markDirectory(n.config.FS, &n.config, found.born); err != nil {
			return errors.Join(err, n.log.Close())
		}
	}
	if err := n.transport.Serve(n.services()); err != nil {
		return errors.Join(fmt.Errorf("serve peers: %w", err), n.log.Close())
	}
	if err := n.life.Ready(); err != nil {
		return errors.Join(err, n.log.Close())
	}
	if !blank { // who holds nothing has no past
		n.agreed.Wait(n.config.Clock, n.id, n.config.recallPatience())
	}
	n.launch(check)
	return nil
}

// open brings back the log and the state, and builds everything on top of them. Nothing runs yet. A directory that was
// marked held a log before: if that is gone, so are this node's votes.
func (n *node) open(fresh bool) (err error) {
	c := &n.config
	if n.memory, err = recall.Remember(c.FS, c.path(heardFile), n.logger); err != nil {
		return err
	}
	n.log, err = wal.Open(wal.Options{FS: c.FS, Dir: c.path("wal"), SegmentBytes: c.SegmentBytes, Logger: n.logger})
	if err != nil {
		return fmt.Errorf("open log: %w", err)
	}
	n.build()
	if err = checkLog(n); err == nil {
		err = n.load(fresh)
	}
	if err == nil {
		err = n.bindGroup()
	}
	if err == nil {
		err = noteLog(n)
	}
	if err != nil {
		return errors.Join(err, n.log.Close())
	}
	return nil
}

// load brings back what is applied, and removes what an earlier process left for others.
func (n *node) load(fresh bool) error {
	c := &n.config
	found, err := n.applier.Load(c.emptyState())
	if err != nil {
		return err
	}
	if r := n.applied.State().Roster; r.Lacks(c.RegionID, nil) {
		return roster.Removed(c.RegionID, r)
	}
	if fresh && (found || n.holdsHistory()) {
		return fmt.Errorf("%w: %s holds a log or a store, and the file %s, which says whose they are, is gone",
			ErrDamaged, c.DataDir, identityFile)
	}
	if !fresh && n.log.HardState() == nil && !found && (!c.Join || otherLog(n)) {
		return fmt.Errorf("%w: %s is marked as its own and holds neither log nor state; "+
			"remove the member and add it again under a new name", ErrDiskLost, c.DataDir)
	}
	n.tails.Clean()
	n.shelf.Clean()
	dropHalfAside(c.FS, c.path(asideFolder), n.logger)
	return n.rewinds.Begin()
}

// holdsHistory reports whether the log was used: a start that was cut short before the directory was marked leaves at
// most the entry with which every log begins, and no vote.
func (n *node) holdsHistory() bool {
	return n.log.LastIndex() > 1 || n.log.HardState().GetTerm() > 1 || n.log.HardState().GetVote() != 0
}

// emptyState is what a region begins with. The members with which it is formed are part of it, so that a later change
// of the configuration file changes nothing.
func (c *Config) emptyState() *timeline.State {
	s := &timeline.State{Region: c.RegionID}
	if c.Join {
		return s
	}
	conf := &raftpb.ConfState{}
	for _, p := range c.peers() {
		conf.Voters = append(conf.Voters, p.ID)
	}
	s.Conf, _ = proto.Marshal(conf)
	return s
}

// launch sets everything going. What runs ends with the node's life, and is over before the rooms are closed.
func (n *node) launch(check *recall.Check) {
	n.roster.Settle()
	n.slots.Retain()
	n.group.Start()
	for _, f := range []func(context.Context){
		n.proposer.Run, n.fleet.Run, n.governor.Run, n.members.Run, n.slots.Run, n.slots.RunOnward, n.leading.Watch,
		n.tidy, n.votes.Run, n.rewinds.Run, n.delay.Run, n.roster.Run, n.gate.Run,
	} {
		n.life.Go(f)
	}
	n.life.Go(func(ctx context.Context) { n.memory.Run(ctx, n.config.Clock) })
	n.life.Go(func(ctx context.Context) {
		switch err := n.forming.Run(ctx, n.group.TakePart); {
		case errors.Is(err, ErrRemoved):
			n.departure().ended(err)
		case err != nil: // it has done no harm with this disk, and may ask again
			n.life.Fail(asDamage(err))
		}
	})
	n.life.Go(func(ctx context.Context) { n.forming.Learn(ctx, groupToLearn(n)) })
	n.life.Go(func(ctx context.Context) {
		if err := check.Run(ctx); err != nil {
			n.departure().ended(err)
		}
	})
	n.life.Go(func(ctx context.Context) {
		<-ctx.Done()
		n.tearDown()
	})
	n.let = make(chan error, 1)
	go letGo(n)
}

// tidyEvery is how often copies are looked through.
const tidyEvery = 2 * time.Second

// tidy removes copies and checkpoints that nobody came back for, now and then.
func (n *node) tidy(ctx context.Context) {
	ticker := n.config.Clock.NewTicker(tidyEvery)
	defer ticker.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-ticker.C():
			_, term := n.group.Leader()
			n.staging.Tidy(term, n.group.Glimpse().DiskFull > 0)
			n.shelf.Tidy()
			n.group.Tidy()
		}
	}
}

func (n *node) tearDown() {
	n.proposer.Abandon(n.life.Failure())
	n.group.Halt() // before what is written ends, which is no reason for it
	n.maker.End()
	n.group.Stop()
	n.proposer.Wait()
	n.memory.Save()
	if closed := errors.Join(n.transport.Close(), n.log.Close()); closed != nil {
		n.logger.Warn("closing", "err", closed)
	}
	n.leading.Changed()
}

// shutdown stops the node in good order.
func (n *node) shutdown() error {
	n.life.Close()
	n.life.Wait()
	t, misuse := n.network()
	switch {
	case n.running():
		return errors.Join(misuse, <-n.let)
	case t != nil: // never started, or not to the end
		n.closing.Do(func() { misuse = errors.Join(t.Close(), misuse) })
		return misuse
	default:
		return nil
	}
}

// callable reports why a call with this context cannot be served.
func (n *node) callable(ctx context.Context) error {
	switch {
	case ctx == nil:
		return fmt.Errorf("%w: the context is nil", ErrArgument)
	case ctx.Err() != nil:
		return fmt.Errorf("%w: %w", ErrNotReady, contract.Ended(ctx))
	default:
		return n.life.Err()
	}
}

// running reports whether the node was started, so that everything below is there.
func (n *node) running() bool {
	_, ok := n.life.Started()
	return ok
}

// serves reports whether the node was started and has not ended.
func (n *node) serves() bool { return n.life.Err() == nil }

// tenure returns the one of which the embedder was last told, the zero Tenure if there is none.
func (n *node) tenure() Tenure {
	if !n.running() {
		return Tenure{}
	}
	return n.leading.Tenure()
}

// leader returns the Raft identity of the region's leader, zero if none is known.
func (n *node) leader() uint64 {
	if !n.serves() {
		return 0
	}
	id, _ := n.group.Leader()
	return id
}

// leaderAddr and leaderName return where the region's leader is and what it is called, "" if none is known.
func (n *node) leaderAddr() string {
	if n.leader() == 0 {
		return ""
	}
	return n.directory.LeaderAddr()
}

func (n *node) leaderName() string {
	if n.leader() == 0 {
		return ""
	}
	return n.directory.LeaderName()
}

// leaderEvery is how often a wait for a leader looks again.
const leaderEvery = 20 * time.Millisecond

func (n *node) waitForLeader(ctx context.Context) error {
	for n.leader() == 0 {
		if err := n.life.Err(); err != nil {
			return err
		}
		if err := n.life.Pause(ctx, leaderEvery); err != nil {
			return err
		}
	}
	return nil
}
