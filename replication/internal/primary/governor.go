package primary

import (
	"context"
	"fmt"
	"log/slog"
	"sync"
	"time"

	"github.com/mimir-kv/mimir/replication/clock"
	"github.com/mimir-kv/mimir/replication/contract"
	"github.com/mimir-kv/mimir/replication/internal/fleet"
	"github.com/mimir-kv/mimir/replication/internal/life"
	"github.com/mimir-kv/mimir/replication/internal/peer"
	"github.com/mimir-kv/mimir/replication/internal/region"
	"github.com/mimir-kv/mimir/replication/internal/standing"
	"github.com/mimir-kv/mimir/replication/internal/succession"
	"github.com/mimir-kv/mimir/replication/internal/wake"
	"github.com/mimir-kv/mimir/replication/timeline"
)

// Decider takes decisions through the region's log. It is safe for concurrent use.
type Decider interface {
	// Control proposes c, and returns what became of it once it is applied here. Errors: ErrNotLeader (nothing was
	// proposed) and ErrUnknownOutcome.
	Control(ctx context.Context, c *timeline.Control) (region.Outcome, error)
	// Begin proposes the beginning of an epoch at the place that is applied here. Errors: ErrRejected if the rules
	// forbid it, and as of Control.
	Begin(ctx context.Context, r timeline.Reign) (*timeline.Reign, error)
	// Open reports whether this node takes writes.
	Open() bool
	// Reached returns the last position that was proposed here in this reign, zero if there is none that is not
	// applied. It is read before the state, which has what came to its end since.
	Reached() timeline.Position
}

// Follower carries out what makes a region follow another.
type Follower interface {
	// Run carries out a Stream, Fetch, Stage or Rewind until it has ended or ctx does. One at a time.
	Run(ctx context.Context, e succession.Effect) succession.Ended
	// Heard returns the highest position that is known to be committed at the source, zero if it is not followed.
	Heard(source string) timeline.Position
}

// Elections asks for votes. It is safe for concurrent use.
type Elections interface {
	// Elect returns once a majority voted for r, the own region first, with what that knows, or why none will. operator
	// says that somebody ordered it, who accepts that accept acknowledged commands are lost.
	Elect(ctx context.Context, r timeline.Reign, operator bool, accept uint64) (timeline.Mandate, error)
	// Sound returns nil once a majority would vote for the region, likewise ordered, with the least epoch to ask for;
	// it waits for promises to end until ctx does, and tells then what is in the way.
	Sound(ctx context.Context, accept uint64) (timeline.Epoch, error)
}

// Late is what the region has and does not show, on its leader. It is safe for concurrent use.
type Late interface {
	// Find returns the place of a point in that; until ctx ends nothing behind it is shown. Errors: ErrRejected if the
	// point is elsewhere, ErrArgument.
	Find(ctx context.Context, p contract.Point) (timeline.Cursor, error)
	// ShowAll returns once everything is shown, and remains so for a while. Errors: ErrNotLeader, ErrNotReady.
	ShowAll(ctx context.Context) (timeline.Cursor, error)
}

// Config is what a Governor needs.
type Config struct {
	Region      string
	Regions     func() []string // all of them, in order; it does not block
	Founder     bool            // this region begins the first epoch of a new fleet
	CallTimeout time.Duration
	Clock       clock.Clock
	Logger      *slog.Logger
	Life        *life.Life
	Applied     *region.Applied
	Leadership  *region.Leadership
	Fleet       *fleet.Watcher
	Standing    *standing.Standing
	Leader      standing.Leader
	Client      *peer.Client
	Decider     Decider
	Follower    Follower
	Late        Late
	// Elections asks for votes, where they are taken.
	Elections Elections
	// Changing returns a change of the regions, or of the charter, that is under way on this node, for people, "" if
	// there is none, and whether a charter is on its way to the log.
	Changing func() (what string, charting bool)
	// Rewinds says that this node keeps checkpoints of its own.
	Rewinds bool
	// Level asks the other nodes of the region, and returns the lowest level of those that answer.
	Level func(ctx context.Context) timeline.Level
}

const (
	// findTimeout is how long a move looks for the leader that can do it.
	findTimeout = 15 * time.Second
	// findAgain is the pause between two tries to find it, and between two looks at a region that is not ready.
	findAgain = 100 * time.Millisecond
	// askAgain is the pause before a region that is silent is asked once more by who decides by that.
	askAgain = 500 * time.Millisecond
	// rewindTimeout is how long a region tries to go back to the fork by itself before it takes a copy: what was
	// written since a checkpoint is applied in much less.
	rewindTimeout = 5 * time.Minute
)

// limits of a handoff: at most 30 s in which the target, if it is not close, comes no closer, then writes pause for at
// most 10 s before it is aborted.
func limits(callTimeout time.Duration) succession.Limits {
	return succession.Limits{
		CatchUp: 30 * time.Second, Settle: time.Second, Handover: 10 * time.Second, Abort: 2 * callTimeout,
		Ask: 2 * callTimeout, Again: findAgain, Retry: time.Second, Poll: time.Second, Close: 10_000,
		Near: 100, Rewind: rewindTimeout,
	}
}

// Governor acts for the region while this node leads it. It is safe for concurrent use.
type Governor struct {
	config Config
	began  time.Time
	wake   wake.Signal

	mu      sync.Mutex
	machine *succession.Machine
	todo    []succession.Effect
	calls   map[uint64]chan succession.Reply
	call    uint64 // the last one
	running map[uint64]context.CancelFunc
	asked   question // that was logged last
	silent  question // whose first failure was logged last
	trouble string   // that was logged last
}

// question is what a target is asked again and again until it answers.
type question struct {
	do       succession.Deed
	term     uint64
	handover succession.Handover
}

// first notes the question of e in last, and reports whether it was not there before: a target that is gone is asked
// ten times a second, and one line says so.
func (g *Governor) first(last *question, e succession.Effect) bool {
	g.mu.Lock()
	defer g.mu.Unlock()
	q := question{e.Do, e.Term, e.Handover}
	if *last == q {
		return false
	}
	*last = q
	return true
}

// New returns a Governor that does nothing before Run.
func New(c Config) *Governor {
	return &Governor{
		config: c, began: c.Clock.Now(), wake: wake.New(),
		machine: succession.New(c.Region, c.Founder, limits(c.CallTimeout)),
		calls:   map[uint64]chan succession.Reply{}, running: map[uint64]context.CancelFunc{},
	}
}

// Nudge has it look again: something changed.
func (g *Governor) Nudge() {
	g.wake.Nudge()
}

// Run looks whenever something changed and when the machine wants to, and begins what is to be done, until ctx ends.
// The node's life runs it.
func (g *Governor) Run(ctx context.Context) {
	timer := g.config.Clock.NewTimer(time.Second)
	defer timer.Stop()
	for {
		changed := g.config.Applied.Changed()
		g.step(nil)
		for _, e := range g.take() {
			g.perform(ctx, e)
		}
		rest, awaits := g.rest()
		if !awaits {
			changed = nil
		}
		timer.Reset(rest)
		select {
		case <-ctx.Done():
			return
		case <-g.wake:
		case <-changed:
		case <-timer.C():
		}
	}
}

// step takes a step of the machine (G1). Answers are given at once; the rest is left to Run.
func (g *Governor) step(in succession.Input) {
	g.mu.Lock()
	defer g.mu.Unlock()
	for _, e := range g.machine.Step(g.now(), g.view(), in) {
		if e.Do != succession.Answer {
			g.todo = append(g.todo, e)
		} else if done := g.calls[e.Call]; done != nil {
			delete(g.calls, e.Call)
			done <- e.Reply
		}
	}
	g.warn()
	if in != nil {
		g.Nudge()
	}
}

// warn logs what the region waits for, once as long as it is that. The caller holds mu.
func (g *Governor) warn() {
	t := g.machine.Trouble()
	switch {
	case t == nil:
		g.trouble = ""
	case t.What != g.trouble:
		g.trouble = t.What
		g.config.Logger.Warn("cannot act", "err", t.What, "detail", t.Detail)
	}
}

func (g *Governor) take() []succession.Effect {
	g.mu.Lock()
	defer g.mu.Unlock()
	todo := g.todo
	g.todo = nil
	return todo
}

func (g *Governor) now() succession.Instant { return g.config.Clock.Now().Sub(g.began) }

// rest returns for how long the machine wants to be left alone, and whether it waits for more to be applied.
func (g *Governor) rest() (d time.Duration, awaits bool) {
	g.mu.Lock()
	defer g.mu.Unlock()
	return max(time.Duration(g.machine.Due()-g.now()), time.Millisecond), g.machine.Awaits()
}

// view reduces what this node knows to what decides.
func (g *Governor) view() succession.View {
	v, _ := g.config.Fleet.View()
	term, _ := g.config.Leadership.Term()     // before the state, which has everything then
	changing, charting := g.config.Changing() // likewise: what ended is in it
	out := succession.View{
		Term: term, State: g.config.Applied.State(), Rewinds: g.config.Rewinds, Changing: changing, Charting: charting,
		Fleet: succession.Fleet{
			Claim: v.Claim(timeline.Reign{}), Leaders: map[string]succession.Sight{}, Silent: map[string]string{},
		},
	}
	for name, r := range v.Regions {
		if l := r.Leader(); l != nil {
			sight := succession.Sight{
				Role: l.Role, Cursor: l.Cursor, Reigns: l.Reigns, Sealed: l.Sealed, Forming: l.Forming,
				Asked: l.At.Sub(g.began), Roster: l.Roster.Mark(),
			}
			if f := l.Following; f != nil && f.Connected && !f.AtLeast && !l.CutOff() {
				sight.Follows = f.From()
			}
			if l.Voting != nil {
				sight.Ballot, sight.Charter = &l.Voting.Ballot, l.Voting.Charter
			}
			out.Fleet.Leaders[name] = sight
		} else {
			out.Fleet.Silent[name] = silence(r)
		}
	}
	return out
}

// silence tells why no leader of a region has answered.
func silence(r fleet.Region) string {
	switch {
	case r.Err != nil:
		return r.Err.Error()
	case r.Tries == 0:
		return "no answer yet"
	default:
		return "its nodes have no leader"
	}
}

// order brings in to the machine and returns its reply. A caller that ends is told how far it came; for one that has
// ended nothing begins.
func (g *Governor) order(ctx context.Context, in func(call uint64) succession.Input) succession.Reply {
	if ctx.Err() != nil {
		return succession.Reply{Err: fmt.Errorf("%w: nothing was begun: %w", contract.ErrNotReady, contract.Ended(ctx))}
	}
	done := make(chan succession.Reply, 1)
	g.mu.Lock()
	g.call++
	call := g.call
	g.calls[call] = done
	g.mu.Unlock()
	g.step(in(call))
	select {
	case r := <-done:
		return r
	case <-ctx.Done():
		g.step(succession.GaveUp{Call: call, Why: contract.Ended(ctx)})
	case <-g.config.Life.Stopped():
	}
	select {
	case r := <-done:
		return r
	case <-g.config.Life.Stopped():
		return succession.Reply{Err: fmt.Errorf("%w: %w", contract.ErrUnknownOutcome, g.config.Life.Failure())}
	}
}

// Moving says how far the switchover under way is that this leader carries out, and to where, for people; "" if there
// is none.
func (g *Governor) Moving() (to, text string) {
	g.mu.Lock()
	defer g.mu.Unlock()
	if !g.config.Leadership.Leads() {
		return "", ""
	}
	return succession.Moving(g.machine, g.now())
}

// Sealing reports whether a seal that this leader proposed is on its way to the log, or there.
func Sealing(g *Governor) bool {
	g.mu.Lock()
	defer g.mu.Unlock()
	return g.config.Leadership.Leads() && succession.Sealing(g.machine)
}

// Handing describes the handoff that this leader tries to end, for people; nil if there is none.
func (g *Governor) Handing() *succession.Handing {
	g.mu.Lock()
	defer g.mu.Unlock()
	if !g.config.Leadership.Leads() {
		return nil
	}
	return g.machine.Handing(g.now())
}

// Trouble describes what keeps this leader's region from work until somebody else does something; nil if there is
// none.
func (g *Governor) Trouble() *succession.Trouble {
	g.mu.Lock()
	defer g.mu.Unlock()
	if !g.config.Leadership.Leads() {
		return nil
	}
	return g.machine.Trouble()
}

// LastHeard returns the highest position that the region was heard to have.
func (g *Governor) LastHeard(name string) contract.Position {
	v, _ := g.config.Fleet.View()
	var p contract.Position
	if f := v.Regions[name].Furthest(); f != nil {
		p = f.Cursor.Position
	}
	return max(p, g.config.Follower.Heard(name))
}
