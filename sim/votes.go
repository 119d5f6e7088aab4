package sim

import (
	"context"
	"log/slog"
	"slices"
	"time"

	"github.com/cockroachdb/pebble/v2/vfs"

	"github.com/mimir-kv/mimir/replication"
	"github.com/mimir-kv/mimir/replication/clock"
	"github.com/mimir-kv/mimir/replication/durable/pebblefs"
	"github.com/mimir-kv/mimir/replication/timeline"
	"github.com/mimir-kv/mimir/replication/witness"
)

// voteSettings returns the charter that a fleet gives itself; nil where no votes are taken. The clocks run as wrong as
// it says.
func (p *plan) voteSettings() *replication.VoteSettings {
	if !p.inject[injectVotes] || len(p.regions) == 1 {
		return nil
	}
	r := stream(p.seed, "votes")
	s := replication.DefaultVotes()
	s.Lease = time.Duration(1500+r.IntN(1500)) * time.Millisecond
	s.MaxLoss = pick(r, replication.AnyLoss, replication.AnyLoss, replication.AnyLoss, 100, 0)
	if p.inject[injectSkew] {
		s.DriftPPM = uint32(1_000_000 * rateSpan / 2)
	}
	if len(p.regions) == 2 {
		s.Witnesses = map[string][]string{witnessName: {witnessName}}
	}
	return &s
}

const witnessName = "w1"

// startWitness starts the witness of two regions that vote, on its own disk.
func (f *fleet) startWitness() {
	s := f.plan.voteSettings()
	if s == nil || s.Witnesses == nil {
		return
	}
	var err error
	f.witness, err = witness.Start(witness.Config{
		Name: witnessName, FleetID: replication.DefaultFleetID, DataDir: dataFolder, FS: pebblefs.New(f.ballots),
		Clock: clock.Unsuspended, Logger: slog.New(slog.NewTextHandler(f.trace, nil)),
	}, f.network.Node(witnessName))
	if err != nil {
		f.trace.wrong("7", "the witness does not start: %v", err)
	}
}

// stopWitness ends it, as a power cut does.
func (f *fleet) stopWitness() {
	if f.witness == nil {
		return
	}
	if err := f.witness.Shutdown(); err != nil {
		f.trace.wrong("7", "the witness ended with %v", err)
	}
	f.ballots = f.ballots.CrashClone(vfs.CrashCloneCfg{})
}

// awaitCharter waits until votes are taken, where they can be: before that nothing is of interest here.
func (f *fleet) awaitCharter() {
	if f.plan.voteSettings() == nil || slices.ContainsFunc(f.members, func(m *member) bool {
		return m.status.exists() && m.level < timeline.LevelBallots
	}) {
		return
	}
	for deadline := time.Now().Add(20 * time.Second); time.Now().Before(deadline); time.Sleep(100 * time.Millisecond) {
		for _, p := range f.running() {
			if s := p.Voting().Status(); s != nil {
				f.trace.tell("votes are taken")
				return
			}
		}
	}
	f.trace.wrong("15", "no votes are taken after 20 s without a fault")
}

// losePrimary takes the primary away for as long as it takes the others to vote for another one. Before that every node
// is upgraded that keeps the fleet from voting.
func (x *faults) losePrimary(ctx context.Context) {
	s := x.fleet.plan.voteSettings()
	if s == nil {
		return
	}
	x.upgradeAll(ctx)
	i := slices.IndexFunc(x.fleet.running(), func(p *process) bool {
		h := p.Health()
		return h.IsLeader && h.Role == replication.RolePrimary
	})
	if i < 0 {
		return
	}
	lost := x.fleet.running()[i].member.region
	x.tell("the primary %s is away", lost)
	if x.random.IntN(2) == 0 {
		x.killWhere(func(m *member) bool { return m.region == lost })
	} else {
		x.fleet.network.Isolate(lost)
		x.noteCut(forever)
	}
	if x.fleet.witness != nil && x.random.IntN(4) == 0 {
		x.fleet.stopWitness()
		x.fleet.startWitness()
	}
	x.wait(s.Lease + s.Patience + 4*time.Second)
	x.heal(ctx)
}

// voted notes that a region which votes began an epoch. Then there is no other primary of that epoch, whoever forced it
// (invariant 7). The lock is held.
func (l *lineage) voted(r replication.Reign, chartered bool) {
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

// fenced reports whether every primary was fenced before another one could begin: then what is in the final history
// happened in its order, whatever was forced.
func (l *lineage) fenced() bool { return !l.unvoted }

// surviving returns the operations that are, or saw, a part of the history that leads to a place.
func (e *evidence) surviving(end *place) []operation {
	var list []operation
	for _, o := range e.operations.list {
		at := o.seen
		if o.outcome == acknowledged && len(o.values) > 0 {
			if places := e.fleet.lineage.placesOf(o.values[0]); len(places) > 0 {
				at = places[0]
			}
		}
		if at == nil || at.before(end) {
			list = append(list, o)
		}
	}
	return list
}
