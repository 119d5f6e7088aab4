package kv

import (
	"context"
	"fmt"

	"github.com/cockroachdb/pebble/v2"
	"go.etcd.io/etcd/api/v3/mvccpb"
)

// historyReader reads changes in order of revision, all of one moment. It must be closed.
type historyReader struct {
	revisions *pebble.Iterator
	points    *pebble.Iterator
	buffer    []byte
}

func newHistoryReader(db pebble.Reader, from, to int64) (*historyReader, error) {
	revisions, err := db.NewIter(&pebble.IterOptions{
		LowerBound: appendRevision(nil, stamp{main: from}), UpperBound: appendRevision(nil, stamp{main: to + 1}),
	})
	if err != nil {
		return nil, err
	}
	points, err := revisions.Clone(pebble.CloneOptions{
		IterOptions: &pebble.IterOptions{LowerBound: []byte{tableKeys}, UpperBound: []byte{tableKeys + 1}},
	})
	if err != nil {
		return nil, closeAfter(revisions, err)
	}
	return &historyReader{revisions: revisions, points: points}, nil
}

func (h *historyReader) Close() error { return closeAfter(h.points, h.revisions.Close()) }

// version returns the version that the change of key at the stamp made. The next call invalidates it.
func (h *historyReader) version(key []byte, at stamp) (v version, err error) {
	v, h.buffer, err = seekVersion(h.points, h.buffer, key, at)
	if err == nil && v.stamp != at {
		err = fmt.Errorf("%w: revision %d.%d of key %x is missing", ErrCorrupt, at.main, at.sub, key)
	}
	return v, err
}

// previous returns the version before the one just returned; the zero version if there is none.
func (h *historyReader) previous() (version, error) {
	if !h.points.Next() {
		return version{}, h.points.Error()
	}
	return versionAt(h.points)
}

// readEvents reads the events that w wants of a stretch of history: at least one revision that has some, and not many more than
// the limit. The batch's Revision says how far it came.
func (w *Watcher) readEvents(ctx context.Context, read *diskRead) (batch WatchBatch, err error) {
	g, err := w.store.acquire()
	if err != nil {
		return WatchBatch{}, err
	}
	defer g.release()
	h, err := newHistoryReader(g.db, read.from, read.to)
	if err != nil {
		return WatchBatch{}, err
	}
	// Compaction publishes its revision before it removes anything: what it has removed by now it has said by now.
	compact := g.state.Load().compact
	if max(read.from, w.minimum) < compact {
		return WatchBatch{}, closeAfter(h, &CompactedError{Revision: compact})
	}
	batch, err = w.collectEvents(ctx, h, read, compact)
	return batch, closeAfter(h, err)
}

func (w *Watcher) collectEvents(ctx context.Context, h *historyReader, read *diskRead, compact int64) (WatchBatch, error) {
	batch := WatchBatch{Revision: read.to}
	bytes, seen := 0, 0
	lastMain := int64(0)
	for ok := h.revisions.First(); ok; ok = h.revisions.Next() {
		if seen++; seen%cancelCheckKeys == 0 && ctx.Err() != nil {
			return WatchBatch{}, ctx.Err()
		}
		at, err := decodeRevision(h.revisions.Key())
		if err != nil {
			return WatchBatch{}, err
		}
		if at.main != lastMain && bytes >= w.store.watchers.limits.catchUpBytes {
			batch.Revision = lastMain
			return batch, nil
		}
		lastMain = at.main
		key := h.revisions.Value()
		if !w.span.contains(key) {
			continue
		}
		e, err := w.readEvent(h, key, at, compact)
		if err != nil {
			return WatchBatch{}, err
		}
		if e != nil {
			batch.Events = append(batch.Events, e)
			bytes += len(e.Kv.Key) + len(e.Kv.Value) + len(e.PrevKv.GetKey()) + len(e.PrevKv.GetValue())
		}
	}
	return batch, h.revisions.Error()
}

// readEvent returns the event of a change, nil if w does not want it.
func (w *Watcher) readEvent(h *historyReader, key []byte, at stamp, compact int64) (*mvccpb.Event, error) {
	v, err := h.version(key, at)
	if err != nil || !w.wants(v.kind, at.main) {
		return nil, err
	}
	e := newEvent(v.kind, v.keyValue(key), nil)
	if w.request.PrevKV && at.main-1 >= compact {
		prev, err := h.previous()
		if err != nil {
			return nil, err
		}
		if prev.exists() {
			e.PrevKv = prev.keyValue(key)
		}
	}
	return e, nil
}
