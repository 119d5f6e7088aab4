package reads

import (
	"context"
	"sync/atomic"
	"time"

	"github.com/mimir-kv/mimir/replication/internal/region"
	"github.com/mimir-kv/mimir/replication/timeline"
)

// toldWait bounds how long a read waits for what was told here: then this node is cut off from its leader, or its disk
// hangs, and a stale read is what it can give.
const toldWait = time.Second

// told is up to where clients were told by this node that something is written. It may have applied less: the leader
// says what became of a write as soon as it knows. It is safe for concurrent use.
type told struct {
	applied *region.Applied
	at      atomic.Uint64 // position; zero: nothing that is waited for
}

// note says that somebody is told now that everything up to p is written.
func (t *told) note(p timeline.Position) {
	for {
		before := t.at.Load()
		if uint64(p) <= before || t.at.CompareAndSwap(before, uint64(p)) {
			return
		}
	}
}

// wait returns once this node shows what it has told, in the region that takes the writes: elsewhere that is as far
// away as the primary is. Where it does not come, that is waited for once.
func (t *told) wait(ctx context.Context) {
	p := t.at.Load()
	shown := func(v *region.View) bool {
		return uint64(v.Shows().Position) >= p || v.State.Role() != timeline.Primary || v.State.Delay != nil
	}
	if p == 0 || shown(t.applied.View()) {
		return
	}
	bounded, cancel := context.WithTimeout(ctx, toldWait)
	defer cancel()
	if _, err := t.applied.Wait(bounded, shown); err != nil && ctx.Err() == nil {
		t.at.CompareAndSwap(p, 0)
	}
}
