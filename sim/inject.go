package sim

import (
	"context"
	"math/rand/v2"
	"slices"
	"strings"
	"time"
)

// Kinds of faults beside power cuts, links and moves. Each has its switch, and is off unless it is asked for.
const (
	injectHang  = "hang"  // a sync of the log takes seconds
	injectSlow  = "slow"  // the log of one node is far slower than the others'
	injectError = "error" // an operation of a disk fails, and what was not synced is dropped
	injectFull  = "full"  // a disk takes no more for a while
	injectRot   = "rot"   // a bit of what a stopped node had synced flips
	injectOld   = "old"   // a stopped node comes back with an older copy of its disk
	injectSkew  = "skew"  // clocks are wrong, and run at different rates
	injectPause = "pause" // a node stands still, its timers too, and goes on
	injectFive  = "five"  // regions have five nodes
	injectBusy  = "busy"  // clients go on while the fleet comes together

	injectMembers  = "members"  // nodes are added, promoted and removed
	injectWatch    = "watch"    // of the real store: watchers go from node to node while it is written and compacted
	injectLease    = "lease"    // of the real store: leases are granted, kept alive, let go and revoked
	injectVersions = "versions" // nodes of earlier versions, which are upgraded one by one
	injectVotes    = "votes"    // the fleet votes about its primary
	injectLie      = "lie"      // a power cut takes from one node what it had synced
	injectEmpty    = "empty"    // a stopped node comes back with an empty disk
	injectWiped    = "wiped"    // all nodes of a region lose their disks at once
	injectUsers    = "users"    // of the real store: clients say who they are, and users and roles change
	injectKill     = "kill"     // a process is killed instead: what it wrote stays, and is not yet durable: killed.go
	injectCrash    = "crash"    // the power fails at a step of a vote, a handoff, a rejoin: steps.go
	injectBack     = "back"     // a witness comes back with an older copy of its disk
	injectCharters = "charters" // of a fleet that votes: who votes changes, by orders
	injectRosters  = "rosters"  // regions are state of the fleet, and where they are is ordered again and again
)

// Injections returns every kind that Options.Inject may name.
func Injections() []string {
	return []string{injectHang, injectSlow, injectError, injectFull, injectRot, injectOld, injectSkew, injectPause,
		injectFive, injectBusy, injectMembers, injectWatch, injectLie, injectLease,
		injectVersions, injectVotes, injectEmpty, injectWiped, injectCrash, injectUsers, injectBack, injectKill,
		injectRosters, injectCharters}
}

// injections is which kinds a run has.
type injections map[string]bool

// newInjections reads a list of kinds; "all" is each of them, "drawn" each with about an even chance, or a little more.
func newInjections(list string, r *rand.Rand) injections {
	on := injections{}
	stored := r.IntN(8) < 5 // of "drawn": so that other storages have their part
	for _, kind := range Injections() {
		chance := 5 // in 8
		switch kind {
		case injectWatch, injectLease:
			chance = 0
			if stored {
				chance = 6
			}
		case injectFive: // takes long
			chance = 3
		case injectError, injectFull, injectOld, injectLie, injectVotes, injectEmpty, injectBack: // may not happen
			chance = 6
		}
		if kind == injectUsers && !stored {
			chance = 0
		}
		switch {
		case list == "all", slices.Contains(strings.Split(list, ","), kind):
			on[kind] = true
		case list == "drawn" && r.IntN(8) < chance:
			on[kind] = true
		}
	}
	return on
}

func (on injections) String() string {
	var list []string
	for _, kind := range Injections() {
		if on[kind] {
			list = append(list, kind)
		}
	}
	return strings.Join(list, ",")
}

// injected returns the faults of the kinds that are on.
func (x *faults) injected() []fault {
	d := disks{x}
	kinds := map[string]fault{
		injectHang:  {6, d.hangDisk},
		injectSlow:  {4, d.slowDisk},
		injectError: {4, d.breakDisk},
		injectFull:  {4, d.fillDisk},
		injectRot:   {4, d.rotDisk},
		injectOld:   {5, d.startOld},
		injectPause: {4, x.pauseNode},
		injectLie:   {6, d.lieDisk},
		injectEmpty: {3, d.emptyDisk},
		injectWiped: {2, x.wipeRegion},
		injectCrash: {6, crashing{x}.crash},
		injectBack:  {4, elections{x}.oldWitness},

		injectMembers:  {10, x.changeMembers},
		injectVotes:    {4, elections{x}.losePrimary},
		injectVersions: {8, upgrades{x}.upgrade},
		injectRosters:  {6, x.orderRegions},
		injectCharters: {4, elections{x}.changeVoters},
	}
	var list []fault
	for _, kind := range Injections() {
		if f, ok := kinds[kind]; ok && x.fleet.plan.inject[kind] {
			list = append(list, f)
		}
	}
	if x.fleet.plan.election != nil {
		list = append(list, elections{x}.list()...)
	}
	return list
}

// disks are the faults of disks.
type disks struct{ *faults }

func (x disks) hangDisk(context.Context) {
	if p := x.someone(); p != nil {
		d := time.Duration(500+x.random.IntN(15_000)) * time.Millisecond
		x.tell("disk of %s hangs for %v", p.NodeID(), d)
		p.disk.hang(d, injectHang)
		x.fleet.disturb(time.Now().Add(d))
	}
}

func (x disks) slowDisk(context.Context) {
	if p := x.someone(); p != nil {
		each := time.Duration(50+x.random.IntN(400)) * time.Millisecond
		x.tell("disk of %s takes up to %v a sync", p.NodeID(), each)
		p.disk.setSlow(each)
		x.fleet.disturb(time.Now().Add(50 * each)) // the longest sync
	}
}

func (x disks) breakDisk(context.Context) {
	if p := x.someone(); p != nil {
		n := 1 + x.random.IntN(pick(x.random, 5, 20, 100))
		if x.random.IntN(3) == 0 {
			d := time.Duration(500+x.random.IntN(8000)) * time.Millisecond
			x.tell("disk of %s cannot be read in %d reads for %v", p.NodeID(), n, d)
			p.disk.blindAfter(n, errBroken, d)
			x.fleet.disturb(time.Now().Add(d))
			return
		}
		x.tell("disk of %s fails in %d operations", p.NodeID(), n)
		p.disk.failAfter(n, errBroken, 0)
	}
}

func (x disks) fillDisk(context.Context) {
	if p := x.someone(); p != nil {
		d := time.Duration(1500+x.random.IntN(6500)) * time.Millisecond
		x.tell("disk of %s is full for %v", p.NodeID(), d)
		p.member.fullUntil = time.Now().Add(d)
		p.disk.fill(1+x.random.IntN(20), d, x.random.IntN(3) == 0)
	}
}

func (x *faults) pauseNode(ctx context.Context) {
	if p := x.someone(); p != nil {
		d := time.Duration(500+x.random.IntN(12_000)) * time.Millisecond
		x.tell("%s stands still for %v", p.NodeID(), d)
		p.disk.hang(d, "")
		x.fleet.disturb(time.Now().Add(d))
		x.fleet.happened.note(injectPause)
		x.fleet.network.Isolate(p.NodeID())
		x.noteCut(forever)
		machine := p.member.clock.(*machine)
		machine.freeze(false)
		p.frozen.Store(true)
		p.still = time.Now().Add(d)
		x.background(ctx, d, func(ctx context.Context) {
			<-ctx.Done()
			p.frozen.Store(false)
			machine.thaw()
			x.fleet.network.Reconnect(p.NodeID())
		})
	}
}
