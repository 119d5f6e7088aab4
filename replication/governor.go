package replication

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"time"

	"github.com/mimir-kv/mimir/replication/internal/stream"
	"github.com/mimir-kv/mimir/replication/timeline"
)

// governor acts for the region on its leader: it begins the first epoch, gives way to higher claims, ends handoffs that were left
// open, follows the primary, and mends a forked history. Everything it decides goes through the region's log; a governor that
// dies half way is continued by the next leader's.
type governor struct {
	node *node
	wake chan struct{}

	changing  sync.Mutex // held by follow: one stream ends before the next begins
	mu        sync.Mutex
	suspended int // somebody else decides about the epoch just now
	following *following
}

// following is the stream from one source region while this node leads a secondary.
type following struct {
	term     uint64
	source   string
	cancel   context.CancelFunc
	done     chan struct{}
	sink     *stream.Sink
	taker    *taker
	activity string // what it does if it is not the stream
	copied   *copiedSource
}

// copiedSource is a copy of the source that is here and that the region was not yet asked to install.
type copiedSource struct {
	id   string
	meta *copyMeta
}

func newGovernor(n *node) *governor { return &governor{node: n, wake: make(chan struct{}, 1)} }

func (g *governor) nudge() {
	select {
	case g.wake <- struct{}{}:
	default:
	}
}

// run reconsiders whenever something changed, and once in a while.
func (g *governor) run(ctx context.Context) {
	timer := g.node.config.Clock.NewTimer(time.Second)
	defer timer.Stop()
	defer g.follow("", 0)
	for {
		g.consider(ctx)
		timer.Reset(g.patience())
		select {
		case <-ctx.Done():
			return
		case <-g.wake:
		case <-timer.C():
		}
	}
}

// patience is how long the governor waits for news before it looks again: not long while no primary is known.
func (g *governor) patience() time.Duration {
	v, _ := g.node.fleet.View()
	if v.Claim(g.node.applied.View().State.HighestClaim()).Epoch != 0 {
		return time.Second
	}
	g.node.fleet.Refresh()
	return 5 * retryEvery
}

// consider takes the one step that is due.
func (g *governor) consider(ctx context.Context) {
	n := g.node
	n.describeSelf(ctx)
	term, leads := g.node.leadership.Term()
	if !leads {
		g.follow("", 0)
		return
	}
	g.mu.Lock()
	suspended := g.suspended > 0
	g.mu.Unlock()
	if suspended {
		return
	}
	s := &n.applied.View().State
	v, _ := n.fleet.View()
	claim := v.Claim(s.HighestClaim())
	var err error
	switch {
	case claim.Epoch == 0 && v.Settled() && n.config.RegionID == n.config.InitialPrimary:
		err = g.beginFirst(ctx)
	case timeline.Supersedes(claim, s.HighestClaim()):
		err = g.yield(ctx, claim)
	case s.Seal != nil:
		err = n.resolveHandoff(ctx, *s.Seal)
	case s.Role() == timeline.Primary || claim.Primary == "" || claim.Primary == n.config.RegionID:
		g.follow("", 0)
	default:
		g.follow(claim.Primary, term)
	}
	if err != nil && ctx.Err() == nil {
		n.logger.Warn("region state not changed; will try again", "err", err)
	}
}

// beginFirst begins the history of a new fleet.
func (g *governor) beginFirst(ctx context.Context) error {
	_, err := g.node.proposer.Begin(ctx, Reign{Epoch: 1, Primary: g.node.config.RegionID})
	return err
}

// yield gives way to a higher claim: from the moment that this is applied, the region takes no writes of its own reign.
func (g *governor) yield(ctx context.Context, claim Reign) error {
	g.node.logger.Info("yields to a higher claim", "epoch", claim.Epoch, "primary", claim.Primary)
	_, err := g.node.proposer.Control(ctx, &timeline.Control{Op: timeline.OpYield, Claim: &claim})
	return err
}

// suspend keeps the governor from acting, and ends the stream: everything it proposed is applied when suspend returns, unless this
// node leads no more. The caller must call the returned function.
func (g *governor) suspend() (resume func()) {
	g.mu.Lock()
	g.suspended++
	g.mu.Unlock()
	g.follow("", 0)
	return func() {
		g.mu.Lock()
		g.suspended--
		g.mu.Unlock()
		g.nudge()
	}
}

// follow makes source the region that is followed; "" follows none. It returns when the former stream has ended.
func (g *governor) follow(source string, term uint64) {
	g.changing.Lock()
	defer g.changing.Unlock()
	g.mu.Lock()
	old := g.following
	if old != nil && old.source == source && old.term == term && !old.ended() {
		g.mu.Unlock()
		return
	}
	g.following = nil
	g.mu.Unlock()
	if old != nil {
		old.cancel()
		<-old.done
		_ = old.taker.Settle(g.node.life.Context()) // fails only if the node stops
	}
	if source == "" {
		return
	}
	ctx, cancel := context.WithCancel(g.node.life.Context())
	t := &taker{node: g.node, term: term}
	f := &following{source: source, term: term, cancel: cancel, done: make(chan struct{}), taker: t, sink: g.node.newSink(source, t)}
	g.mu.Lock()
	defer g.mu.Unlock()
	if leads, _ := g.node.leadership.Term(); g.suspended > 0 || leads != term {
		cancel()
		return
	}
	g.following = f
	g.node.life.Go(func(context.Context) {
		defer close(f.done)
		defer g.nudge()
		g.node.followSource(ctx, f)
	})
}

func (f *following) ended() bool {
	select {
	case <-f.done:
		return true
	default:
		return false
	}
}

// current returns the stream that runs now, nil if there is none, and what it does.
func (g *governor) current() (*following, string) {
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.following == nil {
		return nil, ""
	}
	return g.following, g.following.activity
}

func (g *governor) setActivity(f *following, activity string) {
	g.mu.Lock()
	f.activity = activity
	g.mu.Unlock()
}

// followSource streams from the source until ctx ends or a decision is needed, which it then takes to the region's log.
func (n *node) followSource(ctx context.Context, f *following) {
	for ctx.Err() == nil {
		err := n.followOnce(ctx, f)
		if ctx.Err() != nil {
			return
		}
		if err != nil {
			n.logger.Warn("does not follow; will try again", "source", f.source, "err", err)
			if n.life.Pause(ctx, time.Second) != nil {
				return
			}
		}
	}
}

func (n *node) followOnce(ctx context.Context, f *following) error {
	s := &n.applied.View().State
	if s.Diverged != nil || n.forgot(f.source) {
		return n.bootstrap(ctx, f)
	}
	err := f.sink.Run(ctx)
	var fork *stream.ForkError
	var bootstrap *stream.BootstrapError
	switch {
	case errors.As(err, &fork):
		return n.diverge(ctx, fork)
	case errors.As(err, &bootstrap):
		return n.bootstrap(ctx, f)
	default:
		return err
	}
}

// forgot reports whether the source's history has a reign of this region that is missing here: all disks of the region were lost. The stream
// cannot bring it back, since a region that has yielded begins none of its own epochs, so the region takes a copy of the state.
func (n *node) forgot(source string) bool {
	s := &n.applied.View().State
	v, _ := n.fleet.View()
	l := v.Regions[source].Leader()
	return l != nil && slices.ContainsFunc(l.Reigns, func(r Reign) bool {
		return r.Primary == n.config.RegionID && r.Epoch > s.Cursor.Epoch && r.Epoch <= s.Yielded.Epoch
	})
}

// diverge fixes where this region's history parts from the fleet's. Every node saves the tail when it applies this.
func (n *node) diverge(ctx context.Context, fork *stream.ForkError) error {
	if len(fork.Source) == 0 {
		return fmt.Errorf("%w: source %s has no history", ErrDiverged, fork.Address)
	}
	claim := timeline.Latest(fork.Source)
	s := &n.applied.View().State
	if s.Cursor.Position < fork.Fork {
		return nil // the picture moved; ask again
	}
	n.logger.Warn("history has a fork; the tail is saved and the region rejoins", "fork", fork.Fork, "last", s.Cursor.Position, "epoch", claim.Epoch, "primary", claim.Primary)
	a, err := n.proposer.Control(ctx, &timeline.Control{
		Op: timeline.OpDiverge, Fork: fork.Fork, At: s.Cursor.Position, Epoch: s.Cursor.Epoch, Claim: &claim,
	})
	if err == nil && a.Outcome == timeline.Refused {
		err = fmt.Errorf("%w: %s", ErrDiverged, a.Why)
	}
	return err
}
