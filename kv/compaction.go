package kv

import (
	"bytes"
	"sync"

	"github.com/cockroachdb/pebble/v2"
)

// compactionStep is how many changes one step of the physical compaction takes.
const compactionStep = 2048

// compactor removes, in the background and in bounded steps, the versions that a compaction put out of reach. It may stop
// anywhere and go on after a restart: what is left to do is what is left in the table of revisions.
//
// Every change at or below the compaction revision superseded the version before it, which goes. A delete below it goes
// too. So a step need not look at keys that did not change. The changes at the compaction revision itself stay, deletes
// included, since a watch may start there.
type compactor struct {
	store *Store
	wake  chan struct{}
	quit  chan struct{}
	done  sync.WaitGroup
}

func startCompactor(s *Store) *compactor {
	c := &compactor{store: s, wake: make(chan struct{}, 1), quit: make(chan struct{})}
	c.wakeUp()
	c.done.Go(c.loop)
	return c
}

func (c *compactor) wakeUp() {
	select {
	case c.wake <- struct{}{}:
	default:
	}
}

func (c *compactor) stop() {
	close(c.quit)
	c.done.Wait()
}

func (c *compactor) loop() {
	for {
		select {
		case <-c.quit:
			return
		case <-c.wake:
		}
		for more := true; more; {
			select {
			case <-c.quit:
				return
			default:
			}
			var err error
			if more, err = c.step(); err != nil {
				// The versions stay, out of reach. The next compaction or restart tries again.
				c.store.options.Logger.Error("old versions cannot be removed", "error", err)
				break
			}
		}
	}
}

// step removes what the next compactionStep changes superseded.
func (c *compactor) step() (more bool, err error) {
	g, err := c.store.acquire()
	if err != nil {
		return false, nil // closed
	}
	defer g.release()
	compact := g.state.Load().compact
	if compact <= 0 {
		return false, nil
	}
	h, err := newHistoryReader(g.db, 0, compact)
	if err != nil {
		return false, err
	}
	batch := g.db.NewBatch()
	more, err = removeSuperseded(h, batch, compact)
	if err = closeAfter(h, err); err == nil && !batch.Empty() {
		err = batch.Commit(pebble.NoSync)
	}
	return more, closeAfter(batch, err)
}

// removeSuperseded adds to batch the removal of what the first compactionStep changes superseded, and of the changes.
func removeSuperseded(h *historyReader, batch *pebble.Batch, compact int64) (more bool, err error) {
	end := []byte(nil)
	taken := 0
	for ok := h.revisions.First(); ok; ok = h.revisions.Next() {
		if taken == compactionStep {
			more = true
			break
		}
		taken++
		at, err := decodeRevision(h.revisions.Key())
		if err != nil {
			return false, err
		}
		if err := h.removeBefore(batch, h.revisions.Value(), at, compact); err != nil {
			return false, err
		}
		if at.main < compact {
			end = appendRevision(end[:0], stamp{main: at.main, sub: at.sub + 1})
		}
	}
	if err := h.revisions.Error(); err != nil {
		return false, err
	}
	if len(end) == 0 {
		return false, nil
	}
	return more, batch.DeleteRange([]byte{tableRevisions}, end, nil)
}

// removeBefore removes the version before the change of key at the stamp, and the change itself if it deleted the key.
func (h *historyReader) removeBefore(batch *pebble.Batch, key []byte, at stamp, compact int64) error {
	h.buffer = appendSuffix(appendKeyPrefix(h.buffer[:0], key), at, 0)
	if !h.points.SeekPrefixGE(h.buffer) {
		return h.points.Error()
	}
	k := h.points.Key()
	found, kind, err := decodeSuffix(k[split(k):])
	if err != nil {
		return err
	}
	if found == at {
		if kind == kindDelete && at.main < compact {
			if err := batch.Delete(bytes.Clone(k), nil); err != nil {
				return err
			}
		}
		if !h.points.Next() {
			return h.points.Error()
		}
		k = h.points.Key()
	}
	return batch.Delete(k, nil)
}
