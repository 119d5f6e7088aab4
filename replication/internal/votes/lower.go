package votes

import (
	"context"

	"github.com/mimir-kv/mimir/replication/internal/ballot"
	"github.com/mimir-kv/mimir/replication/timeline"
)

// upkeep is what the loop does to the charter of a primary by itself.
type upkeep struct{ *Votes }

// keeping is since when every voter keeps a charter, as the leader of the primary knows in its term.
type keeping struct {
	term  uint64
	mark  timeline.Mark
	since ballot.Instant
}

// lower is the second step of lowering a lease: who starts anew does not wait for promises of the former one any more,
// once every voter promises by the lower one, and what any of them promised before has run out (B4).
func (v upkeep) lower() {
	c := v.config.Applied.State().Charter()
	if c == nil || c.Former == 0 {
		return
	}
	if term, leads := v.config.Leadership.Term(); !leads || !v.outlasted(c, term) {
		return
	}
	if next, err := v.next(); err == nil && next.Number == c.Number+1 {
		next.Former = 0
		v.alone(func(ctx context.Context) error { return v.write(ctx, next) })
	}
}

// outlasted reports whether no promise by the former lease of c is left.
func (v upkeep) outlasted(c *timeline.Charter, term uint64) bool {
	v.mu.Lock()
	defer v.mu.Unlock()
	now := v.config.Clock.Elapsed()
	if !v.holder.Kept(c.Mark()) {
		v.keeps = keeping{}
		return false
	}
	if v.keeps.term != term || v.keeps.mark != c.Mark() {
		v.keeps = keeping{term, c.Mark(), now}
	}
	return now-v.keeps.since >= c.Outlasts()
}
