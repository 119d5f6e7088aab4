package sim

import (
	"context"
	"math"
	"slices"
	"strings"
	"time"

	"github.com/cockroachdb/pebble/v2/vfs"

	"github.com/mimir-kv/mimir/replication"
)

// wiped is that all nodes of a region lost their disks at once.
type wiped struct {
	region string
	epoch  replication.Epoch // the last one that began before
	over   bool              // another region is primary, in a later epoch, or it never was that one
}

// cut reports whether the history that ends there is without p because the region without disks was made primary by
// force: what it had acknowledged before is then in the tails of the others alone.
func (w *wiped) cut(p, end *place) bool {
	return w != nil && slices.ContainsFunc(end.path(), func(q *place) bool {
		return q.reign != nil && q.reign.Primary == w.region && q.epoch > w.epoch && q.reign.First <= p.position
	})
}

// wipeRegion has all nodes of a region lose their disks at once, and starts them, while all others run: once in a run,
// since nobody would be left who knows the history. A secondary comes back by a copy. If it was the primary, nobody
// takes writes before another region has taken over, by votes or by order; what that region did not have is lost, and
// nothing else.
func (x *faults) wipeRegion(ctx context.Context) {
	f := x.fleet
	if f.wiped != nil || len(f.plan.regions) == 1 || f.plan.inject[injectMembers] {
		return
	}
	x.fleet.network.HealAll()
	x.noteCut(time.Now())
	f.startAll(ctx)
	x.wait(2500 * time.Millisecond)
	region := x.region()
	if slices.ContainsFunc(f.members, func(m *member) bool {
		p := m.current()
		return p == nil || p.gone.Load() || m.region != region && p.auditor.at.Load() == f.lineage.genesis
	}) {
		return
	}
	x.tell("all nodes of %s lose their disks", region)
	x.killWhere(func(m *member) bool { return m.region == region })
	f.wipe(region)
	x.wait(time.Duration(x.random.IntN(2000)) * time.Millisecond)
	f.startAll(ctx)
	patience := 3 * time.Second
	if e := f.plan.election; e != nil {
		patience += 2*e.settings.Lease + e.settings.Patience
	}
	x.wait(patience)
	f.takeOver(ctx)
}

// wipe empties the disks of a region that does not run.
func (f *fleet) wipe(region string) {
	f.happened.note(injectWiped)
	f.wiped = &wiped{region: region, epoch: f.lineage.lastEpoch()}
	var names []string
	var held []*place
	for _, m := range f.members {
		if p := m.current(); p != nil {
			held = append(held, p.auditor.at.Load())
		}
		if m.region == region {
			m.memory, m.honest, m.old, m.rot = vfs.NewCrashableMem(), nil, nil, nil
			names = append(names, m.name)
		}
	}
	f.lineage.wiped(region, names, held)
}

// takeOver is what an operator does if the region that lost its disks was the primary: as long as nobody is, another
// region becomes it by force, that which has most of the history, as status tells him.
func (f *fleet) takeOver(ctx context.Context) {
	w := f.wiped
	if w == nil || w.over {
		return
	}
	var to *process
	for _, p := range f.running() {
		switch h := p.Health(); {
		case h.Role == replication.RolePrimary && p.member.region == w.region && h.Epoch <= w.epoch && h.Epoch > 0:
			f.trace.wrong("6", "%s, whose region lost its disks, is primary in epoch %d", p.NodeID(), h.Epoch)
		case h.Role == replication.RolePrimary && h.IsLeader && !h.Sealed:
			w.over = true
			return
		case p.member.region != w.region && h.IsLeader && (to == nil || further(p, to)):
			to = p
		}
	}
	if to == nil {
		return
	}
	f.trace.tell("nobody is primary: ask %s for a forced failover to its region", to.NodeID())
	ctx, cancel := context.WithTimeout(ctx, forcedWithin)
	defer cancel()
	f.accepted = true
	r, err := to.Failover(ctx, to.member.region, true)
	f.trace.tell("failover to %s: %+v, %v", to.member.region, r, err)
	if err != nil {
		if strings.Contains(err.Error(), "if "+w.region+" is lost for good, recover") {
			f.recover(ctx, to)
		}
		return
	}
	if f.lineage.epochBefore(r.Epoch) > w.epoch {
		return // somebody took over in between, and was told what went with the disks: from then on nobody lacks it
	}
	if n := f.lineage.countLost(); r.From == w.region && r.BehindKnown && n > r.Behind {
		f.trace.wrong("14", "the failover to %s is said to lack %d commands: %s; %d went with the disks of %s", r.To,
			r.Behind, r.Loss, n, w.region)
	}
}

// recover is what an operator does whom a refusal tells to: with the nodes of the region without disks stopped he makes
// the other one the only voter, and starts them again. The leader that knew from the voters that the lost primary was
// theirs may be gone as well, and then nobody is left who does.
func (f *fleet) recover(ctx context.Context, to *process) {
	ctx = context.WithoutCancel(ctx) // the order that was refused took the time it had
	asking, cancel := context.WithTimeout(ctx, time.Minute)
	defer cancel()
	var stopped []*member
	for _, m := range f.members {
		if p := m.current(); p != nil && m.region == f.wiped.region {
			m.stop()
			stopped = append(stopped, m)
		}
	}
	r, err := to.Voting().Recover(asking, to.member.region)
	f.trace.tell("recovery of %s with %s stopped: %+v, %v", to.member.region, f.wiped.region, r, err)
	for _, m := range stopped {
		m.start(ctx)
	}
}

// further reports whether a has more of the history than b.
func further(a, b *process) bool {
	x, y := a.Health(), b.Health()
	return x.Epoch > y.Epoch || x.Epoch == y.Epoch && x.Position > y.Position
}

// wiped notes that the nodes of a region lost their disks, and what the others held then: what they did not is lost,
// and so is what the region had rescued; its log begins anew.
func (l *lineage) wiped(region string, nodes []string, held []*place) {
	l.mu.Lock()
	defer l.mu.Unlock()
	delete(l.regions, region)
	for _, name := range nodes {
		delete(l.given, name)
	}
	for _, p := range l.places {
		p.lost = !slices.ContainsFunc(held, func(q *place) bool { return q != nil && p.before(q) })
	}
}

// countLost returns how many commands went with the disks of a region.
func (l *lineage) countLost() (n uint64) {
	l.mu.Lock()
	defer l.mu.Unlock()
	for _, p := range l.places {
		if p.lost && p.data != "" {
			n++
		}
	}
	return n
}

// lastEpoch returns the last epoch that anybody began.
func (l *lineage) lastEpoch() replication.Epoch { return l.epochBefore(math.MaxUint64) }

// epochBefore returns the last epoch before another one that anybody began.
func (l *lineage) epochBefore(limit replication.Epoch) (last replication.Epoch) {
	l.mu.Lock()
	defer l.mu.Unlock()
	for epoch := range l.reigns {
		if epoch < limit {
			last = max(last, epoch)
		}
	}
	return last
}
