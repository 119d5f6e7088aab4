package watch

import (
	"context"

	"go.etcd.io/etcd/api/v3/mvccpb"

	"github.com/mimir-kv/mimir/kv/command"
	"github.com/mimir-kv/mimir/kv/mvcc"
)

// cancelCheckChanges is how many changes are read between two looks at the context.
const cancelCheckChanges = 1024

// readEvents reads the events that w wants of a stretch of history: at least one revision, and not many more than the
// limits, of which there may be none that w wants. The batch's Revision says how far it came.
func (w *Watcher) readEvents(ctx context.Context, read *diskRead) (batch Batch, err error) {
	err = w.hub.disk.ReadHistory(read.from, read.to, func(h *mvcc.History, compact int64) (err error) {
		// Compaction publishes its revision before it removes anything: what it has removed by now it has said by now.
		if max(read.from, w.position.minimum) < compact {
			return command.ErrCompacted
		}
		batch, err = w.collectEvents(ctx, h, read, compact)
		return err
	})
	return batch, err
}

func (w *Watcher) collectEvents(ctx context.Context, h *mvcc.History, read *diskRead, compact int64) (Batch, error) {
	batch := Batch{Revision: read.to}
	bytes, seen := 0, 0
	lastMain := int64(0)
	for ok := h.First(); ok; ok = h.Next() {
		if seen++; seen%cancelCheckChanges == 0 && ctx.Err() != nil {
			return Batch{}, ctx.Err()
		}
		key, at, err := h.Change()
		if err != nil {
			return Batch{}, err
		}
		if at.Main != lastMain && (bytes >= read.bytes || seen > w.hub.limits.CatchUpChanges) {
			batch.Revision = lastMain
			return batch, nil
		}
		lastMain = at.Main
		if !w.span.Contains(key) {
			continue
		}
		e, err := w.readEvent(h, key, at, compact)
		if err != nil {
			return Batch{}, err
		}
		if e != nil {
			batch.Events = append(batch.Events, e)
			bytes += len(e.Kv.Key) + len(e.Kv.Value) + len(e.PrevKv.GetKey()) + len(e.PrevKv.GetValue())
		}
	}
	return batch, h.Err()
}

// readEvent returns the event of a change, nil if w does not want it.
func (w *Watcher) readEvent(h *mvcc.History, key []byte, at mvcc.Stamp, compact int64) (*mvccpb.Event, error) {
	v, err := h.Version(key, at)
	if err != nil || !w.wants(v.Kind, at.Main) {
		return nil, err
	}
	e := newEvent(v.Kind, v.KeyValue(key), nil)
	if w.request.PrevKV && at.Main-1 >= compact {
		prev, err := h.Previous()
		if err != nil {
			return nil, err
		}
		if prev.Exists() {
			e.PrevKv = prev.KeyValue(key)
		}
	}
	return e, nil
}
