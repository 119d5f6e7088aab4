package kv

import (
	"cmp"

	"github.com/cockroachdb/pebble/v2"

	"github.com/mimir-kv/mimir/kv/mvcc"
)

// compactionStep is how many changes one step of the physical compaction takes.
const compactionStep = 2048

// removeOld removes versions that a compaction put out of reach: what the next compactionStep changes superseded.
func removeOld(c *current) (more bool, err error) {
	g, err := c.acquire()
	if err != nil {
		return false, nil // closed
	}
	defer g.release()
	compact := g.now.Load().Compact
	if compact <= 0 {
		return false, nil
	}
	batch := g.db.NewBatch()
	more, err = mvcc.RemoveSuperseded(g.db, batch, compact, compactionStep)
	if err == nil && !batch.Empty() {
		err = batch.Commit(pebble.NoSync)
	}
	return more, cmp.Or(err, batch.Close())
}
