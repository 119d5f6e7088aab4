package watch

import (
	"go.etcd.io/etcd/api/v3/mvccpb"
	"google.golang.org/protobuf/proto"

	"github.com/mimir-kv/mimir/kv/mvcc"
)

// Level is how much of its changes a batch gathers for watchers.
type Level int32

const (
	Nothing Level = iota
	Events
	EventsWithPrevious
)

// Change is a change of a batch. Key, the value of Now and Prev may alias the batch while it is published, not longer.
type Change struct {
	Key  []byte
	Now  mvcc.Version
	Prev *mvccpb.KeyValue // nil if there was none, or if the level did not ask for it
}

// Written is what a batch changed, in order, as far as it was gathered.
type Written struct {
	Level   Level
	Changes []Change
}

// pendingEvents are those of one batch for one watcher.
type pendingEvents struct {
	events []*mvccpb.Event
	bytes  int
}

// sharedChange makes the events of a change when they are first wanted: one with the previous key-value and one
// without, each shared by all watchers.
type sharedChange struct {
	*Change
	plain, withPrevious *mvccpb.Event
	bytes, allBytes     int // of the one and the other
}

func (c *sharedChange) offer(w *Watcher, pending map[*Watcher]*pendingEvents) {
	if !w.position.synced || !w.wants(c.Now.Kind, c.Now.Main) {
		return
	}
	p := pending[w]
	if p == nil {
		p = &pendingEvents{}
		pending[w] = p
	}
	e, bytes := c.event(w.request.PrevKV)
	p.events = append(p.events, e)
	p.bytes += bytes
}

func (c *sharedChange) event(withPrevious bool) (e *mvccpb.Event, bytes int) {
	if c.plain == nil {
		c.plain = newEvent(c.Now.Kind, c.Now.KeyValue(c.Key), nil)
		c.bytes = proto.Size(c.plain)
	}
	if !withPrevious || c.Prev == nil {
		return c.plain, c.bytes
	}
	if c.withPrevious == nil {
		c.withPrevious = newEvent(c.Now.Kind, c.plain.Kv, c.Prev)
		c.allBytes = proto.Size(c.withPrevious)
	}
	return c.withPrevious, c.allBytes
}

func newEvent(kind byte, kv, prev *mvccpb.KeyValue) *mvccpb.Event {
	e := &mvccpb.Event{Type: mvccpb.Event_PUT, Kv: kv, PrevKv: prev}
	if kind == mvcc.KindDelete {
		e.Type = mvccpb.Event_DELETE
	}
	return e
}
