package kv

import (
	"maps"
	"slices"
	"sync/atomic"

	"go.etcd.io/etcd/api/v3/mvccpb"
	"google.golang.org/protobuf/proto"
)

// watcherSet is all watchers of a store, found by key. It is guarded by Store.mu, except wanted.
type watcherSet struct {
	all    map[*Watcher]struct{}
	points map[string][]*Watcher
	ranges rangeIndex
	// withPrevious counts the watchers that want previous key-values.
	withPrevious int
	// generation counts how often the content of the store was replaced.
	generation uint64
	// ended is set once the store is closed.
	ended  error
	limits watchLimits
	level  atomic.Int32
}

func (ws *watcherSet) init() {
	ws.all = map[*Watcher]struct{}{}
	ws.points = map[string][]*Watcher{}
	ws.limits = defaultWatchLimits
}

// wanted says what a run has to gather. A watcher that comes too late for a run reads from disk what the run did not gather.
func (ws *watcherSet) wanted() collectLevel { return collectLevel(ws.level.Load()) }

func (ws *watcherSet) add(w *Watcher) {
	ws.all[w] = struct{}{}
	if w.span.single() {
		key := string(w.span.start)
		ws.points[key] = append(ws.points[key], w)
	} else {
		ws.ranges.add(w)
	}
	if w.request.PrevKV {
		ws.withPrevious++
	}
	ws.setLevel()
}

func (ws *watcherSet) remove(w *Watcher) {
	if _, ok := ws.all[w]; !ok {
		return
	}
	delete(ws.all, w)
	if w.span.single() {
		key := string(w.span.start)
		rest := without(ws.points[key], w)
		if ws.points[key] = rest; len(rest) == 0 {
			delete(ws.points, key)
		}
	} else {
		ws.ranges.remove(w)
	}
	if w.request.PrevKV {
		ws.withPrevious--
	}
	ws.setLevel()
}

func without(list []*Watcher, w *Watcher) []*Watcher {
	i := slices.Index(list, w)
	last := len(list) - 1
	list[i], list[last] = list[last], nil
	return list[:last]
}

func (ws *watcherSet) setLevel() {
	level := collectNothing
	switch {
	case ws.withPrevious > 0:
		level = collectEventsWithPrevious
	case len(ws.all) > 0:
		level = collectEvents
	}
	ws.level.Store(int32(level))
}

func (ws *watcherSet) endAll(err error) {
	ws.ended = err
	for w := range maps.Clone(ws.all) {
		w.end(err)
		ws.remove(w)
	}
}

func (ws *watcherSet) replaced(old, now *state) {
	ws.generation++
	for w := range ws.all {
		w.replaced(old, now)
	}
}

// slow counts the watchers that read from disk.
func (ws *watcherSet) slow() (n int) {
	for w := range ws.all {
		if p := &w.position; p.err == nil && (!p.synced || p.diskFrom != 0) {
			n++
		}
	}
	return n
}

// publish hands the changes of a run, which brought the store from state before to its own, to the watchers.
func (ws *watcherSet) publish(before *state, r *run) {
	from, to := before.revision, r.state.revision
	if len(ws.all) == 0 {
		return
	}
	if len(r.state.gaps) > len(before.gaps) {
		ws.endInGap(r.state)
	}
	if r.collect < ws.wanted() {
		for w := range ws.all {
			if w.position.synced && (r.collect < collectEvents || w.request.PrevKV) {
				w.fallBehind(from)
			}
		}
	}
	pending := map[*Watcher]*pendingEvents{}
	for i := range r.changes {
		c := sharedChange{change: &r.changes[i]}
		for _, w := range ws.points[string(c.key)] {
			c.offer(w, pending)
		}
		ws.ranges.visit(c.key, func(w *Watcher) { c.offer(w, pending) })
	}
	for w, p := range pending {
		w.publish(p.events, p.bytes, from, to)
	}
}

// endInGap ends the watchers that wait for a revision which a lossy reign has just jumped over.
func (ws *watcherSet) endInGap(now *state) {
	for w := range ws.all {
		if base := now.inGap(w.minimum); base != 0 {
			w.end(&CompactedError{Revision: base})
		}
	}
}

type pendingEvents struct {
	events []*mvccpb.Event
	bytes  int
}

// sharedChange makes the events of a change when they are first wanted: one with the previous key-value and one without,
// each shared by all watchers.
type sharedChange struct {
	*change
	plain, withPrevious *mvccpb.Event
	bytes               int
}

func (c *sharedChange) offer(w *Watcher, pending map[*Watcher]*pendingEvents) {
	if !w.position.synced || !w.wants(c.now.kind, c.now.main) {
		return
	}
	p := pending[w]
	if p == nil {
		p = &pendingEvents{}
		pending[w] = p
	}
	p.events = append(p.events, c.event(w.request.PrevKV))
	p.bytes += c.bytes
}

// wants reports whether w is to see a change of its keys of this kind at this revision.
func (w *Watcher) wants(kind byte, revision int64) bool {
	if revision < w.minimum {
		return false
	}
	if kind == kindDelete {
		return !w.request.NoDelete
	}
	return !w.request.NoPut
}

func (c *sharedChange) event(withPrevious bool) *mvccpb.Event {
	if c.plain == nil {
		c.plain = newEvent(c.now.kind, c.now.keyValue(c.key), nil)
		c.bytes = proto.Size(c.plain)
	}
	if !withPrevious || c.prev == nil {
		return c.plain
	}
	if c.withPrevious == nil {
		c.withPrevious = newEvent(c.now.kind, c.plain.Kv, c.prev)
	}
	return c.withPrevious
}

func newEvent(kind byte, kv, prev *mvccpb.KeyValue) *mvccpb.Event {
	e := &mvccpb.Event{Type: mvccpb.Event_PUT, Kv: kv, PrevKv: prev}
	if kind == kindDelete {
		e.Type = mvccpb.Event_DELETE
	}
	return e
}
