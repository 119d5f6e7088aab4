package sim

import (
	"slices"

	"github.com/mimir-kv/mimir/replication"
)

// checkVotes checks what a fleet that votes promises beyond one that is moved by orders, if it did from the beginning.
func (e *evidence) checkVotes(end *place, wrong report) {
	l := e.fleet.lineage
	checkEpochs(e.operations.list, wrong)
	checkOrder(l.surviving(e.operations.list, end), wrong)
	if !e.plan.forced && !e.fleet.accepted {
		e.checkBudget(end, wrong)
	}
}

// checkEpochs checks that nothing was acknowledged or read in an epoch after something was in a later one (invariant
// 7): at no time two regions did.
func checkEpochs(operations []operation, wrong report) {
	var done []operation
	for _, o := range operations {
		if o.seen != nil {
			o.epoch, o.position = o.seen.epoch, o.seen.position
		}
		if o.seen != nil || o.outcome == acknowledged {
			done = append(done, o)
		}
	}
	byBegin := slices.Clone(done)
	slices.SortFunc(done, func(a, b operation) int { return int(a.end) - int(b.end) })
	slices.SortFunc(byBegin, func(a, b operation) int { return int(a.begin) - int(b.begin) })
	var before operation // that of the latest epoch that ended before
	next := 0
	for _, o := range byBegin {
		for next < len(done) && done[next].end < o.begin {
			if done[next].epoch >= before.epoch {
				before = done[next]
			}
			next++
		}
		if o.epoch < before.epoch {
			wrong("7", "%v, in epoch %d, began after %v, in epoch %d, had ended", o, o.epoch, before, before.epoch)
		}
	}
}

// surviving returns the operations of the final history.
func (l *lineage) surviving(operations []operation, end *place) []operation {
	var list []operation
	for _, o := range operations {
		at := o.seen
		if at == nil && o.outcome == acknowledged {
			if places := l.placesOf(o.values[len(o.values)-1]); len(places) > 0 {
				at = places[0]
			}
		}
		if at != nil && at.before(end) {
			list = append(list, o)
		}
	}
	return list
}

// behind returns how many commands of p are not in the history that leads to end.
func (p *place) behind(end *place) int {
	shared := p
	for !shared.before(end) {
		shared = shared.parent
	}
	return int(p.position - shared.position)
}

// checkBudget checks that no reign lost more of what it acknowledged, or of what was read in it, than the budget says,
// and nothing that enough regions had (L3).
func (e *evidence) checkBudget(end *place, wrong report) {
	l, election := e.fleet.lineage, e.plan.election
	budget, bound := election.budget()
	enough := election.enough(len(e.plan.regions))
	lost := map[replication.Epoch]int{}
	for _, o := range e.operations.list {
		if o.values == nil || o.outcome != acknowledged || o.short {
			continue
		}
		for _, v := range o.values {
			places := l.placesOf(v)
			if len(places) == 0 || places[0].before(end) {
				continue
			}
			if lost[o.epoch]++; o.regions >= enough {
				wrong("L3", "%v was acknowledged as durable in %d regions, and is lost", o, o.regions)
			}
		}
	}
	for _, o := range e.operations.list {
		if o.seen == nil || !bound {
			continue
		}
		if n := o.seen.behind(end); n > budget {
			wrong("L3", "%v in epoch %d saw %d commands that are lost, %d may be", o, o.seen.epoch, n, budget)
		}
	}
	for epoch, n := range lost {
		if bound && n > budget {
			wrong("L3", "%d commands that epoch %d acknowledged are lost, %d may be", n, epoch, budget)
		}
	}
}
