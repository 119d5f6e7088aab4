package sim

import (
	"context"
	"errors"
	"slices"
	"time"

	"github.com/cockroachdb/pebble/v2/vfs"

	"github.com/mimir-kv/mimir/replication"
)

// emptyDisk has a node lose its disk.
func (x disks) emptyDisk(ctx context.Context) {
	if x.fleet.plan.size > 1 && !x.fleet.plan.inject[injectMembers] && x.random.IntN(2) == 0 {
		x.emptyInMajority(ctx)
		return
	}
	x.emptyAmongOthers(ctx)
}

// emptyAmongOthers starts a node on an empty disk, while all others of its region run and know it. It has forgotten
// what it promised and acknowledged there: it must be refused before it takes part. Then its own disk is put back.
func (x disks) emptyAmongOthers(ctx context.Context) {
	x.fleet.network.HealAll()
	x.noteCut(time.Now())
	x.fleet.startAll(ctx)
	x.wait(3 * time.Second)
	p := x.someone()
	if p == nil || p.member.status.spare || p.member.status.mayBeRemoved() || !others(x.faults, p.member) {
		return
	}
	m := p.member
	p.lose()
	m.bury()
	own := m.memory
	m.memory, m.honest = vfs.NewCrashableMem(), own
	x.tell("%s starts on an empty disk", m.name)
	x.fleet.happened.note(injectEmpty)
	m.startIf(ctx, func(err error) bool { return errors.Is(err, replication.ErrDiskLost) })
	x.wait(3 * time.Second)
	if p := m.current(); p != nil {
		x.fleet.trace.wrong("1", "%s runs on an empty disk, and others of its region know it: %s", m.name,
			p.Health().Problem)
		p.lose()
		m.bury()
	}
	m.memory, m.honest, m.old = own, nil, nil
}

// emptyInMajority starts a node on an empty disk where its vote would count: the rest of the majority that has the last
// writes is away, and who else runs lacks them. Nobody may lead the region before one of the majority is back.
func (x disks) emptyInMajority(ctx context.Context) {
	x.fleet.network.HealAll()
	x.noteCut(time.Now())
	x.fleet.startAll(ctx)
	x.wait(3 * time.Second)
	region := x.region()
	nodes := slices.DeleteFunc(slices.Clone(x.fleet.members), func(m *member) bool { return m.region != region })
	x.random.Shuffle(len(nodes), func(i, j int) { nodes[i], nodes[j] = nodes[j], nodes[i] })
	if !others(x.faults, nodes[0]) || nodes[0].current() == nil {
		return
	}
	few := len(nodes) - (len(nodes)/2 + 1)
	behind, ahead := nodes[:few], nodes[few:]
	away := func(list []*member) { x.killWhere(func(m *member) bool { return slices.Contains(list, m) }) }
	away(behind)
	x.wait(time.Second + time.Duration(x.random.IntN(1500))*time.Millisecond)
	away(ahead)
	m := ahead[0]
	own := m.memory
	m.memory, m.honest = vfs.NewCrashableMem(), own
	x.tell("%s starts on an empty disk, among %d of its region that lack the last writes", m.name, few)
	x.fleet.happened.note(injectEmpty)
	m.startIf(ctx, func(err error) bool { return errors.Is(err, replication.ErrDiskLost) })
	x.wait(time.Duration(x.random.IntN(1000)) * time.Millisecond) // nobody could tell it what it was
	for _, o := range behind {
		o.start(ctx)
	}
	for range 6 {
		x.wait(500 * time.Millisecond)
		for _, p := range x.fleet.running() {
			if p.member.region == region && p.IsLeader() {
				x.fleet.trace.wrong("1", "%s leads by the vote of %s, whose disk is empty", p.NodeID(), m.name)
			}
		}
	}
	if p := m.current(); p != nil {
		p.lose()
		m.bury()
	}
	m.memory, m.honest, m.old = own, nil, nil
	x.fleet.startAll(ctx)
}
