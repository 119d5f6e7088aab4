package leading

import (
	"context"
	"log/slog"
	"sync"
	"sync/atomic"
	"time"

	"github.com/mimir-kv/mimir/replication/contract"
	"github.com/mimir-kv/mimir/replication/internal/fleet"
	"github.com/mimir-kv/mimir/replication/internal/members"
	"github.com/mimir-kv/mimir/replication/internal/primary"
	"github.com/mimir-kv/mimir/replication/internal/propose"
	"github.com/mimir-kv/mimir/replication/internal/region"
	"github.com/mimir-kv/mimir/replication/internal/slots"
	"github.com/mimir-kv/mimir/replication/internal/standing"
	"github.com/mimir-kv/mimir/replication/timeline"
)

// Config is what a Leading passes news to, and what it reads them from.
type Config struct {
	Writes     *propose.Proposer
	Leadership *region.Leadership
	Group      Group
	Applied    *region.Applied
	Standing   *standing.Standing
	Tracker    *slots.Tracker
	Governor   *primary.Governor
	Members    *members.Registrar
	Fleet      *fleet.Watcher
	Votes      Votes
	Tell       func(primaryLeader bool) // the embedder; may be nil
	Event      func(timeline.Event)     // is told when this node begins and ceases to lead; may be nil
	Logger     *slog.Logger
}

// Group is the region's Raft group.
type Group interface {
	// ReadIndex returns an index that a majority confirmed while this node led.
	ReadIndex(ctx context.Context) (uint64, error)
}

// Votes are looked at anew when something was decided.
type Votes interface{ Nudge() }

// Leading is the place where it is known whether this node leads. Its methods are safe for concurrent use.
type Leading struct {
	*propose.Proposer // its Waiting is that of region.Proposers
	c                 Config

	mu   sync.Mutex
	told atomic.Pointer[contract.Tenure] // nil: none; written with mu held
	lost bool                            // that this region lost a part of its reign was logged
}

var _ region.Proposers = (*Leading)(nil)

// New returns a Leading that leads nothing yet.
func New(c Config) *Leading { return &Leading{Proposer: c.Writes, c: c} }

// Begins says that this node leads term, and has applied everything before it.
func (l *Leading) Begins(term uint64) {
	l.c.Logger.Info("leads its region", "term", term)
	l.c.Tracker.Lead()
	l.Lead(term)
	l.c.Leadership.Set(term)
	l.c.Governor.Nudge()
	l.c.Members.Nudge()
	l.Changed()
	l.event(timeline.Event{Kind: timeline.EventLeads, Term: term})
}

func (l *Leading) event(e timeline.Event) {
	if l.c.Event != nil {
		l.c.Event(e)
	}
}

// Ends says that this node does not lead, and who does.
func (l *Leading) Ends(term, leader uint64) {
	l.StepDown()
	led := l.c.Leadership.Set(0)
	l.c.Governor.Nudge()
	l.c.Members.Nudge()
	l.c.Tracker.StepDown()
	l.Changed()
	if led != 0 {
		l.event(timeline.Event{Kind: timeline.EventStepped, Term: led})
	}
}

// Resolve tells what was applied to whoever waits for it, and lets the governor look at what it decides.
func (l *Leading) Resolve(outcomes []region.Outcome) {
	l.Proposer.Resolve(outcomes)
	for i := range outcomes {
		if outcomes[i].Token != 0 || outcomes[i].Reign != nil {
			l.c.Tracker.Look()
			l.Changed()
			l.c.Governor.Nudge()
			l.c.Votes.Nudge()
			return
		}
	}
}

// Overtaken passes on that another state took the place of this node's.
func (l *Leading) Overtaken() {
	l.Proposer.Overtaken()
	l.c.Tracker.Look()
}

// Changed tells the embedder when this node begins or ceases to take the fleet's writes.
func (l *Leading) Changed() {
	l.mu.Lock()
	defer l.mu.Unlock()
	now := l.Proposer.Tenure()
	if now == l.Tenure() {
		return
	}
	if l.told.Swap(nil) != nil {
		l.say(false)
	}
	if now != (contract.Tenure{}) {
		l.told.Store(&now)
		l.say(true)
	}
}

func (l *Leading) say(primaryLeader bool) {
	if l.c.Tell != nil {
		l.c.Tell(primaryLeader)
	}
}

// Tenure returns the one that the embedder was last told of. It may be called while it is told.
func (l *Leading) Tenure() contract.Tenure {
	if t := l.told.Load(); t != nil {
		return *t
	}
	return contract.Tenure{}
}

// Loss returns what this region is known to have lost of its own reign, while this node leads it; nil if nothing is.
// It implements overview.Losses.
func (l *Leading) Loss() error {
	if !l.c.Leadership.Leads() {
		return nil
	}
	v, _ := l.c.Fleet.View() // of what others have had before it is looked what this one has
	reached := l.Reached()   // before the state, which has what came to its end
	if loss := l.c.Standing.Loss(v, l.c.Applied.State(), reached); loss != nil {
		return loss
	}
	return nil
}

// Unlike returns the regions that hold a part of a reign which this one has not. It implements overview.Losses.
func (l *Leading) Unlike() []string {
	v, _ := l.c.Fleet.View()
	reached := l.Reached()
	return l.c.Standing.Unlike(v, l.c.Applied.State(), reached)
}

// confirmTimeout is how long a leader waits for a majority to confirm that it leads.
const confirmTimeout = 2 * time.Second

// tellLoss logs that writes have ended for good, once.
func (l *Leading) tellLoss(ctx context.Context) {
	loss := l.Loss()
	if loss != nil { // a leader that was deposed and does not know it yet has lost nothing
		ctx, cancel := context.WithTimeout(ctx, confirmTimeout)
		defer cancel()
		if _, err := l.c.Group.ReadIndex(ctx); err != nil {
			return
		}
		loss = l.Loss()
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	if loss != nil && !l.lost {
		l.c.Logger.Error("fenced: this region lost a part of its history", "err", loss)
	}
	l.lost = loss != nil
}

// Parted takes note that a region holds another history of the same reigns. It implements stream's OnParted.
func (l *Leading) Parted(region string, at timeline.Cursor) {
	l.c.Standing.Parted(region, at)
	l.Reconsider()
}

// Reconsider looks anew at what this node may do.
func (l *Leading) Reconsider() {
	l.Evaluate()
	l.Changed()
	l.c.Governor.Nudge()
}

// Watch reconsiders what this node may do when news of other regions arrive, until ctx ends.
func (l *Leading) Watch(ctx context.Context) {
	for {
		_, changed := l.c.Fleet.View()
		l.Reconsider()
		l.tellLoss(ctx)
		select {
		case <-ctx.Done():
			return
		case <-changed:
		}
	}
}
