package sim

import (
	"context"
	"math/rand/v2"
	"slices"
	"time"
)

// faults is what happens to a fleet. It runs on one goroutine, which alone starts and ends processes.
type faults struct {
	fleet   *fleet
	random  *rand.Rand
	lastCut time.Time // when the network was changed last, or healed
}

// fault is something that can happen; weight says how often.
type fault struct {
	weight int
	do     func(ctx context.Context)
}

func (x *faults) list() []fault {
	list := []fault{
		{6, x.killNode},
		{8, x.killNodeSoon},
		{2, x.stopNode},
		{14, x.startNode},
		{6, x.startAll},
		{1, x.losePower},
		{2, x.cutNodes},
		{2, x.isolateNode},
		{8, x.heal},
		{2, x.slowLinks},
		{1, x.breakStreams},
		{2, x.transferLeader},
	}
	if len(x.fleet.plan.regions) > 1 {
		list = append(list, fault{2, x.killRegion}, fault{2, x.cutRegions}, fault{1, x.isolateRegion},
			fault{4, x.switchover})
	}
	if x.fleet.plan.forced && len(x.fleet.plan.regions) > 1 {
		list = append(list, fault{3, x.failover}, fault{3, x.disaster})
	}
	return append(list, x.injected()...)
}

// run lets one thing after the other happen until the time is over.
func (x *faults) run(ctx context.Context, until time.Time) {
	list := x.list()
	total := 0
	for _, f := range list {
		total += f.weight
	}
	due := x.due(until)
	for time.Now().Before(until) || len(due) > 0 {
		calm := time.Duration(x.random.Int64N(int64(x.fleet.plan.calm)))
		if len(due) > 0 {
			calm = min(calm, max(time.Until(due[0].at), 0))
		}
		x.wait(calm)
		if len(due) > 0 && (!time.Now().Before(due[0].at) || !time.Now().Before(until)) {
			due[0].do(ctx)
			due = due[1:]
			continue
		}
		n := x.random.IntN(total)
		for _, f := range list {
			if n -= f.weight; n < 0 {
				f.do(ctx)
				break
			}
		}
	}
}

// wait lets time pass and clears away what died.
func (x *faults) wait(d time.Duration) {
	time.Sleep(d)
	for _, m := range x.fleet.members {
		m.bury()
	}
	for _, o := range x.fleet.observers {
		o.bury()
	}
}

// appointment is a fault that happens at its time, whatever is drawn beside it.
type appointment struct {
	at time.Time
	do func(ctx context.Context)
}

// due has each kind of injection that is on tried at least once, so that what was drawn is tested.
func (x *faults) due(until time.Time) []appointment {
	var list []appointment
	for _, f := range x.injected() {
		in := time.Duration(x.random.Int64N(int64(time.Until(until)*3/4) + 1))
		list = append(list, appointment{time.Now().Add(in), f.do})
	}
	slices.SortFunc(list, func(a, b appointment) int { return a.at.Compare(b.at) })
	return list
}

func (x *faults) noteIf(kind string, happened bool) {
	if happened {
		x.fleet.happened.note(kind)
	}
}

func (x *faults) tell(format string, args ...any) { x.fleet.trace.tell(format, args...) }

func (x *faults) region() string { return pick(x.random, x.fleet.plan.regions...) }
func (x *faults) member() *member {
	return x.fleet.members[x.random.IntN(len(x.fleet.members))]
}

// someone returns a process that runs, nil if there is none.
func (x *faults) someone() *process {
	list := x.fleet.running()
	if len(list) == 0 {
		return nil
	}
	return list[x.random.IntN(len(list))]
}

func (x *faults) killNode(context.Context) {
	if p := x.someone(); p != nil {
		p.lose()
		p.member.bury()
	}
}

// killNodeSoon has the power fail in the middle of what the node does to its disk.
func (x *faults) killNodeSoon(context.Context) {
	if p := x.someone(); p != nil {
		n := 1 + x.random.IntN(pick(x.random, 5, 50, 500))
		x.tell("power of %s will fail in %d operations of its disk", p.NodeID(), n)
		p.disk.arm(n, p.lose)
	}
}

func (x *faults) stopNode(context.Context) {
	if p := x.someone(); p != nil {
		p.member.stop()
	}
}

func (x *faults) startNode(ctx context.Context) {
	if m := x.down(); m != nil {
		m.start(ctx)
	}
}

// noteCut notes that the network is not whole until then.
func (x *faults) noteCut(until time.Time) {
	x.lastCut = until
	x.fleet.cut(until)
}

// forever is later than any run: something is cut, and was not healed.
var forever = time.Date(9999, 1, 1, 0, 0, 0, 0, time.UTC)

func (x *faults) startAll(ctx context.Context) { x.fleet.startAll(ctx) }

func (f *fleet) startAll(ctx context.Context) {
	for _, m := range f.members {
		m.bury()
		if m.current() == nil && m.status.exists() {
			m.start(ctx)
		}
	}
}

func (x *faults) losePower(ctx context.Context) {
	x.tell("power cut of the whole fleet")
	x.killWhere(func(*member) bool { return true })
	if x.random.IntN(2) == 0 {
		x.startAll(ctx)
	}
}

func (x *faults) killRegion(context.Context) {
	region := x.region()
	x.tell("region %s is lost", region)
	x.killWhere(func(m *member) bool { return m.region == region })
}

func (x *faults) killWhere(which func(*member) bool) {
	for _, m := range x.fleet.members {
		if p := m.current(); p != nil && which(m) {
			p.lose()
		}
	}
	for _, m := range x.fleet.members {
		m.bury()
	}
}

func (x *faults) cutNodes(context.Context) {
	x.cut(x.member().name, x.member().name)
}

func (x *faults) cutRegions(context.Context) { x.cut(x.region(), x.region()) }

func (x *faults) cut(a, b string) {
	if a == b {
		return
	}
	x.noteCut(forever)
	if x.random.IntN(2) == 0 {
		x.tell("cut from %s to %s", a, b)
		x.fleet.network.CutOneWay(a, b)
		return
	}
	x.tell("cut between %s and %s", a, b)
	x.fleet.network.Cut(a, b)
}

func (x *faults) isolateNode(context.Context) {
	m := x.member()
	x.tell("isolate %s", m.name)
	x.noteCut(forever)
	x.fleet.network.Isolate(m.name)
}

func (x *faults) isolateRegion(context.Context) {
	region := x.region()
	x.tell("isolate region %s", region)
	x.noteCut(forever)
	x.fleet.network.Isolate(region)
}

func (x *faults) heal(context.Context) {
	x.tell("heal the network")
	x.fleet.network.HealAll()
	x.noteCut(time.Now())
}

func (x *faults) slowLinks(context.Context) {
	a, b := x.region(), x.region()
	d, jitter := time.Duration(x.random.IntN(120))*time.Millisecond, time.Duration(x.random.IntN(100))*time.Millisecond
	if a == b {
		d, jitter = d/20, jitter/20
	}
	x.tell("delay between %s and %s is %v and up to %v more", a, b, d, jitter)
	x.fleet.network.SetDelay(a, b, d, jitter)
}

func (x *faults) breakStreams(context.Context) {
	a, b := x.member().name, x.member().name
	x.tell("break the streams between %s and %s", a, b)
	x.fleet.network.Break(a, b)
	x.fleet.disturb(time.Now())
}

func (x *faults) transferLeader(ctx context.Context) {
	list := x.fleet.running()
	for _, p := range list {
		to := list[x.random.IntN(len(list))]
		if p.IsLeader() && to != p && to.member.region == p.member.region {
			x.background(ctx, 5*time.Second, func(ctx context.Context) {
				err := p.TransferLeader(ctx, to.Health().RaftID)
				x.tell("leader transfer from %s to %s: %v", p.NodeID(), to.NodeID(), err)
			})
			return
		}
	}
}

func (x *faults) switchover(ctx context.Context) {
	p, to := x.someone(), x.region()
	if p == nil {
		return
	}
	x.background(ctx, 20*time.Second, func(ctx context.Context) {
		x.tell("ask %s for a switchover to %s", p.NodeID(), to)
		r, err := p.Switchover(ctx, to)
		x.tell("switchover to %s by %s: %+v, %v", to, p.NodeID(), r, err)
	})
}

// forcedWithin is how long who orders a forced failover waits: a region without a vote asks whom it never heard for
// more than half of that.
const forcedWithin = 15 * time.Second

func (x *faults) failover(ctx context.Context) {
	p, to := x.someone(), x.region()
	if p == nil {
		return
	}
	x.background(ctx, forcedWithin, func(ctx context.Context) {
		x.tell("ask %s for a forced failover to %s", p.NodeID(), to)
		r, err := p.Failover(ctx, to, true)
		x.tell("failover to %s by %s: %+v, %v", to, p.NodeID(), r, err)
	})
}

// disaster takes a region away while clients write, by power or by the network, and has another one take over.
func (x *faults) disaster(ctx context.Context) {
	lost, to := x.region(), x.region()
	if lost == to {
		return
	}
	x.tell("disaster: %s away, %s takes over", lost, to)
	x.fleet.startAll(ctx)
	x.wait(time.Duration(x.random.IntN(3000)) * time.Millisecond)
	x.fleet.network.Isolate(lost)
	x.noteCut(forever)
	x.wait(time.Duration(x.random.IntN(3000)) * time.Millisecond)
	if x.random.IntN(2) == 0 {
		x.killWhere(func(m *member) bool { return m.region == lost })
	}
	for _, p := range x.fleet.running() {
		if p.member.region == to {
			x.background(ctx, forcedWithin, func(ctx context.Context) {
				r, err := p.Failover(ctx, to, true)
				x.tell("failover to %s by %s: %+v, %v", to, p.NodeID(), r, err)
			})
			break
		}
	}
	x.wait(time.Duration(x.random.IntN(4000)) * time.Millisecond)
}

// background does something that takes time while other faults happen.
func (x *faults) background(ctx context.Context, timeout time.Duration, do func(ctx context.Context)) {
	x.fleet.work.Go(func() {
		ctx, cancel := context.WithTimeout(ctx, timeout)
		defer cancel()
		do(ctx)
	})
}
