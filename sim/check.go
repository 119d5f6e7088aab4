package sim

import (
	"context"
	"fmt"
	"log/slog"
	"slices"

	"github.com/cockroachdb/pebble/v2/vfs"

	"github.com/mimir-kv/mimir/kv"
	"github.com/mimir-kv/mimir/replication"
)

// report is told of each broken invariant.
type report func(invariant, format string, args ...any)

// check looks at everything that a run left.
func (e *evidence) check(wrong report) {
	if !e.converged || len(e.final) == 0 {
		return
	}
	end := e.final[0].at
	rescued := rescuedValues(e.final)
	e.checkWrites(end, rescued, wrong)
	checkEverApplied(e.fleet.lineage, end, rescued, wrong)
	for _, f := range e.final {
		for _, t := range f.tails {
			checkTail(e.fleet.lineage, f, t, wrong)
		}
	}
	if !e.plan.inject[injectLie] { // what lay on the disk that was lost
		checkEachSaved(e.fleet.lineage, e.final, wrong)
	}
	if !e.fleet.lineage.forced() {
		checkOrder(e.operations.list, wrong)
	}
	if e.plan.election != nil && e.fleet.lineage.fenced() {
		e.checkVotes(end, wrong)
	}
	checkHandovers(e.fleet.lineage, wrong)
	e.checkContents(end, wrong)
	e.checkWatchers(end, wrong)
	e.checkLeases(end, wrong)
	e.checkUsers(end, wrong)
}

// rescuedValues returns the regions that keep a command in a rescue file, or in the state beside one.
func rescuedValues(all []final) map[string]map[string]bool {
	m := map[string]map[string]bool{}
	keep := func(data, region string) {
		if m[data] == nil {
			m[data] = map[string]bool{}
		}
		m[data][region] = true
	}
	for _, f := range all {
		for _, t := range f.tails {
			for _, c := range t.commands {
				keep(c.data, f.region)
			}
			for q := t.end; q != nil && q.position > t.info.Fork; q = q.parent {
				if q.reign == nil && q.position <= t.info.Begins() {
					keep(q.data, f.region)
				}
			}
		}
	}
	return m
}

// checkWrites compares what clients were told with the final history and the rescue files (invariants 1, 5 and 8).
func (e *evidence) checkWrites(end *place, rescued map[string]map[string]bool, wrong report) {
	l := e.fleet.lineage
	for _, o := range e.operations.list {
		for i, v := range o.values {
			places := l.placesOf(v)
			name := v[:min(len(v), valueName)]
			if len(places) > 1 {
				wrong("5", "command %q of %s was applied twice, at %v and %v", name, o.node, places[0], places[1])
			}
			if o.outcome == refused && len(places) > 0 {
				wrong("1", "command %q was refused at %s, and is at %v", name, o.node, places[0])
			}
			if o.outcome != acknowledged {
				continue
			}
			want := o.position - replication.Position(len(o.values)-1-i)
			switch {
			case len(places) == 0:
				wrong("1", "command %q was acknowledged at position %d of epoch %d, and never applied", name, want,
					o.epoch)
			case places[0].position != want || places[0].epoch != o.epoch:
				wrong("5", "command %q was acknowledged at position %d of epoch %d, and is at %v", name, want, o.epoch,
					places[0])
			case !places[0].before(end) && len(rescued[v]) == 0 && (!places[0].lost || o.regions > 1):
				wrong("1", "command %q was acknowledged at %s at position %d of epoch %d, and is neither in the "+
					"final history nor in a rescue file", name, o.node, want, o.epoch)
			case !places[0].before(end) && o.regions >= len(e.plan.regions) && o.regions > 1 &&
				!e.fleet.wiped.cut(places[0], end):
				wrong("1",
					"command %q was acknowledged as durable in all %d regions at position %d of epoch %d, and was lost",
					name, o.regions, want, o.epoch)
			}
		}
	}
}

// checkEverApplied checks that whatever any node applied is in the final history or in a rescue file (invariants 1, 3
// and 8).
func checkEverApplied(l *lineage, end *place, rescued map[string]map[string]bool, wrong report) {
	final := map[*place]bool{}
	for _, p := range end.path() {
		final[p] = true
	}
	for _, p := range l.places {
		if p.data != "" && !final[p] && !p.lost && len(rescued[p.data]) == 0 {
			wrong("8", "command %q, applied by %s at %v, is neither in the final history nor in a rescue file",
				p.data[:min(len(p.data), valueName)], p.by, p)
		}
	}
}

// checkEachSaved checks that each node saved itself what it had applied and gave up (invariant 8): the others that had
// it too may be lost.
func checkEachSaved(l *lineage, all []final, wrong report) {
	for _, f := range all {
		saved := rescuedValues([]final{f})
		for _, g := range l.given[f.node] {
			for q := g.from; !q.before(g.to); q = q.parent {
				if q.reign == nil && len(saved[q.data]) == 0 {
					wrong("8", "%s gave up %v, %q, and has it in no rescue file", f.node, q,
						q.data[:min(len(q.data), valueName)])
				}
			}
		}
	}
}

// checkTail checks that a rescue file holds exactly what its region had after the fork (invariants 8 and 9).
func checkTail(l *lineage, f final, t tail, wrong report) {
	name := fmt.Sprintf("tail %s of %s", t.info.Name, f.node)
	if t.info.Damaged != "" {
		wrong("8", "%s is damaged: %s", name, t.info.Damaged)
		return
	}
	begins := t.info.Begins()
	if want := uint64(t.info.Last - begins); uint64(len(t.commands)) != want || t.info.Commands != want {
		wrong("8", "%s holds %d commands and says %d; from %d to %d there are %d", name, len(t.commands),
			t.info.Commands, begins, t.info.Last, want)
		return
	}
	if begins > t.info.Fork && (t.end == nil || t.end.position != t.info.Last || t.end.chain != t.info.Chain) {
		wrong("8", "%s begins at %d, the fork is at %d, and the state beside it is at %v", name, begins, t.info.Fork,
			t.end)
		return
	}
	var first, last *place
	for i, c := range t.commands {
		places := l.placesOf(c.data)
		// the expiry of a lease is one command, whoever decided it: it may stand in several histories
		at := slices.IndexFunc(places, func(p *place) bool { return p.position == c.position && p.epoch == c.epoch })
		if at < 0 || c.position != begins+1+replication.Position(i) {
			wrong("8", "%s: command %d says position %d of epoch %d, and was applied at %v", name, i, c.position,
				c.epoch, places)
			return
		}
		if last != nil && !last.before(places[at]) {
			wrong("8", "%s: %v does not lead to %v", name, last, places[at])
		}
		if last = places[at]; first == nil {
			first = last
		}
	}
	claim := l.reign(t.info.Claim)
	if claim == nil || last == nil {
		return
	}
	if first.before(claim) {
		wrong("9", "%s begins at %v, which the history of epoch %d has", name, first, claim.epoch)
	}
	fork := first.parent
	for fork.position > t.info.Fork || fork.reign != nil && !fork.before(claim) {
		fork = fork.parent
	}
	if !fork.before(claim) {
		wrong("9", "%s begins after %v, which the history of epoch %d does not have", name, fork, claim.epoch)
	}
}

// reign returns the place where a beginning was applied, nil if it was not.
func (l *lineage) reign(r replication.Reign) *place {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.places[l.folder.Reign(r.Previous, r)]
}

// forced reports whether any failover was.
func (l *lineage) forced() bool {
	for _, reigns := range l.reigns {
		if slices.ContainsFunc(reigns, func(r replication.Reign) bool { return r.Lossy }) {
			return true
		}
	}
	return false
}

// checkHandovers checks that an epoch which was handed over ended where the next one begins, on every node (invariant
// 6).
func checkHandovers(l *lineage, wrong report) {
	for _, p := range l.places {
		if p.data == "" {
			continue
		}
		for _, next := range l.reigns[p.epoch+1] {
			if !next.Lossy && p.position >= next.First && l.reign(next).parent.within == p.within {
				wrong("6", "%s applied %v, and the epoch was handed over to %s, which began the next one at %d", p.by,
					p, next.Primary, next.First)
			}
		}
	}
}

// checkOrder checks strict serializability (invariant 2): positions are the order, reads are at the position they saw,
// and what ended before something else began comes before it.
func checkOrder(operations []operation, wrong report) {
	var done []operation
	for _, o := range operations {
		if o.seen != nil {
			o.position = o.seen.position
		} else if o.outcome != acknowledged {
			continue
		}
		done = append(done, o)
	}
	byBegin := slices.Clone(done)
	slices.SortFunc(done, func(a, b operation) int { return int(a.end) - int(b.end) })
	slices.SortFunc(byBegin, func(a, b operation) int { return int(a.begin) - int(b.begin) })
	var before operation // the furthest that ended before
	next := 0
	for _, o := range byBegin {
		for next < len(done) && done[next].end < o.begin {
			if done[next].position >= before.position {
				before = done[next]
			}
			next++
		}
		if o.position < before.position || o.seen == nil && o.position == before.position {
			wrong("2", "%v ended before %v began", before, o)
		}
	}
}

func (o operation) String() string {
	what := "read of"
	if o.seen == nil {
		what = "write of"
	}
	return fmt.Sprintf("%s position %d at %s (%d to %d)", what, o.position, o.node, o.begin, o.end)
}

// checkContents compares what all nodes hold with what the final history makes (invariants 5 and 10).
func (e *evidence) checkContents(end *place, wrong report) {
	if e.plan.storage == storageKV {
		e.checkStores(end, wrong)
		return
	}
	var want []string
	for _, p := range end.path() {
		if p.reign != nil {
			want = append(want, beginning(*p.reign))
		} else {
			want = append(want, p.data)
		}
	}
	for _, f := range e.final {
		if f.at == end && !slices.Equal(f.items, want) {
			wrong("5", "%s is at %v with other contents: %d items, the history has %d", f.node, end, len(f.items),
				len(want))
		}
	}
}

// checkStores replays the final history into a new store, whose hash and revisions all must have.
func (e *evidence) checkStores(end *place, wrong report) {
	hash, compact, revision, err := replay(end)
	if err != nil {
		wrong("10", "replaying the final history: %v", err)
		return
	}
	for _, f := range e.final {
		if f.at == end && (f.hash != hash || f.compact != compact || f.revision != revision) {
			wrong("10", "%s at %v has hash %08x, revision %d, compacted at %d; its history makes %08x, %d, %d", f.node,
				end, f.hash, f.revision, f.compact, hash, revision, compact)
		}
	}
}

// newReplay returns an empty store, into which a history is replayed.
func newReplay() (*kv.Store, error) {
	return kv.Open(kv.Options{
		FS: vfs.NewMem(), Dir: "/replay", CacheBytes: 1 << 20, MemTableBytes: 1 << 20,
		Logger: slog.New(slog.DiscardHandler),
	})
}

func replay(end *place) (hash uint32, compact, revision int64, err error) {
	s, err := newReplay()
	if err != nil {
		return 0, 0, 0, err
	}
	defer s.Close()
	for _, p := range end.path() {
		if err := applyTo(s, p); err != nil {
			return 0, 0, 0, err
		}
	}
	return s.Hash(context.Background(), 0)
}
