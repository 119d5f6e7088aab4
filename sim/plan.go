package sim

import (
	"fmt"
	"math/rand/v2"
	"time"

	"github.com/mimir-kv/mimir/replication/clock"
)

// Options chooses a run. Everything that is zero is drawn from the seed.
type Options struct {
	Seed    uint64
	Regions int           // 1 to 3
	Nodes   int           // in each region: 1, 3 or 5
	Storage string        // "ledger", "volatile" or "kv"
	Chaos   time.Duration // how long faults happen, in virtual time
	Forced  string        // forced failovers: "yes" or "no"
	Inject  string        // further kinds of faults, as Injections lists them, "all" or "drawn"; empty: none
	Crash   string        // the crash point at which the power fails first, where crashes are injected: "within rewind"
}

// Storages of a run.
const (
	storageLedger   = "ledger"   // durable after Sync
	storageVolatile = "volatile" // the library keeps its snapshots
	storageKV       = "kv"
)

// plan is everything that is fixed before a run begins.
type plan struct {
	seed        uint64
	regions     []string
	size        int                           // nodes of a region
	sizes       map[string]int                // of single regions, where they differ; nil: they do not
	clocks      func(name string) clock.Clock // of each machine; nil: drawn, or the right one
	storage     string
	chaos       time.Duration
	forced      bool // failovers are forced
	clients     int
	think       time.Duration // between two operations of a client, at most
	payload     int           // bytes of a value, at most
	calm        time.Duration // between two faults, at most
	slowSync    time.Duration
	near        time.Duration // inside a region
	far, jitter time.Duration // between regions
	retainBytes int64
	checkpoints int64 // bytes of log between two of a node's own; negative: none
	inject      injections
	election    *election   // nil: nobody votes
	aim         *crashPoint // the crash point that this run is to come to; nil: any
}

var regionNames = []string{"us", "eu", "ap"}

func newPlan(o Options) *plan {
	r := stream(o.Seed, "plan")
	p := &plan{
		seed:     o.Seed,
		regions:  regionNames[:pick(r, 1, 2, 2, 2, 2, 3, 3)],
		size:     pick(r, 1, 3, 3, 3, 3, 3),
		storage:  pick(r, storageLedger, storageLedger, storageLedger, storageVolatile, storageKV),
		chaos:    time.Duration(8+r.IntN(10)) * time.Second,
		forced:   r.IntN(2) == 0,
		clients:  2 + r.IntN(4),
		think:    time.Duration(20+r.IntN(200)) * time.Millisecond,
		payload:  pick(r, 20, 400, 2000),
		calm:     pick(r, 300*time.Millisecond, time.Second, 3*time.Second),
		slowSync: pick(r, 100*time.Microsecond, time.Millisecond, 5*time.Millisecond),
		// never zero: an endless exchange must end with the run
		near:        pick(r, time.Millisecond, 2*time.Millisecond, 4*time.Millisecond),
		far:         time.Duration(r.IntN(80)) * time.Millisecond,
		jitter:      time.Duration(r.IntN(20)) * time.Millisecond,
		retainBytes: pick[int64](r, 8<<30, 256<<10, 64<<10),
	}
	p.checkpoints = pick[int64](stream(o.Seed, "checkpoints"), 2<<10, 2<<10, 16<<10, 1<<30, -1)
	if o.Regions > 0 {
		p.regions = regionNames[:o.Regions]
	}
	p.inject = newInjections(o.Inject, stream(o.Seed, "inject"))
	if p.inject[injectFive] {
		p.size = 5
	}
	if o.Inject == "drawn" {
		p.fit()
	}
	p.aimAt(o)
	several := p.inject[injectVotes] || p.inject[injectWiped] || p.inject[injectCrash]
	if several && len(p.regions) == 1 && o.Regions == 0 {
		p.regions = regionNames[:2]
	}
	if p.inject[injectVotes] && len(p.regions) > 1 {
		p.election = newElection(o.Seed, p.regions, p.inject)
		p.chaos += electionTime
	}
	if o.Nodes > 0 {
		p.size = o.Nodes
	}
	rewinds := p.aim != nil && p.aim.step == stepRewind
	if p.inject[injectWatch] || p.inject[injectLease] || p.inject[injectUsers] || rewinds {
		p.storage = storageKV
	}
	if o.Storage != "" {
		p.storage = o.Storage
	}
	if o.Chaos > 0 {
		p.chaos = o.Chaos
	}
	if o.Forced != "" {
		p.forced = o.Forced == "yes"
	}
	return p
}

// fit makes a plan with drawn kinds one that is worth what it costs: fifteen nodes take long, and show little that ten
// do not; one region alone has nobody to vote or to remember its disks.
func (p *plan) fit() {
	p.chaos /= 2 // each kind has its time, whatever is drawn beside
	if p.size == 5 {
		p.regions = p.regions[:min(len(p.regions), 2)]
	}
	if len(p.regions) == 1 {
		delete(p.inject, injectOld)
		delete(p.inject, injectVotes)
		delete(p.inject, injectCharters)
		delete(p.inject, injectWiped)
		delete(p.inject, injectCrash)
	}
	if !p.inject[injectVotes] {
		delete(p.inject, injectCharters)
	}
	if p.inject[injectMembers] { // who belongs to a region that is formed anew is another question
		delete(p.inject, injectWiped)
	}
	if p.inject[injectWiped] { // with a vote taken away too few are left then: an operator has to recover
		delete(p.inject, injectCharters)
	}
}

// aimAt chooses the crash point that a run has to come to, of drawn ones one after the other as seeds go on, and makes
// the plan one whose fleet can come there. A point that is left to chance is tested by chance.
func (p *plan) aimAt(o Options) {
	if p.inject[injectCharters] && o.Inject != "drawn" {
		p.inject[injectVotes] = true
	}
	if p.inject[injectBack] && o.Inject != "drawn" { // of three regions few have a witness
		p.inject[injectVotes], p.regions = true, p.regions[:min(len(p.regions), 2)]
	}
	if o.Crash != "" {
		p.inject[injectCrash] = true
	}
	if !p.inject[injectCrash] || o.Inject != "drawn" && o.Crash == "" {
		return
	}
	all := crashPoints()
	at := all[o.Seed%uint64(len(all))]
	for _, named := range all {
		if named.String() == o.Crash {
			at = named
		}
	}
	p.aim = &at
	switch at.step {
	case stepVote, stepCeiling:
		p.inject[injectVotes] = true
	case stepWitness:
		p.inject[injectVotes], p.regions = true, p.regions[:min(len(p.regions), 2)] // of three regions few have one
	case stepRescue, stepInstall, stepRewind:
		p.forced = true
	}
	if at.step == stepRewind {
		p.checkpoints = 2 << 10
	}
}

// sizeOf returns how many nodes form a region.
func (p *plan) sizeOf(region string) int {
	if n, ok := p.sizes[region]; ok {
		return n
	}
	return p.size
}

// placesOf returns how many nodes a region may ever have had.
func (p *plan) placesOf(region string) int {
	if p.inject[injectMembers] {
		return p.sizeOf(region) + spares
	}
	return p.sizeOf(region)
}

// clockOf returns the clock of a machine.
func (p *plan) clockOf(name string) clock.Clock {
	switch {
	case p.clocks != nil:
		return p.clocks(name)
	case p.inject[injectSkew], p.inject[injectPause]:
		r := stream(p.seed, "clock "+name)
		off, rate := time.Duration(r.Int64N(int64(48*time.Hour)))-24*time.Hour, slowestRate+rateSpan*r.Float64()
		if !p.inject[injectSkew] {
			off, rate = 0, 1
		}
		m := newMachine(rate)
		m.set(off)
		return m
	default:
		return clock.Unsuspended
	}
}

// Rates of clocks that are skewed.
const slowestRate, rateSpan = 0.8, 0.4

func (p *plan) String() string {
	return fmt.Sprintf("%d regions of %d nodes, %s, %v of faults every %v at most, forced failovers %t, %d clients, "+
		"sync %v, near %v, far %v+%v, retain %d bytes, checkpoints every %d, inject %q, votes: %v, crash %v",
		len(p.regions), p.size, p.storage, p.chaos, p.calm, p.forced, p.clients, p.slowSync, p.near, p.far, p.jitter,
		p.retainBytes, p.checkpoints, p.inject, p.election, p.aim)
}

// stream returns the randomness of one purpose.
func stream(seed uint64, purpose string) *rand.Rand {
	h := uint64(14695981039346656037)
	for _, c := range []byte(purpose) {
		h = (h ^ uint64(c)) * 1099511628211
	}
	return rand.New(rand.NewPCG(seed, h))
}

func pick[T any](r *rand.Rand, choices ...T) T { return choices[r.IntN(len(choices))] }
