package sim

import (
	"context"
	"slices"
	"time"

	"github.com/mimir-kv/mimir/replication"
)

// crashing are the power cuts at crash points.
type crashing struct{ *faults }

// crashesEach is at how many crash points the power fails, one after the other, whenever this fault is drawn.
const crashesEach = 2

// crash has the power fail at crash points that are drawn, and sees to it that somebody comes there.
func (x crashing) crash(ctx context.Context) {
	possible := x.possible()
	if len(possible) == 0 {
		return
	}
	x.fleet.network.HealAll()
	x.noteCut(time.Now())
	for range crashesEach {
		x.fleet.startAll(ctx)
		x.wait(time.Duration(500+x.random.IntN(1000)) * time.Millisecond)
		at, whole := possible[x.random.IntN(len(possible))], x.random.IntN(3) == 0
		passes := pick(x.random, 0, 0, 0, 1, 2)
		if aim := x.fleet.plan.aim; aim != nil && slices.Contains(possible, *aim) &&
			x.fleet.happened.of(aim.String()) == 0 {
			at, passes = *aim, 0
		}
		if at.step == stepVote || at.step == stepCeiling || at.step == stepWitness {
			upgrades(x).upgradeAll(ctx) // who is too old for votes keeps the fleet from them
		}
		x.tell("power fails %v, of the whole region: %t", at, whole)
		x.fleet.crashes.arm(at, "", passes, whole)
		x.provoke(ctx, at.step)
		x.fleet.crashes.disarm()
	}
}

// possible returns the crash points to which the fleet of the plan can come.
func (x crashing) possible() (list []crashPoint) {
	p := x.fleet.plan
	for _, at := range crashPoints() {
		ok := len(p.regions) > 1
		switch at.step {
		case stepVote, stepCeiling:
			ok = ok && p.election != nil
		case stepWitness:
			ok = len(x.fleet.observers) > 0
		case stepRescue, stepInstall:
			ok = ok && p.forced
		case stepRewind:
			ok = ok && p.forced && p.storage == storageKV && p.checkpoints > 0
		}
		if ok {
			list = append(list, at)
		}
	}
	return list
}

// provoke has happen what leads to a step.
func (x crashing) provoke(ctx context.Context, step string) {
	from := x.primary()
	switch {
	case from == "":
	case step == stepRescue, step == stepRewind, step == stepInstall:
		x.part(ctx, from)
	case step != stepCeiling && x.fleet.plan.election != nil && x.random.IntN(3) == 0:
		x.fleet.network.Isolate(from)
		x.noteCut(forever)
		e := x.fleet.plan.election.settings
		x.await(e.Lease + e.Patience + 2*time.Second)
		x.heal(ctx)
	default:
		x.move(ctx, from)
	}
	x.await(3 * time.Second)
}

// await waits until somebody has come to the crash point, at most d.
func (x crashing) await(d time.Duration) {
	for deadline := time.Now().Add(d); x.fleet.crashes.pending() && time.Now().Before(deadline); {
		x.wait(50 * time.Millisecond)
	}
}

// primary returns the region whose leader takes writes, "" if none does.
func (x crashing) primary() string {
	for range 30 {
		for _, p := range x.fleet.running() {
			if h := p.Health(); h.Role == replication.RolePrimary && h.IsLeader && !h.Sealed {
				return p.member.region
			}
		}
		x.wait(100 * time.Millisecond)
	}
	return ""
}

// other returns a process of another region than this one, nil if none runs.
func (x crashing) other(region string) *process {
	list := slices.DeleteFunc(x.fleet.running(), func(p *process) bool { return p.member.region == region })
	if len(list) == 0 {
		return nil
	}
	return list[x.random.IntN(len(list))]
}

// move asks for a switchover to another region.
func (x crashing) move(ctx context.Context, from string) {
	if p := x.other(from); p != nil {
		x.background(ctx, 10*time.Second, func(ctx context.Context) {
			r, err := p.Switchover(ctx, p.member.region)
			x.tell("switchover to %s: %+v, %v", p.member.region, r, err)
		})
	}
}

// part has another region take over by force while the primary is cut off and takes writes, and heals the network.
func (x crashing) part(ctx context.Context, lost string) {
	x.fleet.network.Isolate(lost)
	x.noteCut(forever)
	x.wait(time.Duration(300+x.random.IntN(1200)) * time.Millisecond)
	p := x.other(lost)
	if p == nil {
		return
	}
	x.background(ctx, forcedWithin, func(ctx context.Context) {
		r, err := p.Failover(ctx, p.member.region, true)
		x.tell("failover to %s: %+v, %v", p.member.region, r, err)
	})
	x.wait(time.Duration(500+x.random.IntN(1000)) * time.Millisecond)
	x.heal(ctx)
}
