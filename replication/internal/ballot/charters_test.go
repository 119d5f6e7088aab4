package ballot

import (
	"cmp"
	"fmt"
	"reflect"
	"slices"
	"testing"

	"github.com/mimir-kv/mimir/replication/timeline"
)

// Mistakes about charters that wait in a log.
const (
	voteForgotten = "a charter counts whatever was voted for meanwhile"
	countedEarly  = "a charter counts before it is agreed on"
)

// charts has region i, if it is primary and has a lease, write a charter: first its own version of the one before, then
// those with one voter more or less; and has a region keep what another voter has.
func (n *world) charts(i int, bug string, add func(string, func(*world))) {
	v := &n.voters[i]
	s := v.state
	if len(n.voters) < most && !n.left.returns() && n.left.MaxLoss != 0 || v.log != nil || v.chart != nil {
		return
	}
	n.keeps(i, bug, add)
	evidence, c := v.leader.holder.Evidence(), s.Charter()
	if !s.Writable() || evidence.Epoch != s.Cursor.Epoch || n.now >= evidence.Until {
		return
	}
	if c.Epoch != s.Cursor.Epoch {
		next := *c
		next.Epoch, next.Number = s.Cursor.Epoch, c.Number+1
		add(names[i]+" writes the charter as its own", func(n *world) { n.write(i, next, bug) })
		return
	}
	if n.left.Charters == 0 {
		return
	}
	for k := range n.voters {
		if k == i {
			continue
		}
		next, act := changed(c, k)
		next.Epoch, next.Number = s.Cursor.Epoch, c.Number+1
		probe := v.leader.clone()
		probe.holder.Step(n.now, n.view(i, false, s), nil)
		if bug != "a charter is changed before the one before is kept" && !probe.holder.Settled(&next) {
			continue
		}
		add(fmt.Sprint(names[i], " ", act, " ", names[k]), func(n *world) {
			n.left.Charters--
			n.write(i, next, bug)
		})
	}
}

// changed returns a charter with voter k less, or more.
func changed(c *timeline.Charter, k int) (next timeline.Charter, act string) {
	next, act = *c, "removes"
	id := names[k]
	next.Voters = slices.DeleteFunc(slices.Clone(c.Voters), func(v timeline.Voter) bool { return v.ID == id })
	if c.Voter(id) == nil {
		added := timeline.Voter{ID: id}
		if witness(k) {
			added.Addrs = []string{"here"}
		} else {
			added.Priority = 1
		}
		next.Voters, act = append(next.Voters, added), "adds"
		slices.SortFunc(next.Voters, func(a, b timeline.Voter) int { return cmp.Compare(a.ID, b.ID) })
	}
	next.Automatic = len(next.Voters) >= 3
	return next, act
}

// write has region i propose a charter of its own.
func (n *world) write(i int, c timeline.Charter, bug string) {
	if c.Fault() != "" {
		panic(c.Fault())
	}
	n.propose(i, &timeline.Control{Op: timeline.OpCharter, Charter: &c, To: names[i]}, bug)
}

// propose brings a charter to the log of region i; where none Waits it is agreed on at once.
func (n *world) propose(i int, c *timeline.Control, bug string) {
	v := &n.voters[i]
	before := v.state
	if v.chart = c; !n.left.Waits || bug == countedEarly {
		n.agree(i, bug)
	}
	if bug == countedEarly {
		v.chart, v.before = c, before
	}
}

// agree has region i agree on the charter that was proposed. It counts unless the region has voted in a later epoch
// meanwhile, be it for itself.
func (n *world) agree(i int, bug string) {
	v := &n.voters[i]
	c := v.chart
	v.chart = nil
	if bug == voteForgotten && v.state.Ballot.Promised > c.Charter.Epoch {
		next, ballot := v.state.Clone(), *v.state.Ballot
		ballot.Promised, ballot.For, ballot.Handoff = c.Charter.Epoch, c.To, 0
		next.Ballot, v.state = &ballot, next
	}
	if outcome, _ := n.apply(i, c); outcome != timeline.Applied {
		return
	}
	switch k := n.charter(c.Charter.Mark()); {
	case k < 0:
		n.charters = append(slices.Clip(n.charters), *c.Charter)
	case !reflect.DeepEqual(n.charters[k], *c.Charter):
		n.broken = fmt.Sprintf("B1: two charters %d of epoch %d", c.Charter.Number, c.Charter.Epoch)
	}
}

// ending reports whether the charter that was proposed, if any, ends a hold.
func (v *voter) ending() bool {
	own := v.state.Charter()
	return v.chart != nil && own != nil && own.Hold != nil && v.chart.Charter.Hold == nil
}

// keeps has region i hear of a newer charter from another voter, and keep it, as far as that is allowed.
func (n *world) keeps(i int, bug string, add func(string, func(*world))) {
	s := n.voters[i].state
	for k := range n.voters {
		b := n.voters[k].state.Ballot
		if k == i || b.Charter.Number == 0 || !s.Charter().Mark().Before(b.Charter.Mark()) ||
			b.Charter.Epoch < s.Ballot.Promised ||
			b.Charter.Epoch > s.Ballot.Promised && b.Charter.Epoch != b.Promised {
			continue
		}
		add(fmt.Sprint(names[i], " keeps the charter of ", names[k]), func(n *world) {
			b := n.voters[k].state.Ballot
			n.propose(i, &timeline.Control{Op: timeline.OpCharter, Charter: &b.Charter, To: b.For}, bug)
		})
	}
}

// standsUnder has region i stand by a newer charter that it heard of.
func (n *world) standsUnder(i int, epoch timeline.Epoch, add func(string, func(*world))) {
	own := n.voters[i].state.Charter().Mark()
	for k := range n.charters {
		c := &n.charters[k]
		heard := slices.ContainsFunc(n.voters, func(v voter) bool { return v.state.Ballot.Charter.Mark() == c.Mark() })
		if !heard || !own.Before(c.Mark()) || c.Voter(names[i]) == nil {
			continue
		}
		add(fmt.Sprint(names[i], " stands for epoch ", epoch, " by charter ", c.Number, " of epoch ", c.Epoch),
			func(n *world) {
				n.left.Stands--
				n.stand(i, Of(n.voters[i].state.Under(&n.charters[k]), epoch))
			})
	}
}

// TestABallotThatWasLostCountsNoMore: the one in its place knows of no ceiling, and promised nothing.
func TestABallotThatWasLostCountsNoMore(t *testing.T) {
	h, v := NewHolder("a"), HolderView{Term: 1, State: reigning("a"), Reached: 50, Shared: 50}
	answers(h, 0, v, h.Step(0, v, nil), "a", "b")
	if e := h.Evidence(); e.Until == 0 || e.Ceiling != 70 {
		t.Fatalf("a and b support the primary: %+v", e)
	}
	next, ballot := v.State.Clone(), *v.State.Ballot
	ballot.Charter.Number, ballot.Charter.Voters = 3, slices.Clone(ballot.Charter.Voters)
	ballot.Charter.Voters[b].Identity = timeline.Nonce{7} // it was removed, and added
	if h.Settled(&ballot.Charter) {
		t.Error("the ballot in the place of b's supports nobody yet, and it is settled")
	}
	next.Ballot, v.State = &ballot, next
	asked := h.Step(0, v, nil)
	answers(h, 0, v, asked, "a")
	if e := h.Evidence(); e.Until != 0 || e.Ceiling != 0 {
		t.Errorf("only a and a ballot that is lost support the primary: %+v", e)
	}
	answers(h, 0, v, asked, "b")
	if e := h.Evidence(); e.Until == 0 || e.Ceiling != 70 {
		t.Errorf("b supports it anew: %+v", e)
	}
}
