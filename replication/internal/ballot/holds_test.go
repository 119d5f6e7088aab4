package ballot

import (
	"fmt"
	"slices"

	"github.com/mimir-kv/mimir/replication/timeline"
)

// holds has region i, if it is primary and has a lease, order a hold, or end one once nothing counts by it any more;
// and keep what another voter has.
func (n *world) holds(i int, bug string, add func(string, func(*world))) {
	v := &n.voters[i]
	s := v.state
	evidence, c := v.leader.holder.Evidence(), s.Charter()
	if len(n.charters) > 1 && len(n.voters) < most && v.log == nil && v.chart == nil {
		n.keeps(i, bug, add)
	}
	n.halfKept(i, add)
	n.counts(i, bug, add)
	if n.left.Holds == 0 || v.log != nil || v.chart != nil || !s.Writable() || evidence.Epoch != s.Cursor.Epoch ||
		n.now >= evidence.Until {
		return
	}
	next := c.Next(s.Cursor.Epoch, timeline.Latest(s.Reigns).First-1)
	if c.Hold == nil || c.Epoch != s.Cursor.Epoch {
		add(fmt.Sprint(names[i], " holds"), func(n *world) {
			n.left.Holds--
			next.Hold = &timeline.Hold{For: holding, Until: n.wall().Add(holding), Counted: !n.left.Plain}
			n.write(i, *next, bug)
		})
		return
	}
	add(names[i]+" writes another charter in the hold", func(n *world) {
		n.left.Holds--
		n.write(i, *next, bug)
	})
	add(fmt.Sprint(names[i], " ends the hold"), func(n *world) {
		n.left.Holds--
		h := &n.voters[i].leader.holder
		view := n.view(i, false, s)
		view.Ending = true
		h.Step(n.now, view, nil)
		last := h.Ends()
		if bug == "nobody says up to where was acknowledged in a hold" {
			last = 0
		}
		n.write(i, *next.Ends(last), bug)
		h.Step(n.now, n.view(i, false, n.voters[i].state), nil)
	})
}

// counts has region i, or the witness, note how much of a hold is over, and a node that does not lead see that.
func (n *world) counts(i int, bug string, add func(string, func(*world))) {
	for _, k := range []int{i, w} {
		v := &n.voters[k]
		probe := v.leader.clone()
		if k == i || i == a {
			if len(probe.voter.Step(n.now, v.state, nil)) > 0 && (witness(k) || v.log == nil) {
				add(names[k]+" counts", func(n *world) { n.tell(k, false, nil, bug) })
			}
		}
	}
	v := &n.voters[i]
	next := v.next
	if next.see(n.now, v.state.Ballot, false); next != v.next {
		add(fmt.Sprint("a node of ", names[i], " sees"), func(n *world) {
			n.voters[i].next.see(n.now, n.voters[i].state.Ballot, false)
		})
	}
}

// halfKept has the witness end when it has kept a charter of region i, and not the ceiling that came with it.
func (n *world) halfKept(i int, add func(string, func(*world))) {
	c := n.voters[i].state.Charter()
	if n.left.Restarts == 0 || c.Epoch != n.voters[i].state.Cursor.Epoch ||
		!n.voters[w].state.Charter().Mark().Before(c.Mark()) {
		return
	}
	add(fmt.Sprint(names[w], " keeps the charter of ", names[i], " and restarts"), func(n *world) {
		n.left.Restarts--
		n.apply(w, &timeline.Control{Op: timeline.OpCharter, Charter: c, To: names[i]})
		v := &n.voters[w]
		v.term++
		v.leader = newProcess(w, v.term, n.now, v.state)
	})
}

// plantHold makes the mistakes that are about holds, before a step.
func (n *world) plantHold(bug string) {
	for i := range n.voters {
		if v := &n.voters[i]; bug == "who sees a note goes on by the one before" && v.next.hold != nil {
			v.next.number = v.state.Ballot.Count.Number
		}
		for _, former := range []bool{false, true} {
			if former && n.voters[i].former == nil {
				continue
			}
			p, s := n.process(i, former)
			switch bug {
			case "who starts anew waits for a lease in a hold":
				if c := s.Charter(); c != nil && c.Hold != nil && n.now >= p.voter.since+lease {
					p.voter.since, p.voter.before = n.now-holding, nil
				}
			case "a hold is promised before it is noted how much is left":
				p.voter.noted = s.Charter().Hold
			case "promises of a hold count without the own voter's":
				if own := p.holder.support(names[i]); own != nil && !witness(i) {
					own.Until = max(own.Until, n.longest(p))
				}
			}
		}
	}
}

func (n *world) longest(p *process) (until Instant) {
	for _, s := range p.holder.voters {
		until = max(until, s.Until)
	}
	return until
}

// begin returns a new world; where it is Held with region a in a hold that the witness promised, and of which b heard,
// and where that Ended, with an end of it that both know, and the witness nothing else. Where it is
// Lowered, a has lowered the lease under promises of the former one, and all voters keep that; where it is Handed, b
// has just begun epoch 2 by a handoff.
func begin(l limits, bug string) *world {
	n := newWorld(l)
	n.left.Waits = false
	if l.Held || l.Ended {
		n.play(bug, "a renews at witness/w, former false false", "a renews at a, former false false",
			"a confirms, former false", "a agrees on ceiling", "a holds", "a renews at witness/w, former false false",
			"a renews at a, former false false", "a confirms, former false", "b keeps the charter of a")
	}
	if l.Lowered {
		n.playLowered(bug)
	}
	if l.Handed {
		n.playHanded(bug)
	}
	if l.Sealed {
		n.playSealed(bug)
	}
	if l.Ended {
		n.play(bug, "a acknowledges 1", "a acknowledges 2", "a ends the hold",
			"witness/w keeps the charter of a and restarts", "b keeps the charter of a")
	}
	n.left.Waits = l.Waits
	return n
}

func (n *world) play(bug string, acts ...string) {
	for _, act := range acts {
		steps := n.next(bug)
		i := slices.IndexFunc(steps, func(s step) bool { return s.act == act })
		if i < 0 {
			panic("there is no way to: " + act)
		}
		steps[i].do(n)
	}
}
