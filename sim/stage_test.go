package sim

import (
	"context"
	"fmt"
	"math/rand/v2"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/mimir-kv/mimir/replication"
	"github.com/mimir-kv/mimir/replication/clock"
)

// stage is a fleet of the regions a, which is primary, and b, and the witness w1, to which one thing happens, beside
// clients of each region who write and read as often as they are answered. One goroutine directs it.
type stage struct {
	*fleet
	ctx      context.Context
	evidence *evidence
	random   *rand.Rand
	machines map[string]*machine // where a row has them
	fault    time.Time           // when it happened
	mended   time.Time           // when it ended; zero: not before the checks
	reign    replication.Epoch   // before that
	said     []string            // what the row found beside, for the table
	accepted int                 // the loss that was told to somebody who accepted it; negative: nobody did

	mu    sync.Mutex
	deeds []deed
}

// deed is what a client was told: that a write is acknowledged, or a linearizable read confirmed.
type deed struct {
	region       string // of the client
	read         bool
	began, ended time.Time
	epoch        replication.Epoch
	regions      int // in which the write is durable
}

// Times of the fleet of every row, and what follows from them.
const (
	leaseTime, patience = 3 * time.Second, time.Second
	trip                = 80 * time.Millisecond
	renewEvery          = leaseTime / 6
	look                = leaseTime / 24 // how often it is looked whether one is due
	hold                = leaseTime * 99 / 101
	turn                = 100 * time.Millisecond // that a candidate waits beyond its patience, at most
	// local is what everything takes that crosses no border: syncs, and messages within a region.
	local = 60 * time.Millisecond
	// attempt is for how long a client waits for one answer, and pause for how long after it.
	attempt, pause = 300 * time.Millisecond, 40 * time.Millisecond
)

func planFor(r *row, seed uint64) (*plan, map[string]*machine) {
	e := &election{settings: replication.VoteSettings{
		Automatic: true, Lease: leaseTime, Patience: patience, DriftPPM: 10_000, MaxLoss: 10_000,
		Witnesses: map[string][]string{"w1": {"w1"}},
	}}
	if r.rules != nil {
		r.rules(&e.settings)
	}
	p := &plan{
		seed: seed, regions: []string{"a", "b"}, size: 1, sizes: map[string]int{"a": max(r.a, 1), "b": max(r.b, 1)},
		storage: storageLedger, payload: 1, slowSync: time.Millisecond, near: time.Millisecond, far: trip / 2,
		retainBytes: 8 << 30, forced: r.forced, inject: injections{injectVotes: true}, election: e,
	}
	if r.rates == nil {
		return p, nil
	}
	machines, random := map[string]*machine{}, stream(seed, "rates")
	p.clocks = func(name string) clock.Clock {
		machines[name] = newMachine(r.rates(name, random))
		return machines[name]
	}
	return p, machines
}

// play has r happen to a fleet, and returns what came of it, with what was wrong. It is called in a bubble.
func play(ctx context.Context, r *row, seed uint64) (*measured, *trace) {
	j := newTrace()
	p, machines := planFor(r, seed)
	e := &evidence{plan: p, fleet: newFleet(p, j), operations: &operations{}}
	s := &stage{fleet: e.fleet, ctx: ctx, evidence: e, random: stream(seed, "fault"), machines: machines,
		accepted: -1}
	s.startAll(ctx)
	s.elect()
	var clients sync.WaitGroup
	busy, end := context.WithCancel(ctx)
	for i, region := range p.regions {
		clients.Go(func() { s.client(busy, region, false, 2*i) })
		clients.Go(func() { s.client(busy, region, true, 2*i+1) })
	}
	s.until(time.Minute, "everybody supports the primary, and b takes writes", s.supported)
	time.Sleep(time.Duration(s.random.Int64N(int64(2 * renewEvery))))
	r.play(s)
	m := s.measure()
	end()
	clients.Wait()
	s.work.Wait()
	s.finish()
	m.lost = e.lost(s.reign)
	j.stop()
	return m, j
}

// supported reports whether all voters support the primary, and b takes writes.
func (s *stage) supported() bool {
	p := s.leader("a")
	if p == nil || p.Voting().Status() == nil {
		return false
	}
	for _, v := range p.Voting().Status().Voters {
		if !v.Supports {
			return false
		}
	}
	return s.has(func(d deed) bool { return d.region == "b" && !d.read })
}

// finish ends the fault, waits until the fleet has come together, ends it, and checks everything.
func (s *stage) finish() {
	e := s.evidence
	s.heal()
	s.startAll(s.ctx)
	e.converged = e.converge(s.ctx)
	for _, p := range s.running() {
		e.final = append(e.final, p.final(s.ctx))
	}
	for _, m := range s.members {
		m.stop()
	}
	for _, o := range s.observers {
		o.stop()
	}
	e.watchers = newWatchers(s.fleet)
	e.check(s.trace.wrong)
}

// client writes, or reads, at nodes of a region, at the next one whenever it is not answered.
func (s *stage) client(ctx context.Context, region string, read bool, number int) {
	c := newClient(s.fleet, s.evidence.operations, number)
	at := 0
	for ctx.Err() == nil {
		time.Sleep(pause)
		list := slices.DeleteFunc(s.running(), func(p *process) bool { return p.member.region != region })
		if len(list) == 0 {
			continue
		}
		p := list[at%len(list)]
		for until := time.Now().Add(attempt); p.frozen.Load() && time.Now().Before(until); { // it hears nothing yet
			time.Sleep(time.Millisecond)
		}
		if p.frozen.Load() {
			at++
			continue
		}
		if !s.try(ctx, c, p, read, attempt) {
			at++
		}
	}
}

// patient has somebody write at a process who waits longer than the others.
func (s *stage) patient(p *process) {
	c := newClient(s.fleet, s.evidence.operations, 8)
	s.work.Go(func() { s.try(s.ctx, c, p, false, 20*time.Second) })
}

func (s *stage) try(ctx context.Context, c *client, p *process, read bool, timeout time.Duration) bool {
	ctx, cancel := context.WithTimeout(ctx, timeout)
	defer cancel()
	d := deed{region: p.member.region, read: read, began: time.Now()}
	if read {
		o, ok := c.read(ctx, p)
		if !ok {
			return false
		}
		d.epoch = o.seen.epoch
	} else {
		c.writes++
		o := c.order(ctx, p, nil, fmt.Appendf(nil, "%s/%d", c.name, c.writes))
		if o.outcome != acknowledged || o.short {
			return false
		}
		d.epoch, d.regions = o.epoch, o.regions
	}
	d.ended = time.Now()
	s.mu.Lock()
	defer s.mu.Unlock()
	s.deeds = append(s.deeds, d)
	return true
}

func (s *stage) has(is func(deed) bool) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return slices.ContainsFunc(s.deeds, is)
}

// hit notes that the fault happens now.
func (s *stage) hit() {
	s.tell("the fault")
	s.fault, s.reign = time.Now(), s.running()[0].auditor.at.Load().epoch
}

func (s *stage) tell(format string, args ...any) { s.trace.tell(format, args...) }

// demand notes that the row is not as it says if is does not hold.
func (s *stage) demand(is bool, format string, args ...any) {
	if !is {
		s.trace.wrong("13", format, args...)
	}
}

// until waits until is holds, and notes that the row is not as it says if that takes longer than d.
func (s *stage) until(d time.Duration, what string, is func() bool) {
	for deadline := time.Now().Add(d); !is(); time.Sleep(time.Millisecond) {
		if time.Now().After(deadline) {
			s.trace.wrong("13", "not within %v: %s", d, what)
			return
		}
	}
}

// moves waits until writes are acknowledged in a later epoch, and a while longer.
func (s *stage) moves() {
	s.until(30*time.Second, "writes are acknowledged in a later epoch", func() bool {
		return s.has(func(d deed) bool { return !d.read && d.epoch > s.reign })
	})
	time.Sleep(time.Second)
}

// stays waits for as long as another region would need to take over.
func (s *stage) stays() { time.Sleep(takeover.most + 4*trip) }

// mend ends the fault as far as f does, and waits until writes are acknowledged.
func (s *stage) mend(f func()) {
	s.tell("the fault ends")
	f()
	s.mended = time.Now()
	s.until(30*time.Second, "writes are acknowledged after the fault", func() bool {
		return s.has(func(d deed) bool { return !d.read && d.ended.After(s.mended) })
	})
}

// leader returns the process that leads a region, nil if none does.
func (s *stage) leader(region string) *process {
	for _, p := range s.running() {
		if p.member.region == region && p.IsLeader() {
			return p
		}
	}
	return nil
}

// of returns the processes of a region, its leader last.
func (s *stage) of(region string) (list []*process) {
	leader := s.leader(region)
	for _, p := range s.running() {
		if p.member.region == region && p != leader {
			list = append(list, p)
		}
	}
	return append(list, leader)
}

func (s *stage) kill(list ...*process) {
	for _, p := range list {
		p.lose()
	}
	for _, p := range list {
		p.member.bury()
	}
}

// freeze has processes stand still for d, with their machines' clocks if stands says so.
func (s *stage) freeze(d time.Duration, stands bool, list ...*process) {
	for _, p := range list {
		s.tell("%s stands still for %v", p.NodeID(), d)
		s.machines[p.NodeID()].freeze(stands)
		s.network.Isolate(p.NodeID())
		p.disk.hang(d, "")
		p.frozen.Store(true)
	}
	s.work.Go(func() {
		time.Sleep(d)
		for _, p := range list {
			p.frozen.Store(false)
			s.machines[p.NodeID()].thaw()
			s.network.Reconnect(p.NodeID())
			s.tell("%s goes on", p.NodeID())
		}
	})
}

// measured is what came of a row.
type measured struct {
	primary string
	epoch   replication.Epoch
	// again is when a write is acknowledged again: in a later epoch, or after the longest time without; negative: it is
	// not. healed is the same from the end of the fault.
	again, healed time.Duration
	write, read   time.Duration // when a acknowledged and confirmed the last of the epoch before
	lost          int           // acknowledged writes of that epoch
	bound         int           // that were said to be lost at most; negative: nothing was said
	said          []string
}

func (s *stage) measure() *measured {
	s.mu.Lock()
	defer s.mu.Unlock()
	m := &measured{again: -1, healed: -1, bound: s.bound(), said: s.said, epoch: s.reign}
	slices.SortFunc(s.deeds, func(a, b deed) int { return a.ended.Compare(b.ended) })
	last := s.fault
	for _, d := range s.deeds {
		switch after := d.ended.Sub(s.fault); {
		case d.epoch == s.reign && d.region == "a" && d.read:
			m.read = after
		case d.epoch == s.reign && d.region == "a":
			m.write = after
		}
		if d.read || d.ended.Before(s.fault) {
			continue
		}
		if m.healed < 0 && !s.mended.IsZero() && d.ended.After(s.mended) {
			m.healed = d.ended.Sub(s.mended)
		}
		if d.epoch > m.epoch {
			m.epoch, m.again = d.epoch, d.ended.Sub(s.fault)
		} else if d.epoch == s.reign && m.epoch == s.reign {
			m.again = max(m.again, d.ended.Sub(last))
		}
		last = d.ended
	}
	if time.Since(last) < 2*time.Second {
		m.primary = s.primaryOf(m.epoch)
	} else if m.epoch == s.reign {
		m.again = -1
	}
	return m
}

func (s *stage) primaryOf(e replication.Epoch) string {
	s.lineage.mu.Lock()
	defer s.lineage.mu.Unlock()
	return s.lineage.reigns[e][0].Primary
}

var toldBound = regexp.MustCompile(`took over by votes.* atMostLost=(\d+)`)

// bound returns what the last region that took over said to be lost at most.
func (s *stage) bound() int {
	if s.accepted >= 0 {
		return s.accepted
	}
	found := toldBound.FindAllStringSubmatch(s.trace.last(traceLines), -1)
	if len(found) == 0 {
		return -1
	}
	n, err := strconv.Atoi(found[len(found)-1][1])
	if err != nil {
		return -1
	}
	return n
}

// lost returns how many writes that were acknowledged in an epoch are not in the final history.
func (e *evidence) lost(epoch replication.Epoch) (n int) {
	if len(e.final) == 0 {
		return 0
	}
	for _, o := range e.operations.list {
		if o.values == nil || o.outcome != acknowledged || o.epoch != epoch {
			continue
		}
		places := e.fleet.lineage.placesOf(o.values[0])
		if len(places) > 0 && !places[0].before(e.final[0].at) {
			n++
		}
	}
	return n
}

// why returns why b does not take over, as it says.
func (s *stage) why() string {
	p := s.leader("b")
	if p == nil || p.Voting().Status() == nil {
		return ""
	}
	return p.Voting().Status().Why
}

// says waits until b says with these words why it does not take over.
func (s *stage) says(words string) {
	s.until(20*time.Second, "b says "+words, func() bool { return strings.Contains(s.why(), words) })
}
