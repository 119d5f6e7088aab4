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
	Regions  map[string][]string // other regions to begin with: name to addresses
	Ask      func(ctx context.Context, addr string) (Report, error)
	Clock    clock.Clock
	Interval time.Duration // between rounds
	Timeout  time.Duration // of one question
	// Anew returns a context of questions whose failure is none that was known before; nil: none is. See RefreshAnew.
	Anew func(ctx context.Context) context.Context
	// Heard is told of every report that is believed, nil for nobody. It does not block.
	Heard func(Heard)
}

// cycle is how long it takes at most from the end of a round to that of the next.
func (c *Config) cycle() time.Duration { return c.Interval + c.Timeout }

// minGap is the least time between two rounds, however often Refresh is called.
const minGap = 20 * time.Millisecond

// Watcher asks the nodes of other regions how they are, in rounds, and keeps the last View. Regions come and go while
// it runs. It is safe for concurrent use.
type Watcher struct {
	config  Config
	mu      sync.Mutex
	view    View
	watched map[string]*watched // by region
	changed chan struct{}
	moved   wake.Signal // watched is not what it was
}

// watched is a region that is asked. It is made anew when the region comes back.
type watched struct {
	name  string
	nudge wake.Signal
	// Guarded by the Watcher's mu:
	addrs    []string // where to ask first
	learned  *places
	first    time.Time          // when it was first heard
	prospect *Region            // what is known of a region that is not part of the picture yet; else nil
	former   bool               // it was removed, and is asked for what it claims alone
	anew     bool               // somebody decides by the next round, as by the first one
	stop     context.CancelFunc // of the rounds, nil before they began
}

// NewWatcher returns a Watcher that knows nothing yet.
func NewWatcher(c Config) *Watcher {
	w := &Watcher{config: c, changed: make(chan struct{}), watched: map[string]*watched{}, moved: wake.New()}
	w.view.Regions = map[string]Region{}
	w.Set(c.Regions)
	return w
}

// unheard is what is known of a region at first.
func unheard(name string) Region { return Region{Name: name, Level: timeline.LevelNow} }

// Set has it ask these regions, and no others: what was known of those that are gone is forgotten. A region that was
// expected is part of the picture with what was heard of it.
func (w *Watcher) Set(regions map[string][]string) { w.SetWith(regions, nil) }

// SetWith is Set, and has it ask those that were removed from the fleet for what they claim, which goes on as it was
// known. None is among regions.
func (w *Watcher) SetWith(regions, former map[string][]string) {
	w.mu.Lock()
	defer w.mu.Unlock()
	for name, o := range w.watched {
		if _, is := former[name]; o.former && !is {
			w.drop(o) // it is asked as another one from now on
		}
	}
	was := map[string]Region{}
	for name, addrs := range former {
		known, is := w.view.Former[name]
		if !is {
			known, is = w.view.Regions[name] // so that nobody waits for its first answer
		}
		if !is {
			known = unheard(name)
		}
		was[name] = known
		if o := w.watched[name]; o == nil || o.prospect == nil { // else it is about to come again
			w.watch(name, addrs).former = true
		}
	}
	next, news := maps.Clone(w.view.Regions), false
	for name, addrs := range regions {
		o := w.watch(name, addrs)
		if _, shown := next[name]; shown {
			continue
		}
		next[name], news = unheard(name), true
		if o.prospect != nil {
			next[name], o.prospect = *o.prospect, nil
		}
	}
	for name, o := range w.watched {
		if _, wanted := regions[name]; !wanted && o.prospect == nil && !o.former {
			w.drop(o)
		}
	}
	for name := range next {
		if _, wanted := regions[name]; !wanted {
			delete(next, name)
			news = true
		}
	}
	if news || len(was) != len(w.view.Former) {
		w.replace(next, was)
	}
}

// watch returns the region of this name, which is asked at addrs from now on. The caller holds mu.
func (w *Watcher) watch(name string, addrs []string) *watched {
	o := w.watched[name]
	switch {
	case o == nil:
		o = &watched{name: name, nudge: wake.New(), addrs: addrs, learned: newPlaces(addrs), anew: true}
		w.watched[name] = o
		w.moved.Nudge()
	case !slices.Equal(o.addrs, addrs):
		o.addrs = addrs
		o.learned.configure(addrs)
	}
	return o
}

// drop ends asking a region. The caller holds mu.
func (w *Watcher) drop(o *watched) {
	delete(w.watched, o.name)
	if o.stop != nil {
		o.stop()
	}
}

// Expect has a region asked that is not part of the picture yet, until Set has it or Dismiss is called.
func (w *Watcher) Expect(name string, addrs []string) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if _, shown := w.view.Regions[name]; shown {
		return
	}
	if o := w.watched[name]; o != nil && o.former {
		w.drop(o)
	}
	if o := w.watch(name, addrs); o.prospect == nil {
		o.prospect = new(unheard(name))
	}
}

// Expected returns what was heard of a region that is expected, or that is part of the picture.
func (w *Watcher) Expected(name string) (r Region, known bool) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if o := w.watched[name]; o != nil && o.prospect != nil {
		return *o.prospect, true
	}
	r, known = w.view.Regions[name]
	return r, known
}

// At asks whoever is at an address, and for no longer than a question takes.
func (w *Watcher) At(ctx context.Context, addr string) (Report, error) {
	ctx, cancel := context.WithTimeout(ctx, w.config.Timeout)
	defer cancel()
	return w.config.Ask(ctx, addr)
}

// Dismiss ends Expect.
func (w *Watcher) Dismiss(name string) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if o := w.watched[name]; o != nil && o.prospect != nil {
		w.drop(o)
		if _, was := w.view.Former[name]; was {
			w.watch(name, o.addrs).former = true
		}
	}
}

// Run asks until ctx ends.
func (w *Watcher) Run(ctx context.Context) {
	var wg sync.WaitGroup
	defer wg.Wait()
	for {
		w.mu.Lock()
		for _, o := range w.watched {
			if o.stop == nil {
				var asking context.Context
				asking, o.stop = context.WithCancel(ctx)
				wg.Go(func() { w.rounds(asking, o) })
			}
		}
		w.mu.Unlock()
		select {
		case <-ctx.Done():
			return
		case <-w.moved:
		}
	}
}

// View returns the last picture, and a channel that is closed when there is a newer one.
func (w *Watcher) View() (View, <-chan struct{}) {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.view, w.changed
}

// Addresses returns where to reach the region: its leader first, then who else answered, then the
// rest: those that are configured, and those that were learned, but for those at which another region answered last, or
// a node of another life of this one.
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
	for _, a := range slices.Concat(w.addressesOf(region), w.learnedOf(region)) {
		if !w.strange(region, a) && !slices.ContainsFunc(r.Strange, func(h Heard) bool { return h.Asked == a }) {
			add(a)
		}
	}
	return list
}

// belongs takes note of whether a node of the region answered at an address.
func (w *Watcher) belongs(o *watched, addr string, is bool) {
	w.mu.Lock()
	defer w.mu.Unlock()
	o.learned.belongs(addr, is)
}

// strange reports whether a node of another region answered at an address of this one last.
func (w *Watcher) strange(region, addr string) bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	o := w.watched[region]
	return o != nil && o.learned.strange[addr]
}

// Learn takes where a node of another region says it is. What is said of a region that is not asked is not kept.
func (w *Watcher) Learn(region string, m timeline.Member) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if o := w.watched[region]; o != nil {
		o.learned.learn(m)
	}
}

// addressesOf returns where nodes of a region are said to be, by the configuration or the fleet's roster.
func (w *Watcher) addressesOf(region string) []string {
	w.mu.Lock()
	defer w.mu.Unlock()
	if o := w.watched[region]; o != nil {
		return o.addrs
	}
	return nil
}

// learnedOf returns where nodes of a region are that are not where they are configured.
func (w *Watcher) learnedOf(region string) []string {
	w.mu.Lock()
	defer w.mu.Unlock()
	if o := w.watched[region]; o != nil {
		return o.learned.addresses()
	}
	return nil
}

// hasWay reports whether that node of another region is reached at a configured address, by its own word.
func (w *Watcher) hasWay(region string, m timeline.Member) bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	o := w.watched[region]
	return o != nil && o.learned.ways[m.ID] == m.PeerAddr
}

// Refresh begins a round for every region soon instead of at the next interval.
func (w *Watcher) Refresh() {
	w.mu.Lock()
	defer w.mu.Unlock()
	for _, o := range w.watched {
		o.nudge.Nudge()
	}
}

// RefreshAnew is Refresh for who decides by the silence of a region: in that round nobody is silent because it
// was known before that he cannot be reached.
func (w *Watcher) RefreshAnew() {
	w.mu.Lock()
	for _, o := range w.watched {
		o.anew = true
	}
	w.mu.Unlock()
	w.Refresh()
}

// asking returns the context of the next round, and when that begins: before it is known how it asks, so that a round
// that begins behind a RefreshAnew asks anew.
func (w *Watcher) asking(ctx context.Context, o *watched) (context.Context, time.Time) {
	w.mu.Lock()
	defer w.mu.Unlock()
	began, anew := w.config.Clock.Now(), o.anew
	o.anew = false
	if anew && w.config.Anew != nil {
		ctx = w.config.Anew(ctx)
	}
	return ctx, began
}

func (w *Watcher) rounds(ctx context.Context, o *watched) {
	timer := w.config.Clock.NewTimer(w.config.Interval)
	defer timer.Stop()
	for {
		asking, began := w.asking(ctx, o)
		w.publish(o, newRound(w, o).run(asking, began))
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
		case <-o.nudge:
		case <-timer.C():
		}
	}
}

// hear takes a report into the picture before its round has ended, if it has news of where writes go: who leads the
// region, or who is primary. The first round is waited for.
func (w *Watcher) hear(o *watched, h Heard) {
	w.mu.Lock()
	defer w.mu.Unlock()
	before := w.view.Regions[o.name]
	r, l := before, before.Leader()
	r.Nodes = append(slices.DeleteFunc(slices.Concat(r.Nodes, r.Strange), func(x Heard) bool {
		return x.Asked == h.Asked
	}), h)
	r.Strange = nil
	r.Separate(before.Life)
	now := r.Leader()
	leads := h.Leader && now != nil && now.Asked == h.Asked && (l == nil || l.Term < h.Term)
	if w.watched[o.name] != o || r.Tries == 0 ||
		!leads && !timeline.Supersedes(h.Claim, w.view.Claim(timeline.Reign{})) {
		return
	}
	r.Err, r.Unled = nil, r.Unled && !leads
	r.remember(before)
	r.count(&before, w.config.Clock.Now(), w.config.cycle())
	w.show(r)
}

// publish takes what a round has brought, unless the region is gone.
func (w *Watcher) publish(o *watched, r Region) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.watched[o.name] != o {
		return
	}
	before, now := w.view.Regions[r.Name], w.config.Clock.Now()
	if o.former {
		before = w.view.Former[r.Name]
	}
	if o.prospect != nil {
		before = *o.prospect
	}
	r.Separate(before.Life)
	o.learned.hear(&r)
	r.Tries = before.Tries + 1
	r.remember(before)
	r.count(&before, now, w.config.cycle())
	if len(r.Nodes) > 0 && r.Leader() == nil {
		if o.first.IsZero() {
			o.first = now
		}
		r.Unled = now.Sub(o.first) < w.config.Interval
	}
	switch {
	case o.prospect != nil:
		o.prospect = &r
	case o.former:
		former := maps.Clone(w.view.Former)
		former[r.Name] = r
		w.replace(w.view.Regions, former)
	default:
		w.show(r)
	}
}

// show makes r a part of the picture. The caller holds mu.
func (w *Watcher) show(r Region) {
	next := maps.Clone(w.view.Regions)
	next[r.Name] = r
	w.replace(next, w.view.Former)
}

// replace makes the picture one of these regions. The caller holds mu.
func (w *Watcher) replace(regions, former map[string]Region) {
	w.view = View{Regions: regions, Former: former}
	close(w.changed)
	w.changed = make(chan struct{})
}
