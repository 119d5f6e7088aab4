package kv

import (
	"cmp"

	"github.com/cockroachdb/pebble/v2"

	"github.com/mimir-kv/mimir/kv/mvcc"
)

// compactionStep is how many changes one step of the physical compaction takes.
const compactionStep = 2048

// removal is how far the versions are removed that a compaction put out of reach. It is used by one goroutine.
type removal struct {
	of      *generation
	compact int64
	next    mvcc.Stamp // where it goes on; the zero Stamp: from the beginning
	done    bool       // nothing is left of it
}

// step removes versions that a compaction put out of reach: what the next compactionStep changes superseded. What the
// compaction revision itself changed stays, however much that is, so that it has to be passed by: from the beginning
// again after a start, and for another content or a later compaction.
func (r *removal) step(c *current) (more bool, err error) {
	g, err := c.acquire()
	if err != nil {
		return false, nil // closed
	}
	defer g.release()
	compact := g.now.Load().Compact
	if compact <= 0 {
		return false, nil
	}
	if r.of != g || r.compact != compact {
		*r = removal{of: g, compact: compact}
	}
	if r.done {
		return false, nil
	}
	batch := g.db.NewBatch()
	next, err := mvcc.RemoveSuperseded(g.db, batch, r.next, compact, compactionStep)
	if err == nil && !batch.Empty() {
		err = batch.Commit(pebble.NoSync)
	}
	if err = cmp.Or(err, batch.Close()); err != nil {
		return false, err
	}
	r.next, r.done = next, next == mvcc.Stamp{}
	return !r.done, nil
}
