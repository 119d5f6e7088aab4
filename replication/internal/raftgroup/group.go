package raftgroup

import (
	"context"
	"fmt"
	"log/slog"
	"runtime/debug"
	"sync"
	"sync/atomic"

	"go.etcd.io/raft/v3"
	"go.etcd.io/raft/v3/raftpb"

	"github.com/mimir-kv/mimir/replication/transport"
)

// Group is one member of a Raft group. Its methods are safe for concurrent use.
type Group struct {
	config Config
	log    *slog.Logger

	mail     *mailbox
	loop     *loop
	writer   *writer
	applier  *applier
	network  *network
	outgoing *outgoing
	incoming *incoming
	view     view

	context context.Context // ends with the group
	cancel  context.CancelCauseFunc
	ended   chan struct{} // the loop is no more
	started atomic.Bool
	stop    sync.Once
	fail    sync.Once

	mu      sync.Mutex
	running sync.WaitGroup // of every goroutine of the group; added to under mu while not closed
	closed  bool
}

// New recovers the group from its log and machine. Nothing runs before Start.
func New(c Config) (*Group, error) {
	c, err := c.withDefaults()
	if err != nil {
		return nil, err
	}
	initial, err := recoverState(&c)
	if err != nil {
		return nil, err
	}
	g := &Group{config: c, log: c.Logger.With("group", c.GroupID, "node", c.Name), mail: newMailbox(), ended: make(chan struct{})}
	g.context, g.cancel = context.WithCancelCause(context.Background())
	if g.outgoing, err = newOutgoing(g); err != nil {
		return nil, err
	}
	if g.incoming, err = newIncoming(g); err != nil {
		return nil, err
	}
	g.network = newNetwork(g)
	g.writer = newWriter(g)
	g.applier = newApplier(g)
	if g.loop, err = newLoop(g, initial); err != nil {
		return nil, err
	}
	g.view.applied.Store(initial.applied)
	g.view.conf.Store(initial.conf)
	g.view.term.Store(initial.hard.GetTerm())
	g.view.commit.Store(initial.hard.GetCommit())
	return g, nil
}

// raftConfig is how this group uses raft.
func raftConfig(c *Config, s *storage) *raft.Config {
	return &raft.Config{
		ID:                        c.ID,
		ElectionTick:              c.ElectionTicks,
		HeartbeatTick:             c.HeartbeatTicks,
		Storage:                   s,
		Applied:                   s.initial.applied,
		AsyncStorageWrites:        true,
		MaxSizePerMsg:             uint64(c.MaxMessageBytes),
		MaxCommittedSizePerReady:  uint64(c.MaxApplyBytes),
		MaxUncommittedEntriesSize: uint64(c.MaxUncommittedBytes),
		MaxInflightMsgs:           maxInflightMessages,
		MaxInflightBytes:          uint64(c.MaxInflightBytes),
		CheckQuorum:               true,
		PreVote:                   true,
		ReadOnlyOption:            raft.ReadOnlySafe,
		Logger:                    raftLogger{c.Logger.With("group", c.GroupID, "node", c.Name)},
		DisableProposalForwarding: true,
		StepDownOnRemoval:         true,
	}
}

// Services returns what peers open on this node; the caller registers it with the transport.
func (g *Group) Services() map[string]transport.Handler {
	return map[string]transport.Handler{ServiceMessages: g.serveMessages, ServiceSnapshot: g.incoming.serve}
}

// Start lets the group take part. Call it once.
func (g *Group) Start() {
	if !g.started.CompareAndSwap(false, true) {
		return
	}
	g.spawn(g.loop.run)
	g.spawn(g.writer.run)
	g.spawn(g.applier.run)
}

// Stop ends the group and waits for all its goroutines; the log and the machine are then the caller's again. Leadership is not handed over:
// TransferLeader does that before. It must not be called from a callback of the group other than OnFatal.
func (g *Group) Stop() {
	g.halt(ErrStopped)
	g.mu.Lock()
	g.closed = true
	g.mu.Unlock()
	if !g.started.Swap(true) {
		g.endLoop() // it never began
	}
	g.running.Wait()
}

// halt makes everything end; the first cause counts.
func (g *Group) halt(cause error) {
	g.cancel(cause)
	g.mail.close()
}

// endLoop marks that nothing posted to the loop will be done any more.
func (g *Group) endLoop() { g.stop.Do(func() { close(g.ended) }) }

// spawn runs f on a goroutine that Stop waits for; false if the group has been stopped. A panic stops the node: it
// is how raft reports a broken invariant.
func (g *Group) spawn(f func()) bool {
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.closed {
		return false
	}
	g.running.Add(1)
	go func() {
		defer g.running.Done()
		defer func() {
			if r := recover(); r != nil {
				g.log.Error("panic", "cause", r, "stack", string(debug.Stack()))
				g.fatal(fmt.Errorf("%w: %v", ErrInvariant, r))
			}
		}()
		f()
	}()
	return true
}

// fatal stops the group from inside, once.
func (g *Group) fatal(err error) {
	if g.context.Err() != nil {
		return // stopping already; what fails now is a consequence
	}
	g.fail.Do(func() {
		g.halt(fmt.Errorf("%w: %w", ErrStopped, err))
		g.log.Error("node must stop", "error", err)
		if g.config.OnFatal != nil {
			go g.config.OnFatal(err)
		}
	})
}

// stopped is what callers get once the group has ended.
func (g *Group) stopped() error {
	if err := context.Cause(g.context); err != nil {
		return err
	}
	return ErrStopped
}

// onLoop runs f on the loop and waits for it; false if the group ended before.
func (g *Group) onLoop(f func()) bool {
	done := make(chan struct{})
	if !g.mail.call(func() { f(); close(done) }) {
		return false
	}
	select {
	case <-done:
		return true
	case <-g.ended:
		select { // it may have been the loop's last work
		case <-done:
			return true
		default:
			return false
		}
	}
}

// contains reports whether id is a member of any kind.
func contains(conf *raftpb.ConfState, id uint64) bool {
	for _, ids := range [][]uint64{conf.GetVoters(), conf.GetLearners(), conf.GetVotersOutgoing(), conf.GetLearnersNext()} {
		for _, member := range ids {
			if member == id {
				return true
			}
		}
	}
	return false
}
