package sim

import (
	"context"
	"slices"
	"time"

	"github.com/cockroachdb/pebble/v2/vfs"

	"github.com/mimir-kv/mimir/replication"
)

// oldWitness starts a witness on a copy of its disk that was made before its last start, which it sees to, and of which
// everybody heard. It has to be found out by whoever asks it first, and to vote for nobody any more; then its own disk
// is put back, and it votes again.
func (x elections) oldWitness(ctx context.Context) {
	f := x.fleet
	if len(f.observers) == 0 {
		return
	}
	f.network.HealAll()
	x.noteCut(time.Now())
	f.startAll(ctx)
	for _, o := range f.observers {
		o.start()
	}
	o := x.observer()
	if o.process == nil {
		return
	}
	old := o.memory.CrashClone(vfs.CrashCloneCfg{UnsyncedDataPercent: 100, RNG: stream(f.plan.seed, "old "+o.name)})
	o.lose()
	o.start()
	x.wait(4 * time.Second)
	soon := time.Now().Add(-4 * time.Second)
	if o.process == nil || !x.supports(o) || slices.ContainsFunc(f.members, func(m *member) bool {
		p := m.current()
		return m.status.exists() && (p == nil || p.still.After(soon))
	}) {
		return
	}
	o.lose()
	own := o.memory
	o.memory = old
	x.tell("witness %s starts on an older copy of its disk", o.name)
	o.start()
	for range 30 {
		if o.process == nil || o.process.Lost() != nil {
			break
		}
		x.wait(100 * time.Millisecond)
	}
	switch {
	case o.process == nil:
	case o.process.Lost() != nil:
		f.happened.note(injectBack)
	case x.supports(o):
		f.trace.wrong("7", "witness %s votes on an older copy of its disk, and everybody knows it", o.name)
	}
	o.lose()
	o.memory = own
	o.start()
}

// supports reports whether a witness supports a primary that has a lease.
func (x elections) supports(o *observer) bool {
	for _, p := range x.fleet.running() {
		s := p.Voting().Status()
		if s != nil && s.Holds && slices.ContainsFunc(s.Voters, func(v replication.VoterStatus) bool {
			return v.ID == "witness/"+o.name && v.Supports && v.Problem == ""
		}) {
			return true
		}
	}
	return false
}
