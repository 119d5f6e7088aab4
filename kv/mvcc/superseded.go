package mvcc

import (
	"bytes"
	"cmp"

	"github.com/cockroachdb/pebble/v2"
)

// RemoveSuperseded adds to batch the removal of what the first most changes of db from from on superseded, and of the
// changes. next is where a further call goes on, the zero Stamp if none is needed; to begin anew repeats what changes
// of the compaction revision superseded, which is harmless (M4).
//
// Every change at or below the compaction revision superseded the version before it, which goes. A delete below it goes
// too. So nothing has to look at keys that did not change.
func RemoveSuperseded(
	db pebble.Reader, batch *pebble.Batch, from Stamp, compact int64, most int,
) (next Stamp, err error) {
	h, err := openHistory(db, from, compact)
	if err != nil {
		return Stamp{}, err
	}
	next, err = h.removeSuperseded(batch, compact, most)
	return next, cmp.Or(err, h.Close())
}

func (h *History) removeSuperseded(batch *pebble.Batch, compact int64, most int) (next Stamp, err error) {
	end := []byte(nil)
	taken := 0
	for ok := h.First(); ok; ok = h.Next() {
		key, at, err := h.Change()
		if err != nil {
			return Stamp{}, err
		}
		if taken == most {
			next = at
			break
		}
		taken++
		if err := h.removeBefore(batch, key, at, compact); err != nil {
			return Stamp{}, err
		}
		if at.Main < compact {
			end = appendRevision(end[:0], Stamp{Main: at.Main, Sub: at.Sub + 1})
		}
	}
	if err := h.Err(); err != nil {
		return Stamp{}, err
	}
	if len(end) == 0 { // all of them are of the compaction revision, and stay
		return next, nil
	}
	return next, batch.DeleteRange([]byte{tableRevisions}, end, nil)
}

// removeBefore removes the version before the change of key at the stamp, and the change itself if it deleted the
// key. What the compaction revision itself changed stays, also where a transaction changed a key twice.
func (h *History) removeBefore(batch *pebble.Batch, key []byte, at Stamp, compact int64) error {
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
		if kind == KindDelete && at.Main < compact {
			if err := batch.Delete(bytes.Clone(k), nil); err != nil {
				return err
			}
		}
		if !h.points.Next() {
			return h.points.Error()
		}
		k = h.points.Key()
		if found, _, err = decodeSuffix(k[split(k):]); err != nil {
			return err
		}
	}
	if found.Main == compact {
		return nil
	}
	return batch.Delete(k, nil)
}
