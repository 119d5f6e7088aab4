package autocompact

import (
	"context"
	"errors"
	"log/slog"
	"time"

	"github.com/mimir-kv/mimir/replication/clock"
)

// ErrElsewhere says that this node is not the one that takes the fleet's writes, and ErrCompacted that a revision is
// compacted already.
var (
	ErrElsewhere = errors.New("another node takes the writes")
	ErrCompacted = errors.New("compacted already")
)

// Config is what a Keeper needs. The functions are called by one goroutine.
type Config struct {
	// Policy returns the one that holds, and Changed tells that it is another one now; it may be nil.
	Policy  func() Policy
	Changed <-chan struct{}
	// Revision returns the newest revision here, and Ago the one that is n revisions before it; 0 if there is none, or
	// if it is compacted.
	Revision func() int64
	Ago      func(n int64) int64
	// Compact puts what is before a revision out of reach, for the whole fleet: nil, ErrElsewhere, ErrCompacted, or
	// what went wrong.
	Compact func(ctx context.Context, revision int64) error
	Clock   clock.Clock
	Logger  *slog.Logger
}

// compactTimeout bounds one try.
const compactTimeout = 10 * time.Second

// Keeper keeps to the policy on one node.
type Keeper struct {
	Config
	policy Policy
	seen   []sight       // one for each look of the periodic rule, the oldest first; only that may be older than it
	last   time.Duration // when something was last compacted
	upTo   int64         // what was compacted last
}

// sight is which revision was the newest at a time.
type sight struct {
	at       time.Duration
	revision int64
}

// Run keeps to the policy until ctx ends.
func Run(ctx context.Context, c Config) {
	k := &Keeper{Config: c, last: c.Clock.Elapsed()}
	for ctx.Err() == nil {
		k.policy = c.Policy()
		k.keep(ctx)
	}
}

// keep keeps to one policy, until there is another.
func (k *Keeper) keep(ctx context.Context) {
	if k.policy == (Policy{}) {
		k.seen = nil
		select {
		case <-ctx.Done():
		case <-k.Changed:
		}
		return
	}
	ticker := k.Clock.NewTicker(k.policy.look())
	defer ticker.Stop()
	for {
		k.look(ctx, k.Clock.Elapsed())
		select {
		case <-ctx.Done():
			return
		case <-k.Changed:
			return
		case <-ticker.C():
		}
	}
}

// look compacts what the policy lets go, if it is time and this node takes the writes.
func (k *Keeper) look(ctx context.Context, now time.Duration) {
	target := k.target(now)
	if target <= 1 || target == k.upTo || now-k.last < k.policy.between() {
		return
	}
	bounded, cancel := context.WithTimeout(ctx, compactTimeout)
	defer cancel()
	switch err := k.Compact(bounded, target); {
	case err == nil, errors.Is(err, ErrCompacted):
		k.last, k.upTo = now, target
		if err == nil {
			k.Logger.Info("history compacted by itself", "revision", target)
		}
	case errors.Is(err, ErrElsewhere), ctx.Err() != nil:
	default:
		k.Logger.Warn("history not compacted", "revision", target, "err", err)
	}
}

// target returns up to where the history may be compacted, 0 if nothing may.
func (k *Keeper) target(now time.Duration) int64 {
	if k.policy.Revisions > 0 {
		return k.Ago(k.policy.Revisions)
	}
	k.seen = append(k.seen, sight{now, k.Revision()})
	for len(k.seen) > 1 && now-k.seen[1].at >= k.policy.Period {
		k.seen = k.seen[1:]
	}
	if now-k.seen[0].at < k.policy.Period {
		return 0
	}
	return k.seen[0].revision
}
