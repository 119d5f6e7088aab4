package reads

import (
	"context"
	"fmt"
	"sync/atomic"
	"time"

	"github.com/mimir-kv/mimir/replication/clock"
	"github.com/mimir-kv/mimir/replication/internal/region"
)

// Past is what this node's log held when the process began. An earlier process may have shown all of it.
type Past struct {
	Last, Term uint64 // the last entry and its term
	Commit     uint64 // up to here it is known to have been committed
}

// leaderlessFor is how many times Config.Timeout a region gets to say what of the past was committed. After that what
// is known to be is enough: its leader may be gone for good.
const leaderlessFor = 3

// past waits until this node shows nothing older than an earlier process of it may have shown.
type past struct {
	Past
	applied *region.Applied
	clock   clock.Clock
	until   time.Time // then the region has had its time
	passed  atomic.Bool
}

func newPast(c *Config) *past {
	return &past{Past: c.Past, applied: c.Applied, clock: c.Clock, until: c.Clock.Now().Add(leaderlessFor * c.Timeout)}
}

// shown reports whether all that may have been shown is applied. What an entry of a later term took the place of was
// not committed.
func (p *past) shown(v *region.View) bool { return v.Index >= p.Last || v.Term > p.Term }

func (p *past) known(v *region.View) bool { return v.Index >= p.Commit || p.shown(v) }

func (p *past) wait(ctx context.Context) error {
	if p.passed.Load() {
		return nil
	}
	early, cancel := context.WithTimeout(ctx, p.until.Sub(p.clock.Now()))
	defer cancel()
	_, err := p.applied.Wait(early, p.shown)
	if err != nil && early.Err() != nil && ctx.Err() == nil {
		_, err = p.applied.Wait(ctx, p.known)
	}
	if err != nil {
		return fmt.Errorf("apply again what this node had before it started, up to entry %d: %w", p.Last, err)
	}
	p.passed.Store(true)
	return nil
}
