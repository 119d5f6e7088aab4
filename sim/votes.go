package sim

import (
	"context"
	"fmt"
	"log/slog"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/cockroachdb/pebble/v2/vfs"

	"github.com/mimir-kv/mimir/replication"
	"github.com/mimir-kv/mimir/replication/clock"
	"github.com/mimir-kv/mimir/replication/durable/pebblefs"
	"github.com/mimir-kv/mimir/replication/witness"
)

// election is by which rules a fleet votes about its primary.
type election struct {
	settings replication.VoteSettings
	never    string // the region that is never primary by itself; "": none
}

// electionTime is how much longer the faults of a fleet that votes go on: a lease has to run out in it.
const electionTime = 8 * time.Second

func newElection(seed uint64, regions []string, on injections) *election {
	r := stream(seed, "votes")
	e := &election{settings: replication.VoteSettings{
		Automatic: true, Lease: pick(r, time.Second, 2*time.Second, 3*time.Second),
		Patience: pick(r, 200*time.Millisecond, time.Second), DriftPPM: 10_000,
		MaxLoss:    pick(r, 0, 3, 20, 10_000, replication.AnyLoss),
		StopWrites: r.IntN(4) == 0, Witnesses: map[string][]string{},
	}}
	if on[injectSkew] {
		e.settings.DriftPPM = uint32(1_000_000 * rateSpan / 2)
	}
	witnesses := 1
	if len(regions) == 3 {
		witnesses = pick(r, 0, 0, 2)
		if r.IntN(3) == 0 {
			e.never = regions[2]
		}
	}
	if on[injectCharters] && len(regions) == 3 { // of four voters, one of two who have a write may vote no more
		witnesses = pick(r, 1, 1, 2)
		e.settings.MaxLoss = pick(r, 0, 0, 3, e.settings.MaxLoss)
	}
	for i := range witnesses {
		name := fmt.Sprintf("w%d", i+1)
		e.settings.Witnesses[name] = []string{name}
	}
	return e
}

func (e *election) String() string {
	if e == nil {
		return "none"
	}
	s := e.settings
	return fmt.Sprintf("lease %v, patience %v, budget %d, stop writes %t, %d witnesses, %q never", s.Lease, s.Patience,
		s.MaxLoss, s.StopWrites, len(s.Witnesses), e.never)
}

// budget is how many acknowledged commands a failover that nobody orders may lose; ok is false if any.
func (e *election) budget() (commands int, ok bool) {
	return int(e.settings.MaxLoss), e.settings.MaxLoss != replication.AnyLoss
}

// enough is in how many regions a write has to be so that no failover that nobody orders loses it: every majority of
// the voters has one of them.
func (e *election) enough(regions int) int {
	voters := regions + len(e.settings.Witnesses)
	return voters - (voters/2 + 1) + 1
}

// observer is a place for a witness. Only the goroutine of the faults uses it.
type observer struct {
	fleet   *fleet
	name    string
	clock   clock.Clock
	memory  *vfs.MemFS
	process *witness.Witness // nil: it does not run

	mu   sync.Mutex
	up   bool       // it has started
	left *vfs.MemFS // what the disk has when the power is back; nil: it did not fail
}

// observe makes the places of the witnesses, and starts them.
func (f *fleet) observe() {
	for i := range len(f.plan.election.settings.Witnesses) {
		o := &observer{
			fleet: f, name: fmt.Sprintf("w%d", i+1), memory: vfs.NewCrashableMem(),
		}
		o.clock = f.plan.clockOf(o.name)
		for _, region := range f.plan.regions {
			f.network.SetDelay(region, o.name, f.plan.far, f.plan.jitter)
		}
		f.observers = append(f.observers, o)
		o.start()
	}
}

func (o *observer) start() {
	o.bury()
	if o.process != nil {
		return
	}
	j := o.fleet.trace
	d := newDisk(o.memory, stream(o.fleet.plan.seed, "disk "+o.name), o.fleet.plan.slowSync, o.fleet.happened.note)
	d.user = o
	w, err := witness.Start(witness.Config{
		Name: o.name, FleetID: replication.DefaultFleetID, DataDir: dataFolder, FS: pebblefs.New(d),
		Clock: o.clock, Logger: slog.New(slog.NewTextHandler(j, &slog.HandlerOptions{ReplaceAttr: withoutTime})),
	}, o.fleet.network.Node(o.name))
	if err != nil {
		j.wrong("1", "witness %s cannot start: %v", o.name, err)
		return
	}
	j.tell("start witness %s", o.name)
	o.process = w
	o.mu.Lock()
	defer o.mu.Unlock()
	o.up = true
}

// lose takes its power away.
func (o *observer) lose() {
	if o.process != nil {
		o.fall()
		o.bury()
	}
}

// fall takes its power away, also from inside of what it does, and bury clears away what is left then.
func (o *observer) fall() {
	o.mu.Lock()
	defer o.mu.Unlock()
	if o.up && o.left == nil {
		o.fleet.trace.tell("power of witness %s fails", o.name)
		o.left = o.memory.CrashClone(vfs.CrashCloneCfg{})
		o.fleet.network.Crash(o.name)
	}
}

func (o *observer) bury() {
	o.mu.Lock()
	left := o.left
	if left != nil {
		o.left, o.up = nil, false
	}
	o.mu.Unlock()
	if left != nil {
		o.stop()
		o.memory = left
	}
}

// meets says that it comes to a moment of keeping what it is about to answer.
func (o *observer) meets(moment string) {
	at := crashPoint{moment, stepWitness}
	o.mu.Lock()
	up := o.up && o.left == nil
	o.mu.Unlock()
	if !up {
		return
	}
	if fails, _ := o.fleet.crashes.hit(at, ""); fails {
		o.fleet.trace.tell("crash point: witness %s comes to %v", o.name, at)
		o.fleet.happened.note(injectCrash)
		o.fleet.happened.note(at.String())
		o.fall()
	}
}

func (o *observer) logged([]byte) {}

func (o *observer) creates(name string) {
	if strings.HasPrefix(name, ballotFile) {
		o.meets(momentBefore)
	}
}

func (o *observer) renames(to, moment string) {
	if to == ballotFile {
		o.meets(moment)
	}
}

// ballotFile is where a witness keeps its votes.
const ballotFile = dataFolder + "/ballot"

func (o *observer) stop() {
	if o.process == nil {
		return
	}
	o.process.Shutdown()
	o.process = nil
}

// elect waits until the fleet votes and its primary has a lease.
func (f *fleet) elect() {
	deadline := time.Now().Add(time.Minute)
	for time.Now().Before(deadline) {
		for _, p := range f.running() {
			if s := p.Voting().Status(); s != nil && s.Holds {
				f.trace.tell("%s holds a lease", p.NodeID())
				return
			}
		}
		time.Sleep(50 * time.Millisecond)
	}
	f.trace.wrong("15", "the fleet does not vote")
}

// elections are the faults of a fleet that votes.
type elections struct{ *faults }

func (x elections) list() []fault {
	list := []fault{{6, x.leaveRegion}}
	if len(x.fleet.observers) > 0 {
		list = append(list, fault{3, x.killWitness}, fault{3, x.cutWitness})
	}
	return list
}

// leaveRegion takes a region away for about as long as the others need to move the primary.
func (x elections) leaveRegion(ctx context.Context) {
	region := x.region()
	x.tell("region %s is away", region)
	x.fleet.startAll(ctx)
	x.wait(time.Duration(x.random.IntN(3000)) * time.Millisecond)
	x.fleet.network.Isolate(region)
	x.noteCut(forever)
	if x.random.IntN(2) == 0 {
		x.killWhere(func(m *member) bool { return m.region == region })
	}
	x.wait(time.Duration(x.random.IntN(9000)) * time.Millisecond)
	if x.random.IntN(2) == 0 {
		x.heal(ctx)
	}
}

// losePrimary takes the primary away for as long as it takes the others to vote for another one. Before that every node
// is upgraded that keeps the fleet from voting.
func (x elections) losePrimary(ctx context.Context) {
	e := x.fleet.plan.election
	if e == nil {
		return
	}
	upgrades(x).upgradeAll(ctx)
	list := x.fleet.running()
	i := slices.IndexFunc(list, func(p *process) bool {
		h := p.Health()
		return h.IsLeader && h.Role == replication.RolePrimary
	})
	if i < 0 {
		return
	}
	lost := list[i].member.region
	x.tell("the primary %s is away", lost)
	if x.random.IntN(2) == 0 {
		x.killWhere(func(m *member) bool { return m.region == lost })
	} else {
		x.fleet.network.Isolate(lost)
		x.noteCut(forever)
	}
	x.wait(e.settings.Lease + e.settings.Patience + 4*time.Second)
	x.heal(ctx)
}

func (x elections) observer() *observer {
	return x.fleet.observers[x.random.IntN(len(x.fleet.observers))]
}

func (x elections) killWitness(context.Context) {
	if o := x.observer(); o.process != nil {
		o.lose()
	} else {
		o.start()
	}
}

func (x elections) cutWitness(context.Context) { x.cut(x.observer().name, x.region()) }

// begun notes that a region which votes began an epoch. Then there is no other primary of that epoch, whoever forced it
// (invariant 7). The lock is held.
func (l *lineage) begun(r replication.Reign, chartered bool) {
	switch {
	case !chartered && r.Lossy:
		l.unvoted = true
	case chartered && r.Epoch > 1:
		l.note(injectVotes)
		if len(l.reigns[r.Epoch]) > 0 && !l.unvoted {
			l.wrong("7", "epoch %d was voted to %s, and %s began it before", r.Epoch, r.Primary,
				l.reigns[r.Epoch][0].Primary)
		}
	}
}

// fenced reports whether every primary was fenced before another one could begin.
func (l *lineage) fenced() bool { return !l.unvoted }
