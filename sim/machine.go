package sim

import (
	"sync"
	"time"

	"github.com/mimir-kv/mimir/replication/clock"
)

// machine is the clock of a machine that runs at a rate of its own, is set, and stands still. It is safe for
// concurrent use.
type machine struct {
	mu      sync.Mutex
	rate    float64
	from    time.Time     // when it was read last before something changed
	elapsed time.Duration // the lease clock, then
	ahead   time.Duration // of the lease clock the wall clock is
	frozen  bool          // nothing runs
	stands  bool          // neither do the clocks
	timers  map[*machineTimer]struct{}
}

func newMachine(rate float64) *machine {
	now := time.Now()
	return &machine{
		rate: rate, from: now, ahead: time.Duration(now.UnixNano()), timers: map[*machineTimer]struct{}{},
	}
}

// Elapsed implements clock.Clock.
func (m *machine) Elapsed() time.Duration {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.readLocked()
}

func (m *machine) readLocked() time.Duration {
	if m.stands {
		return m.elapsed
	}
	return m.elapsed + time.Duration(float64(time.Since(m.from))*m.rate)
}

// Now implements clock.Clock. It has no monotonic reading beside the wall clock.
func (m *machine) Now() time.Time {
	m.mu.Lock()
	defer m.mu.Unlock()
	return time.Unix(0, int64(m.ahead+m.readLocked()))
}

// set moves the wall clock.
func (m *machine) set(by time.Duration) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.ahead += by
}

// freeze has no timer fire before thaw; stands says that the clocks stand, too, and notice nothing.
func (m *machine) freeze(stands bool) { m.change(func() { m.frozen, m.stands = true, stands }) }

func (m *machine) thaw() { m.change(func() { m.frozen, m.stands = false, false }) }

func (m *machine) change(f func()) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.elapsed = m.readLocked()
	m.from = time.Now()
	f()
	for t := range m.timers {
		t.armLocked()
	}
}

// NewTimer implements clock.Clock.
func (m *machine) NewTimer(d time.Duration) clock.Timer { return m.newTimer(d, 0) }

// NewTicker implements clock.Clock.
func (m *machine) NewTicker(d time.Duration) clock.Timer { return m.newTimer(d, d) }

func (m *machine) newTimer(d, every time.Duration) clock.Timer {
	t := &machineTimer{machine: m, every: every, fired: make(chan time.Time, 1)}
	t.Reset(d)
	return t
}

// machineTimer is a timer, or a ticker.
type machineTimer struct {
	machine *machine
	fired   chan time.Time
	every   time.Duration // zero: once
	due     time.Duration // by the lease clock
	alarm   *time.Timer
}

// C implements clock.Timer.
func (t *machineTimer) C() <-chan time.Time { return t.fired }

// Stop implements clock.Timer.
func (t *machineTimer) Stop() {
	t.machine.mu.Lock()
	defer t.machine.mu.Unlock()
	t.stopLocked()
}

func (t *machineTimer) stopLocked() {
	delete(t.machine.timers, t)
	if t.alarm != nil {
		t.alarm.Stop()
	}
	select {
	case <-t.fired:
	default:
	}
}

// Reset implements clock.Timer.
func (t *machineTimer) Reset(d time.Duration) {
	m := t.machine
	m.mu.Lock()
	defer m.mu.Unlock()
	t.stopLocked()
	if t.every > 0 {
		t.every = d
	}
	t.due = m.readLocked() + d
	m.timers[t] = struct{}{}
	t.armLocked()
}

func (t *machineTimer) armLocked() {
	if t.alarm != nil {
		t.alarm.Stop()
	}
	if m := t.machine; !m.frozen {
		in := time.Duration(float64(t.due-m.readLocked()) / m.rate)
		t.alarm = time.AfterFunc(max(in, 1), t.fire)
	}
}

func (t *machineTimer) fire() {
	m := t.machine
	m.mu.Lock()
	defer m.mu.Unlock()
	switch _, live := m.timers[t]; {
	case !live || m.frozen:
		return
	case m.readLocked() < t.due: // it was rounded, or armed anew
		t.armLocked()
		return
	}
	select {
	case t.fired <- m.from:
	default:
	}
	if t.every == 0 {
		delete(m.timers, t)
		return
	}
	t.due += t.every
	t.armLocked()
}
