package sim

import (
	"time"

	"github.com/mimir-kv/mimir/replication"
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
	s.MaxLoss = pick(r, replication.AnyLoss, replication.AnyLoss, 100, 0)
	if p.inject[injectSkew] {
		s.DriftPPM = uint32(1_000_000 * rateSpan / 2)
	}
	return &s
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
