package sim

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"sync"
	"time"

	"github.com/mimir-kv/mimir/replication/timeline"
	"github.com/mimir-kv/mimir/replication/transport"
)

// quiet is for how long nothing must have happened to a node so that everybody has heard what version it is.
const quiet = 5 * time.Second

// laterServices are the streams that nodes of a level do not know.
var laterServices = map[timeline.Level][]string{
	timeline.LevelFirst:  {"propose/3", "propose/2", "stream/2"},
	timeline.LevelPlaces: {"propose/3", "propose/2", "stream/2"},
	timeline.LevelKeep:   {"propose/3", "stream/2"},
}

// dated is the transport of a node of an earlier version, which neither offers nor opens later streams.
type dated struct {
	transport.Transport
	later []string
}

// Serve implements transport.Transport.
func (d dated) Serve(services map[string]transport.Handler) error {
	known := maps.Clone(services)
	for _, name := range d.later {
		delete(known, name)
	}
	return d.Transport.Serve(known)
}

// Open implements transport.Transport.
func (d dated) Open(ctx context.Context, addr, service string) (transport.Stream, error) {
	if slices.Contains(d.later, service) {
		return nil, fmt.Errorf("%w: %s", transport.ErrNoService, service)
	}
	return d.Transport.Open(ctx, addr, service)
}

// transport returns what the member's next process reaches others by.
func (m *member) transport() transport.Transport {
	t := m.fleet.network.Node(m.name)
	if later := laterServices[m.level]; later != nil {
		return dated{t, later}
	}
	return t
}

// drawLevels makes about half of the nodes ones of earlier versions.
func (f *fleet) drawLevels() {
	r := stream(f.plan.seed, "versions")
	for _, m := range f.members {
		m.level = timeline.LevelNow
		if f.plan.inject[injectVersions] {
			m.level = pick(r, timeline.LevelFirst, timeline.LevelPlaces, timeline.LevelKeep, timeline.LevelNow,
				timeline.LevelNow, timeline.LevelNow)
		}
	}
}

// upgrades are what is done to nodes of earlier versions.
type upgrades struct{ *faults }

// upgrade stops a node of an earlier version, or finds one that does not run, and starts it as one of a later one. At
// times it has a primary forced before, while all nodes run and know each other's versions.
func (x upgrades) upgrade(ctx context.Context) {
	if x.fleet.plan.forced && len(x.fleet.plan.regions) > 1 && x.random.IntN(2) == 0 {
		x.forceInQuiet(ctx)
	}
	var older []*member
	for _, m := range x.fleet.members {
		if m.level < timeline.LevelNow && m.status.exists() {
			older = append(older, m)
		}
	}
	if len(older) == 0 {
		return
	}
	m := older[x.random.IntN(len(older))]
	m.stop()
	x.raise(m, m.level+timeline.Level(1+x.random.IntN(int(timeline.LevelNow-m.level))))
	m.start(ctx)
}

// upgradeAll ends a rolling upgrade.
func (x upgrades) upgradeAll(ctx context.Context) {
	raised := false
	for _, m := range x.fleet.members {
		if m.status.exists() && m.level < timeline.LevelNow {
			m.stop()
			x.raise(m, timeline.LevelNow)
			m.start(ctx)
			raised = true
			x.wait(500 * time.Millisecond)
		}
	}
	if raised {
		x.heal(ctx)
		x.startAll(ctx)
		x.wait(quiet)
	}
}

func (x upgrades) raise(m *member, to timeline.Level) {
	x.tell("%s is upgraded from level %d to %d", m.name, m.level, to)
	x.fleet.happened.note(injectVersions)
	m.raise(to)
}

func (m *member) raise(to timeline.Level) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.level = to
}

// forceInQuiet has a region take over by force after nothing has happened for a while.
func (x upgrades) forceInQuiet(ctx context.Context) {
	x.fleet.network.HealAll()
	x.noteCut(time.Now())
	x.fleet.startAll(ctx)
	x.wait(quiet + time.Second)
	x.failover(ctx)
	x.wait(time.Second)
}

// replaceIf upgrades a node that ended because it met what it does not understand.
func (m *member) replaceIf(err error) {
	if m.outdated(err) {
		m.raise(timeline.LevelNow)
		m.again = true
	}
}

// tend clears away what ended, and starts again what was upgraded for that.
func (f *fleet) tend(ctx context.Context) {
	f.takeOver(ctx)
	for _, m := range f.members {
		m.bury()
		if m.again && m.current() == nil {
			m.again = false
			m.start(ctx)
		}
	}
}

// tendOn tends the fleet until the function that it returns has been called.
func (f *fleet) tendOn(ctx context.Context) (end func()) {
	ended := make(chan struct{})
	var tending sync.WaitGroup
	tending.Go(func() {
		for {
			select {
			case <-ended:
				return
			case <-time.After(100 * time.Millisecond):
				f.tend(ctx)
			}
		}
	})
	return func() {
		close(ended)
		tending.Wait()
	}
}

// outdated reports whether an error is that of a node of an earlier version which met what it does not understand. That
// is right only if the others could not know of it.
func (m *member) outdated(err error) bool {
	return m.level < timeline.LevelNow && errors.Is(err, timeline.ErrVersion)
}

// unplaced reports whether a reign was forced in the way of the first versions.
func (l *lineage) unplaced() bool {
	for _, reigns := range l.reigns {
		if slices.ContainsFunc(reigns, func(r timeline.Reign) bool { return r.Lossy && r.Place == 0 }) {
			return true
		}
	}
	return false
}

// disturb notes that until this time nodes may not hear of each other.
func (f *fleet) disturb(until time.Time) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if until.After(f.calm) {
		f.calm = until
	}
}

// cut notes that the network is not whole until this time, whatever was noted before.
func (f *fleet) cut(until time.Time) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.cutUntil = until
}

// older returns the name of a node that runs, does not understand what is of a level, and is known to all others, since
// it is one of its region; "" if there is none.
func (f *fleet) older(level timeline.Level) string {
	before := time.Now().Add(-quiet)
	f.mu.Lock()
	calm := f.calm.Before(before) && f.cutUntil.Before(before)
	f.mu.Unlock()
	for _, m := range f.members {
		m.mu.Lock()
		in, known := m.status.belongs()
		old := calm && in && known && m.level < level
		is := old && m.process != nil && !m.process.gone.Load() && m.started.Before(before)
		m.mu.Unlock()
		if is {
			return m.name
		}
	}
	return ""
}
