package fleet

import (
	"context"
	"maps"
	"slices"
	"sync"
	"time"

	"github.com/mimir-kv/mimir/replication/clock"
	"github.com/mimir-kv/mimir/replication/internal/wake"
	"github.com/mimir-kv/mimir/replication/timeline"
)

// Config is what a Watcher needs.
type Config struct {
	Regions  map[string][]string // other regions: name to addresses
	Ask      func(ctx context.Context, addr string) (Report, error)
	Clock    clock.Clock
	Interval time.Duration // between rounds
	Timeout  time.Duration // of one question
	// Heard is told of every report that is believed, nil for nobody. It does not block.
	Heard func(Report)
}

// cycle is how long it takes at most from the end of a round to that of the next.
func (c *Config) cycle() time.Duration { return c.Interval + c.Timeout }

// minGap is the least time between two rounds, however often Refresh is called.
const minGap = 20 * time.Millisecond

// Watcher asks the nodes of other regions how they are, in rounds, and keeps the last View. It is safe for concurrent
// use.
type Watcher struct {
	config  Config
	mu      sync.Mutex
	view    View
	first   map[string]time.Time // when a region was first heard
	learned map[string]*places   // of each region
	changed chan struct{}
	nudge   map[string]wake.Signal
}

// NewWatcher returns a Watcher that knows nothing yet.
func NewWatcher(c Config) *Watcher {
	w := &Watcher{config: c, changed: make(chan struct{}), nudge: map[string]wake.Signal{},
		first: map[string]time.Time{}, learned: map[string]*places{}}
	w.view.Regions = map[string]Region{}
	for name := range c.Regions {
		w.view.Regions[name] = Region{Name: name, Level: timeline.LevelNow}
		w.learned[name] = newPlaces(c.Regions[name])
		w.nudge[name] = wake.New()
	}
	return w
}

// Run asks until ctx ends.
func (w *Watcher) Run(ctx context.Context) {
	var wg sync.WaitGroup
	for name, addrs := range w.config.Regions {
		wg.Go(func() { w.watch(ctx, name, addrs) })
	}
	wg.Wait()
}

// View returns the last picture, and a channel that is closed when there is a newer one.
func (w *Watcher) View() (View, <-chan struct{}) {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.view, w.changed
}

// Addresses returns where to reach the region: its leader first, then who else answered, then the
// rest: those that are configured, and those that were learned.
func (w *Watcher) Addresses(region string) []string {
	v, _ := w.View()
	r := v.Regions[region]
	var list []string
	add := func(addr string) {
		if !slices.Contains(list, addr) {
			list = append(list, addr)
		}
	}
	if l := r.Leader(); l != nil {
		add(l.Asked)
	}
	for i := range r.Nodes {
		add(r.Nodes[i].Asked)
	}
	for _, a := range w.config.Regions[region] {
		add(a)
	}
	for _, a := range w.learnedOf(region) {
		add(a)
	}
	return list
}

// Learn takes where a node of another region says it is. What is said of a region that is not configured is not kept.
func (w *Watcher) Learn(region string, m timeline.Member) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if p := w.learned[region]; p != nil {
		p.learn(m)
	}
}

// learnedOf returns where nodes of a region are that are not where they are configured.
func (w *Watcher) learnedOf(region string) []string {
	w.mu.Lock()
	defer w.mu.Unlock()
	if p := w.learned[region]; p != nil {
		return p.addresses()
	}
	return nil
}

// hasWay reports whether that node of another region is reached at a configured address, by its own word.
func (w *Watcher) hasWay(region string, m timeline.Member) bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	p := w.learned[region]
	return p != nil && p.ways[m.ID] == m.PeerAddr
}

// Refresh begins a round for every region soon instead of at the next interval.
func (w *Watcher) Refresh() {
	for _, n := range w.nudge {
		n.Nudge()
	}
}

func (w *Watcher) watch(ctx context.Context, name string, addrs []string) {
	timer := w.config.Clock.NewTimer(w.config.Interval)
	defer timer.Stop()
	for {
		w.publish(newRound(w, name, addrs).run(ctx))
		timer.Reset(minGap)
		select {
		case <-ctx.Done():
			return
		case <-timer.C():
		}
		timer.Reset(w.config.Interval - minGap)
		select {
		case <-ctx.Done():
			return
		case <-w.nudge[name]:
		case <-timer.C():
		}
	}
}

// hear takes a report into the picture before its round has ended, if it has news of where writes go: who leads the
// region, or who is primary. The first round is waited for.
func (w *Watcher) hear(h Heard) {
	w.mu.Lock()
	defer w.mu.Unlock()
	r := w.view.Regions[h.Region]
	l := r.Leader()
	leads := h.Leader && (l == nil || l.Term < h.Term)
	if r.Tries == 0 || !leads && !timeline.Supersedes(h.Claim, w.view.Claim(timeline.Reign{})) {
		return
	}
	r.Nodes = append(slices.DeleteFunc(slices.Clone(r.Nodes), func(o Heard) bool { return o.Asked == h.Asked }), h)
	r.Err, r.Unled = nil, r.Unled && !leads
	before := w.view.Regions[h.Region]
	r.remember(before)
	r.count(&before, w.config.Clock.Now(), w.config.cycle())
	w.show(r)
}

func (w *Watcher) publish(r Region) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.learned[r.Name].hear(&r)
	before, now := w.view.Regions[r.Name], w.config.Clock.Now()
	r.Tries = before.Tries + 1
	r.remember(before)
	r.count(&before, now, w.config.cycle())
	if len(r.Nodes) > 0 && r.Leader() == nil {
		if w.first[r.Name].IsZero() {
			w.first[r.Name] = now
		}
		r.Unled = now.Sub(w.first[r.Name]) < w.config.Interval
	}
	w.show(r)
}

// show makes r a part of the picture. The caller holds mu.
func (w *Watcher) show(r Region) {
	next := View{Regions: maps.Clone(w.view.Regions)}
	next.Regions[r.Name] = r
	w.view = next
	close(w.changed)
	w.changed = make(chan struct{})
}
