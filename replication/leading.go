package replication

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
	"github.com/mimir-kv/mimir/replication/internal/votes"
	"github.com/mimir-kv/mimir/replication/timeline"
)

// leading passes on, in order with what is applied, whether this node leads its region and may write: to the rooms
// that act on it, and to the embedder. It stands between the log's goroutines and the rooms, and decides nothing.
type leading struct {
	*propose.Proposer // its Waiting and Overtaken are those of region.Proposers

	term     *region.Leadership
	group    *groupPort
	applied  *region.Applied
	standing *standing.Standing
	tracker  *slots.Tracker
	governor *primary.Governor
	members  *members.Registrar
	fleet    *fleet.Watcher
	votes    *votes.Votes
	tell     func(primaryLeader bool) // Config.OnLeadership, may be nil
	logger   *slog.Logger

	mu   sync.Mutex
	told atomic.Pointer[contract.Tenure] // nil: none; written with mu held
	lost bool                            // that this region lost a part of its reign was logged
}

var _ region.Proposers = (*leading)(nil)

// begins says that this node leads term, and has applied everything before it.
func (l *leading) begins(term uint64) {
	l.logger.Info("leads its region", "term", term)
	l.tracker.Lead()
	l.Lead(term)
	l.term.Set(term)
	l.governor.Nudge()
	l.members.Nudge()
	l.changed()
}

// ends says that this node does not lead, and who does.
func (l *leading) ends(term, leader uint64) {
	l.StepDown()
	l.term.Set(0)
	l.governor.Nudge()
	l.members.Nudge()
	l.tracker.StepDown()
	l.changed()
}

// Resolve tells what was applied to whoever waits for it, and lets the governor look at what it decides.
func (l *leading) Resolve(outcomes []region.Outcome) {
	l.Proposer.Resolve(outcomes)
	for i := range outcomes {
		if outcomes[i].Token != 0 || outcomes[i].Reign != nil {
			l.changed()
			l.governor.Nudge()
			l.votes.Nudge()
			return
		}
	}
}

// changed tells the embedder when this node begins or ceases to take the fleet's writes.
func (l *leading) changed() {
	l.mu.Lock()
	defer l.mu.Unlock()
	now := l.Tenure()
	if now == l.tenure() {
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

func (l *leading) say(primaryLeader bool) {
	if l.tell != nil {
		l.tell(primaryLeader)
	}
}

// tenure returns the one that the embedder was last told of. It may be called while it is told.
func (l *leading) tenure() contract.Tenure {
	if t := l.told.Load(); t != nil {
		return *t
	}
	return contract.Tenure{}
}

// Loss returns what this region is known to have lost of its own reign, while this node leads it; nil if nothing is.
// It implements overview.Losses.
func (l *leading) Loss() error {
	if !l.term.Leads() {
		return nil
	}
	if loss := l.standing.Loss(l.applied.State(), l.Reached()); loss != nil {
		return loss
	}
	return nil
}

// Unlike returns the regions that hold a part of a reign which this one has not. It implements overview.Losses.
func (l *leading) Unlike() []string { return l.standing.Unlike(l.applied.State(), l.Reached()) }

// confirmTimeout is how long a leader waits for a majority to confirm that it leads.
const confirmTimeout = 2 * time.Second

// tellLoss logs that writes have ended for good, once.
func (l *leading) tellLoss(ctx context.Context) {
	loss := l.Loss()
	if loss != nil { // a leader that was deposed and does not know it yet has lost nothing
		ctx, cancel := context.WithTimeout(ctx, confirmTimeout)
		defer cancel()
		if _, err := l.group.ReadIndex(ctx); err != nil {
			return
		}
		loss = l.Loss()
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	if loss != nil && !l.lost {
		l.logger.Error("fenced: this region lost a part of its history", "err", loss)
	}
	l.lost = loss != nil
}

// parted takes note that a region holds another history of the same reigns. It implements stream's OnParted.
func (l *leading) parted(region string, at timeline.Cursor) {
	l.standing.Parted(region, at)
	l.reconsider()
}

// reconsider looks anew at what this node may do.
func (l *leading) reconsider() {
	l.Evaluate()
	l.changed()
	l.governor.Nudge()
}

// watch reconsiders what this node may do when news of other regions arrive, until ctx ends.
func (l *leading) watch(ctx context.Context) {
	for {
		_, changed := l.fleet.View()
		l.reconsider()
		l.tellLoss(ctx)
		select {
		case <-ctx.Done():
			return
		case <-changed:
		}
	}
}
