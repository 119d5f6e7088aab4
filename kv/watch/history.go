package watch

import (
	"context"
	"slices"

	"go.etcd.io/etcd/api/v3/mvccpb"

	"github.com/mimir-kv/mimir/kv/command"
	"github.com/mimir-kv/mimir/kv/mvcc"
)

// cancelCheckChanges is how many changes are read between two looks at the context.
const cancelCheckChanges = 1024

// fewVersions is up to how many versions of a single key in a stretch are read one by one, and not with all that
// changed there: thousands of watches of keys that are quiet may go on from far behind at once.
const fewVersions = 256

// readEvents reads the events that w wants of a stretch of history: at least one revision, and not many more than the
// limits, of which there may be none that w wants. The batch's Revision says how far it came. Few watchers of a hub
// read at a time, and the others wait.
func (w *Watcher) readEvents(ctx context.Context, read *diskRead) (batch Batch, bytes int, err error) {
	select {
	case w.hub.reading <- struct{}{}:
		defer func() { <-w.hub.reading }()
	case <-ctx.Done():
		return Batch{}, 0, ctx.Err()
	}
	c := collecting{w: w, read: read, batch: Batch{Revision: read.to}}
	err = w.hub.disk.ReadHistory(read.from, read.to, func(h *mvcc.History, compact int64) error {
		// Compaction publishes its revision before it removes anything: what it has removed by now it has said by now.
		if max(read.from, w.position.minimum) < compact {
			return command.ErrCompacted
		}
		c.history, c.compact = h, compact
		return c.collect(ctx)
	})
	return c.batch, c.bytes, err
}

// collecting is the batch of a stretch as it is read.
type collecting struct {
	w       *Watcher
	read    *diskRead
	history *mvcc.History
	compact int64

	batch Batch
	bytes int
	at    int64 // the revision that was added last
}

func (c *collecting) collect(ctx context.Context) error {
	places, all, err := c.places()
	if err != nil {
		return err
	}
	if !all {
		return c.scan(ctx)
	}
	for _, at := range slices.Backward(places) {
		if full, err := c.add(c.w.span.Start, at, false); full || err != nil {
			return err
		}
	}
	return nil
}

// places returns where the single key of the watcher changed in the stretch, the newest first; all is false if it
// watches several, or these are not all.
func (c *collecting) places() (places []mvcc.Stamp, all bool, err error) {
	if !c.w.span.Single() {
		return nil, false, nil
	}
	for v, err := c.history.Newest(c.w.span.Start, c.read.to); ; v, err = c.history.Previous() {
		switch {
		case err != nil:
			return nil, false, err
		case v.Main < c.read.from || v.Main == 0:
			return places, true, nil
		case len(places) == fewVersions:
			return nil, false, nil
		}
		places = append(places, v.Stamp)
	}
}

// scan goes through all changes of the stretch.
func (c *collecting) scan(ctx context.Context) error {
	h, seen := c.history, 0
	for ok := h.First(); ok; ok = h.Next() {
		if seen++; seen%cancelCheckChanges == 0 && ctx.Err() != nil {
			return ctx.Err()
		}
		key, at, err := h.Change()
		if err != nil {
			return err
		}
		if full, err := c.add(key, at, seen > c.w.hub.limits.CatchUpChanges); full || err != nil {
			return err
		}
	}
	return h.Err()
}

// add adds a change, if the watcher wants it, unless the batch ends with the revision before: since it is full, or much
// was read for it.
func (c *collecting) add(key []byte, at mvcc.Stamp, much bool) (full bool, err error) {
	if at.Main != c.at && c.at != 0 && (much || c.bytes >= c.read.bytes) {
		c.batch.Revision = c.at
		return true, nil
	}
	c.at = at.Main
	if !c.w.span.Contains(key) {
		return false, nil
	}
	e, err := c.w.readEvent(c.history, key, at, c.compact)
	if e != nil {
		c.batch.Events = append(c.batch.Events, e)
		c.bytes += len(e.Kv.Key) + len(e.Kv.Value) + len(e.PrevKv.GetKey()) + len(e.PrevKv.GetValue())
	}
	return false, err
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
