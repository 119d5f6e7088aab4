package sim

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"sync"
	"testing"
	"testing/cryptotest"
	"time"

	"github.com/mimir-kv/mimir/kv"
	"github.com/mimir-kv/mimir/replication"
	"github.com/mimir-kv/mimir/replication/clock/virtual"
)

// Result is what a run was, for tests of the simulation itself.
type Result struct {
	Failures     []string // what was found to be wrong, each naming its invariant
	Acknowledged int      // writes
	Unknown      int
	Reads        int
	Tails        int // rescue files
	Epochs       int
	Starts       int           // of processes
	WentBack     int           // how often a node went back to a fork by a checkpoint of its own
	Copies       int           // how often a copy of a whole state was asked for in another region
	Virtual      time.Duration // length of the run
	Plan         string
	Injected     Tally // kinds of faults
	trace        *trace
}

// Story returns the last lines of what happened.
func (r *Result) Story(lines int) string { return r.trace.last(lines) }

const (
	// convergence is how long a healed fleet may take to come together (invariant 15).
	convergence = 3 * time.Minute
	// busyLeast is for how long clients go on at least.
	busyLeast = 2 * time.Second
	// lastWrites is how long the write at each node may take after that.
	lastWrites = 30 * time.Second
	// again is after how long such a write is tried again: who asks at once holds up the time of the run.
	again = 10 * time.Millisecond
)

// Run lets a fleet live through what o.Seed holds for it, and checks. It does not fail t by itself.
func Run(t *testing.T, o Options) *Result {
	t.Helper()
	cryptotest.SetGlobalRandom(t, o.Seed)
	p := newPlan(o)
	r := &Result{Plan: p.String()}
	e := &evidence{plan: p}
	virtual.Test(t, func(t *testing.T) {
		r.trace = newTrace()
		r.trace.tell("plan: %v", p)
		e.collect(t.Context(), r.trace)
		r.Virtual = r.trace.stop()
		for _, m := range e.fleet.members {
			r.Starts += m.starts
		}
	})
	e.check(r.trace.wrong)
	r.Failures = r.trace.failures
	r.summarize(e)
	return r
}

func (r *Result) summarize(e *evidence) {
	for _, o := range e.operations.list {
		switch {
		case o.values == nil:
			r.Reads++
		case o.outcome == acknowledged:
			r.Acknowledged++
		case o.outcome == unknown:
			r.Unknown++
		}
	}
	for _, f := range e.final {
		r.Tails += len(f.tails)
	}
	r.WentBack, r.Copies = r.trace.heard[wentBack], r.trace.heard[bootstrap]
	r.Epochs = len(e.fleet.lineage.reigns)
	r.Injected = e.fleet.tally()
}

// evidence is everything that is known when a run is over.
type evidence struct {
	plan       *plan
	fleet      *fleet
	operations *operations
	final      []final
	converged  bool
	watchers   *watchers
	holders    []*holder
	guests     *guests
}

// final is what a node held at the end.
type final struct {
	node, region      string
	at                *place
	tails             []tail
	items             []string // of a ledger
	hash              uint32   // of kv
	revision, compact int64
}

// tail is the content of one rescue file.
type tail struct {
	info     replication.TailInfo
	commands []tailCommand
	// end is where the whole state beside them is, nil if there is none; it was found to hold what led there.
	end *place
}

type tailCommand struct {
	epoch    replication.Epoch
	position replication.Position
	data     string
}

// collect lives through the run, in the bubble. Nothing of it runs any more when collect returns.
func (e *evidence) collect(ctx context.Context, j *trace) {
	e.fleet, e.operations = newFleet(e.plan, j), &operations{}
	f := e.fleet
	f.startAll(ctx)
	if e.plan.election != nil && !e.plan.inject[injectVersions] {
		f.elect()
	}
	until := time.Now().Add(e.plan.chaos)
	var clients sync.WaitGroup
	for i := range e.plan.clients {
		c := newClient(f, e.operations, i)
		clients.Go(func() { c.run(ctx, until) })
	}
	e.holders = newHolders(f, e.operations)
	startHolders(ctx, e.holders, until, &clients)
	e.guests = newGuests(f, e.operations)
	e.guests.start(ctx, until, &clients)
	e.watchers = newWatchers(f)
	watching, unwatch := context.WithCancel(ctx)
	defer unwatch()
	e.watchers.start(watching)
	(&faults{fleet: f, random: stream(e.plan.seed, "faults"), lastCut: time.Now()}).run(ctx, until)
	clients.Wait()
	f.work.Wait()
	j.tell("the faults are over")
	f.heal()
	f.startAll(ctx)
	if e.plan.inject[injectBusy] {
		e.keepUp(ctx)
	}
	e.converged = e.converge(ctx)
	unwatch()
	e.watchers.going.Wait()
	here, _ := f.here()
	if e.converged {
		e.watchers.finish(ctx, processesOf(here))
	}
	for _, p := range processesOf(here) {
		e.final = append(e.final, p.final(ctx))
	}
	for _, m := range f.members {
		m.stop()
	}
	for _, o := range f.observers {
		o.stop()
	}
}

// heal ends all faults but those of nodes that do not run.
func (f *fleet) heal() {
	f.crashes.disarm()
	f.network.HealAll()
	for _, a := range f.plan.regions {
		for _, b := range f.plan.regions {
			f.network.SetDelay(a, b, time.Millisecond, time.Millisecond)
		}
	}
	for _, m := range f.members {
		if p := m.current(); p != nil {
			p.disk.heal()
		}
		m.fullUntil = time.Time{}
	}
	virtual.Wait() // who failed at this very moment is known to have
	for _, m := range f.members {
		if p := m.current(); p == nil || !p.gone.Load() { // the disk that others leave is repaired when they are buried
			m.repair()
		}
	}
	for _, o := range f.observers {
		o.start()
	}
}

// converge waits until all nodes are at one place, writes once more at each of them, and waits again.
func (e *evidence) converge(ctx context.Context) bool {
	j, f := e.fleet.trace, e.fleet
	if why := e.together(ctx, 0); why != "" {
		e.notTogether(why)
		return false
	}
	here, _ := f.here()
	list := processesOf(here)
	j.tell("the fleet is together at %v", list[0].auditor.at.Load())
	c, before := newClient(f, e.operations, e.plan.clients), len(e.operations.list)
	untended := f.tendOn(ctx) // what was asked of the fleet and not answered may land only now
	for _, p := range list {
		ctx, cancel := context.WithTimeout(ctx, lastWrites)
		got := c.write(ctx, p, 1)
		for got == unknown && ctx.Err() == nil && p.Err() == nil { // its connection to the leader broke only now
			time.Sleep(again)
			got = c.write(ctx, p, 1)
		}
		if got != acknowledged && !p.member.departed(p.Err()) { // a removal whose answer was lost may land only now
			j.wrong("15", "a write at %s after the faults is %v", p.NodeID(), got)
		}
		c.read(ctx, p)
		cancel()
	}
	untended()
	var last replication.Position
	for _, o := range e.operations.list[before:] {
		last = max(last, o.position)
	}
	if why := e.together(ctx, last); why != "" {
		e.notTogether(why)
		return false
	}
	if e.plan.inject[injectRosters] {
		e.sameRoster(ctx)
	}
	return true
}

// keepUp has clients write on, and waits until every node has reached where the furthest was when the faults ended.
func (e *evidence) keepUp(ctx context.Context) {
	f := e.fleet
	var goal replication.Position
	for _, p := range f.running() {
		if at := p.auditor.at.Load(); at != nil {
			goal = max(goal, at.position)
		}
	}
	ctx, cancel := context.WithTimeout(ctx, convergence)
	defer cancel()
	var clients sync.WaitGroup
	before := e.operations.acknowledged()
	for i := range e.plan.clients {
		c := newClient(f, e.operations, e.plan.clients+1+i)
		clients.Go(func() { c.run(ctx, time.Now().Add(convergence)) })
	}
	behind := func() string {
		f.tend(ctx)
		here, why := f.here()
		for _, m := range here {
			p := m.current()
			if p == nil {
				return m.name + " does not run"
			}
			at := p.auditor.at.Load()
			if at == nil || at.position < goal || p.Health().Role == replication.RoleDiverged {
				return fmt.Sprintf("%s is at %v", m.name, at)
			}
		}
		return why
	}
	why := behind()
	for began := time.Now(); (why != "" || time.Since(began) < busyLeast) && ctx.Err() == nil; why = behind() {
		time.Sleep(100 * time.Millisecond)
	}
	if why != "" {
		e.fleet.trace.wrong("15", "while clients go on, %v after the faults %s, and position %d was there before",
			convergence, why, goal)
	}
	cancel()
	clients.Wait()
	for range e.operations.acknowledged() - before {
		f.happened.note(injectBusy)
	}
}

// together returns "" once all nodes run and are at one place, at least at position least and in an epoch whose primary
// takes writes, or else why that did not come about in time. It looks when nothing moves, and nothing does until the
// caller lets time pass: a write that a client gave up may still land, but not between two looks.
func (e *evidence) together(ctx context.Context, least replication.Position) string {
	f := e.fleet
	deadline := time.Now().Add(convergence)
	for {
		virtual.Wait()
		why := f.apart(least)
		if why == "" || time.Now().After(deadline) {
			return why
		}
		time.Sleep(100 * time.Millisecond)
		f.tend(ctx)
	}
}

// processesOf returns the processes of the members that have one.
func processesOf(list []*member) []*process {
	var running []*process
	for _, m := range list {
		if p := m.current(); p != nil {
			running = append(running, p)
		}
	}
	return running
}

func (f *fleet) apart(least replication.Position) string {
	var first *process
	primaries := 0
	here, why := f.here()
	if why != "" {
		return why
	}
	for _, m := range here {
		p := m.current()
		if p == nil {
			return m.name + " does not run"
		}
		if first == nil {
			first = p
		}
		at, want := p.auditor.at.Load(), first.auditor.at.Load()
		switch h := p.Health(); {
		case at != want || at == nil:
			return fmt.Sprintf("%s is at %v, %s at %v", first.NodeID(), want, m.name, at)
		case at.position < least:
			return fmt.Sprintf("%s is at %v, written was up to %d", m.name, at, least)
		case h.Role == replication.RolePrimary && h.IsLeader && !h.Sealed:
			primaries++
		}
	}
	if primaries != 1 {
		return fmt.Sprintf("%d leaders of primary regions that are not sealed", primaries)
	}
	return f.leased()
}

func (e *evidence) notTogether(why string) {
	j := e.fleet.trace
	j.wrong("15", "the fleet did not come together within %v: %s", convergence, why)
	for _, m := range e.fleet.members {
		if p := m.current(); p != nil {
			h, _ := json.Marshal(p.Health())
			j.tell("%s: %s", m.name, h)
		}
	}
}

// final asks a node what it holds.
func (p *process) final(ctx context.Context) final {
	f := final{node: p.NodeID(), region: p.member.region, at: p.auditor.at.Load()}
	wrong := p.member.fleet.trace.wrong
	infos, err := p.Tails(ctx)
	if err != nil {
		wrong("8", "tails of %s: %v", f.node, err)
	}
	for _, info := range infos {
		t := tail{info: info}
		keep := func(e replication.Epoch, at replication.Position, c replication.Command) error {
			t.commands = append(t.commands, tailCommand{e, at, string(c.Data)})
			return nil
		}
		err := p.ReadTail(ctx, info.Name, keep)
		if err != nil {
			wrong("8", "tail %s of %s: %v", info.Name, f.node, err)
		}
		if info.State != nil {
			if t.end, err = p.readState(ctx, info.Name); err != nil {
				wrong("8", "state beside tail %s of %s: %v", info.Name, f.node, err)
			}
		}
		f.tails = append(f.tails, t)
	}
	switch s := p.storage.(type) {
	case *ledger:
		f.items = s.items()
	case *kv.Store:
		f.hash, f.compact, f.revision, err = s.Hash(ctx, 0)
		if err != nil && !errors.Is(err, kv.ErrClosed) {
			wrong("10", "hash of %s: %v", f.node, err)
		}
	}
	return f
}
