package sim

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"sync"
	"time"

	"go.etcd.io/etcd/api/v3/mvccpb"

	"github.com/mimir-kv/mimir/kv"
	"github.com/mimir-kv/mimir/kv/watch"
	"github.com/mimir-kv/mimir/replication"
)

// sight is what a watcher saw from a revision on, until it was told that the history does not have what comes next.
type sight struct {
	from   int64
	events []*mvccpb.Event
	node   string // that ended it; empty: it was followed to the end
	next   int64  // what was wanted when it ended
	base   int64  // where the history begins, as the end says
}

// watcher follows everything at one node after the other, as a client that resumes where it was.
type watcher struct {
	fleet  *fleet
	name   string
	random *rand.Rand
	next   int64 // the revision to resume at
	sights []*sight
}

// watchers are those of a run. run and finish are called one after the other.
type watchers struct {
	list  []*watcher
	going sync.WaitGroup
}

const watcherCount = 3

func newWatchers(f *fleet) *watchers {
	w := &watchers{}
	if !f.plan.inject[injectWatch] || f.plan.storage != storageKV {
		return w
	}
	for i := range watcherCount {
		name := fmt.Sprintf("watcher%d", i)
		w.list = append(w.list, &watcher{
			fleet: f, name: name, random: stream(f.plan.seed, name), next: 1, sights: []*sight{{from: 1}},
		})
	}
	return w
}

// start has all of them watch until the context ends.
func (w *watchers) start(ctx context.Context) {
	for _, o := range w.list {
		w.going.Go(func() { o.run(ctx) })
	}
}

func (o *watcher) run(ctx context.Context) {
	for ctx.Err() == nil {
		if list := o.fleet.running(); len(list) > 0 {
			patience := pick(o.random, 100*time.Millisecond, time.Second, 5*time.Second)
			o.watchAt(ctx, list[o.random.IntN(len(list))], patience)
		}
		time.Sleep(time.Duration(1+o.random.IntN(300)) * time.Millisecond)
	}
}

// watchAt watches at a node for a while.
func (o *watcher) watchAt(ctx context.Context, p *process, d time.Duration) {
	ctx, cancel := context.WithTimeout(ctx, d)
	defer cancel()
	w, err := p.storage.(*kv.Store).Watch(everything(o.next))
	if err != nil {
		return
	}
	defer w.Close()
	for o.take(ctx, p, w) {
		if o.random.IntN(4) == 0 { // others write meanwhile
			time.Sleep(time.Duration(o.random.IntN(400)) * time.Millisecond)
		}
	}
}

func everything(from int64) watch.Request {
	return watch.Request{Key: []byte{0}, RangeEnd: []byte{0}, StartRevision: from}
}

// take takes the next batch, and reports whether there may be another one. What a process says after its power failed
// was never heard.
func (o *watcher) take(ctx context.Context, p *process, w *watch.Watcher) bool {
	b, err := w.Next(ctx)
	var compacted *watch.CompactedError
	now := o.sights[len(o.sights)-1]
	switch {
	case p.gone.Load():
		return false
	case errors.As(err, &compacted):
		now.node, now.next, now.base = p.NodeID(), o.next, compacted.Revision
		o.fleet.trace.tell("%s at %s: wants %d: %v", o.name, now.node, o.next, err)
		o.next = compacted.Revision
		o.sights = append(o.sights, &sight{from: o.next})
		return false
	case err != nil:
		return false
	}
	now.events = append(now.events, b.Events...)
	if len(b.Events) > 0 {
		o.fleet.happened.note(injectWatch)
	}
	o.next = b.Revision + 1
	return true
}

// finish has all of them see the rest at some node, once nothing is written any more.
func (w *watchers) finish(ctx context.Context, list []*process) {
	if len(w.list) == 0 || len(list) == 0 {
		return
	}
	events, err := historyOf(list[0].auditor.at.Load())
	if err != nil || len(events) == 0 {
		return // the check says so
	}
	last := events[len(events)-1].Kv.ModRevision
	for _, o := range w.list {
		p := list[o.random.IntN(len(list))]
		for deadline := time.Now().Add(lastWrites); o.next <= last; {
			if time.Now().After(deadline) {
				o.fleet.trace.wrong("11", "%s does not come further than revision %d at %s, which is at %d", o.name,
					o.next, p.NodeID(), last)
				break
			}
			o.watchAt(ctx, p, time.Second)
		}
	}
}

// checkWatchers checks that everything seen is the final history, each event once and in order, or was followed by an
// end that says so (invariant 11).
func (e *evidence) checkWatchers(end *place, wrong report) {
	if len(e.watchers.list) == 0 {
		return
	}
	if e.fleet.lineage.unplaced() {
		return // by a node that knows of no blocks of revisions: the ones that it serves may come back
	}
	history, err := historyOf(end)
	if err != nil {
		wrong("11", "replaying the final history for watchers: %v", err)
		return
	}
	known := map[string]bool{}
	for _, ev := range history {
		known[nameOf(ev)] = true
	}
	forced, compact := e.fleet.lineage.forced(), e.final[0].compact
	for _, o := range e.watchers.list {
		for _, s := range o.sights {
			s.check(o.name, history, known, wrong)
			if s.node != "" && !forced && (s.base < s.next || s.base > compact) {
				wrong("11", "%s at %s: revision %d is said to be compacted up to %d; the history is compacted at %d, "+
					"and nothing was forced", o.name, s.node, s.next, s.base, compact)
			}
		}
	}
}

func nameOf(e *mvccpb.Event) string {
	return fmt.Sprintf("%v of %q at %d to %q", e.Type, e.Kv.Key, e.Kv.ModRevision, e.Kv.Value)
}

func (s *sight) check(name string, history []*mvccpb.Event, known map[string]bool, wrong report) {
	for len(history) > 0 && history[0].Kv.ModRevision < s.from {
		history = history[1:]
	}
	short := func(e *mvccpb.Event) string {
		return fmt.Sprintf("%v of %q at %d", e.Type, e.Kv.Key, e.Kv.ModRevision)
	}
	for i, ev := range s.events {
		if i < len(history) && nameOf(ev) == nameOf(history[i]) {
			continue
		}
		for _, later := range s.events[i:] {
			if known[nameOf(later)] {
				want := "nothing"
				if i < len(history) {
					want = short(history[i])
				}
				wrong("11", "%s, from revision %d on, saw %s where the history has %s, and %s later, and no error",
					name, s.from, short(ev), want, short(later))
				return
			}
		}
		if s.node == "" {
			wrong("11", "%s, from revision %d on, saw %s, which the history does not have, and was not told", name,
				s.from, short(ev))
		}
		return
	}
	if s.node == "" && len(s.events) < len(history) {
		wrong("11", "%s, from revision %d on, saw %d events, and the history has %d", name, s.from, len(s.events),
			len(history))
	}
}

// historyOf returns all events of the history that leads to a place.
func historyOf(end *place) ([]*mvccpb.Event, error) {
	s, err := newReplay()
	if err != nil {
		return nil, err
	}
	defer s.Close()
	w, err := s.Watch(everything(1))
	if err != nil {
		return nil, err
	}
	defer w.Close()
	var events []*mvccpb.Event
	for _, p := range end.path() {
		if err := applyTo(s, p); err != nil {
			return nil, err
		}
		for w.Progress() < s.Revision() {
			if err := w.Ready(context.Background()); err != nil {
				return nil, err
			}
			b, err := w.Take()
			if err != nil {
				return nil, err
			}
			events = append(events, b.Events...)
		}
	}
	return events, nil
}

// applyTo applies what leads to a place to a store that is at the one before.
func applyTo(s *kv.Store, p *place) error {
	meta := &replication.Metadata{Epoch: p.epoch, Position: p.position, Chain: p.chain}
	if p.reign != nil {
		return s.Begin(*p.reign, meta)
	}
	_, err := s.Apply(&replication.Batch{
		Epoch: p.epoch, First: p.position, Commands: []replication.Command{{Data: []byte(p.data)}}, Metadata: meta,
	})
	return err
}
