package mvcc

import (
	"bytes"
	"cmp"

	"github.com/cockroachdb/pebble/v2"
)

// RemoveSuperseded adds to batch the removal of what the first most changes of db superseded, and of the changes.
// more says that there may be others (M4).
//
// Every change at or below the compaction revision superseded the version before it, which goes. A delete below it goes
// too. So nothing has to look at keys that did not change.
func RemoveSuperseded(db pebble.Reader, batch *pebble.Batch, compact int64, most int) (more bool, err error) {
	h, err := OpenHistory(db, 0, compact)
	if err != nil {
		return false, err
	}
	more, err = h.removeSuperseded(batch, compact, most)
	return more, cmp.Or(err, h.Close())
}

func (h *History) removeSuperseded(batch *pebble.Batch, compact int64, most int) (more bool, err error) {
	end := []byte(nil)
	taken := 0
	for ok := h.First(); ok; ok = h.Next() {
		if taken == most {
			more = true
			break
		}
		taken++
		key, at, err := h.Change()
		if err != nil {
			return false, err
		}
		if err := h.removeBefore(batch, key, at, compact); err != nil {
			return false, err
		}
		if at.Main < compact {
			end = appendRevision(end[:0], Stamp{Main: at.Main, Sub: at.Sub + 1})
		}
	}
	if err := h.Err(); err != nil {
		return false, err
	}
	if len(end) == 0 {
		return false, nil
	}
	return more, batch.DeleteRange([]byte{tableRevisions}, end, nil)
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
