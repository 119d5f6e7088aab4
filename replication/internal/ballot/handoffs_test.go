package ballot

import (
	"fmt"
	"strings"
	"testing"

	"github.com/mimir-kv/mimir/replication/timeline"
)

// Mistakes about handoffs, and about who acknowledges.
const (
	sealedAnyhow   = "a sealed region votes by an older charter"
	sealUnasked    = "who takes over does not ask the sealed region"
	forgetsOthers  = "a voter forgets in a handoff whom it supported"
	guardByHandoff = "a new leader takes a vote by a handoff for support"
	guardByProcess = "the guard counts from when the process started"
	proposedUnder  = "a lease is looked at before a write is proposed alone"
	formerTells    = "a former leader acknowledges what a later one wrote"
	clockStands    = "the clock of a holder stands while it is suspended"
)

// hands has region i hand over, refuse that, or go on after it was refused; and, where both may hand over, give way to
// who has begun.
func (n *world) hands(i int, bug string, add func(string, func(*world))) {
	v, o := &n.voters[i], n.voters[1-i].state
	s := v.state
	if v.log != nil {
		return
	}
	if n.left.Seals > 0 && s.Writable() {
		add(names[i]+" seals", func(n *world) {
			n.left.Seals--
			n.apply(i, &timeline.Control{Op: timeline.OpSeal, Epoch: s.Cursor.Epoch, To: names[1-i],
				Handoff: s.Handoffs + 1})
		})
	}
	if h := o.Seal; h != nil && n.left.Refuses > 0 {
		add(names[i]+" refuses", func(n *world) {
			n.left.Refuses--
			n.apply(i, &timeline.Control{Op: timeline.OpRefuse, Epoch: h.Epoch, Handoff: h.Handoff})
		})
	}
	if h := s.Seal; h != nil && (bug == "a seal is lifted without a refusal" ||
		o.Refused == timeline.Refusal{Epoch: h.Epoch, Handoff: h.Handoff}) {
		add(names[i]+" unseals", func(n *world) {
			n.apply(i, &timeline.Control{Op: timeline.OpUnseal, Epoch: h.Epoch, Handoff: h.Handoff})
		})
	}
	claim := timeline.Latest(o.Reigns)
	if n.left.returns() && s.Role() == timeline.Primary && claim.Epoch > s.HighestClaim().Epoch {
		add(names[i]+" gives way", func(n *world) {
			n.apply(i, &timeline.Control{Op: timeline.OpYield, Claim: &claim})
		})
	}
}

// follow has region i take what the other one has: by the stream if that is only that it reigns.
func (n *world) follow(i int) {
	v, other := &n.voters[i], &n.voters[1-i]
	if v.state.Cursor.Position < other.state.Cursor.Position {
		n.apply(i, &timeline.Control{Op: timeline.OpInstall, Checkpoint: "x",
			Origin: &timeline.Origin{Cursor: other.state.Cursor, Reigns: other.state.Reigns}})
	} else {
		m := timeline.NewMachine(v.state)
		for _, r := range other.state.Reigns {
			if _, _, err := m.Reign(r); err != nil {
				panic(err)
			}
		}
		s := m.State()
		v.state = &s
	}
	other.leader.shared = v.state.Cursor.Position
	if n.left.MaxLoss == 0 && other.state.Writable() {
		n.acked[v.state.Cursor.Epoch] = max(n.acked[v.state.Cursor.Epoch], v.state.Cursor.Position)
	}
	n.spread = max(n.spread, min(v.state.Cursor.Position, n.acked[other.state.Cursor.Epoch]))
}

// tells has a former leader of region i acknowledge, without a lease of its own, what a later one wrote.
func (n *world) tells(i int, bug string, add func(string, func(*world))) {
	f, s := n.voters[i].former, n.voters[i].state
	if bug != formerTells || f == nil || s.Cursor.Position <= f.state.Cursor.Position {
		return
	}
	add(fmt.Sprint(names[i], ", former, acknowledges ", s.Cursor.Position), func(n *world) {
		n.alone(i, s.Cursor.Epoch)
	})
}

// alone is whenever region i acknowledges something as primary of the epoch e: then nobody else may do so.
func (n *world) alone(i int, e timeline.Epoch) {
	for f := int(e) + 1; f < len(n.begun); f++ {
		if x := n.begun[f]; x != 0 && int(x)-1 != i {
			n.broken = fmt.Sprintf("B2: %s acknowledges in epoch %d, and %s has begun epoch %d", names[i], e,
				names[x-1], f)
		}
		if x := n.winner(f); x >= 0 && x != i {
			n.broken = fmt.Sprintf("B2: %s acknowledges in epoch %d, and %s was voted into epoch %d", names[i], e,
				names[x], f)
		}
	}
}

// checkSupport looks for a primary that nobody can support, although nobody voted for a later one (B10): a majority of
// its voters keeps a newer charter than its own.
func (n *world) checkSupport() {
	for i := range w {
		s := n.voters[i].state
		e, c := s.Cursor.Epoch, s.Charter()
		if s.Ballot.Promised != e || !s.Writable() {
			continue
		}
		can := n.count(c, func(k int) bool {
			b := n.voters[k].state.Ballot
			return b.Promised > e || !c.Mark().Before(b.Charter.Mark()) && (b.Promised < e || b.For == names[i])
		})
		if can < c.Majority() {
			n.broken = fmt.Sprintf("B10: of %d voters %d can support %s in epoch %d, by charter %d of epoch %d",
				len(c.Voters), can, names[i], e, c.Number, c.Epoch)
		}
	}
}

// unasked returns how many votes region i counts that it did not ask for.
func (n *world) unasked(i int, c *timeline.Candidacy, bug string) int {
	h := n.voters[1-i].state.Seal
	if bug == sealUnasked && h != nil && c.Handoff == h.Handoff && !n.voters[i].leader.votes[1-i] {
		return 1
	}
	return 0
}

// plantVote makes the mistakes that are about votes, before p, which speaks for a voter, is asked for one.
func (n *world) plantVote(to int, p *process, c *timeline.Candidacy, bug string) {
	b := n.voters[to].state.Ballot
	switch {
	case bug == "a vote is given before the promise is over":
		p.voter.until = n.now
	case bug == sealedEarly && c.For == names[to] && n.voters[to].state.Seal != nil:
		p.voter.until, p.voter.others = n.now, n.now
	case bug == sealedAnyhow && b.Voted(c):
		c.Charter = b.Charter
	case bug == guardByHandoff && b.Handoff != 0 && b.For == c.For:
		p.voter.since = min(p.voter.since, n.now-lease)
	}
}

// playHanded has a hand over to b, and follow it.
func (n *world) playHanded(bug string) {
	n.left.Seals++
	n.play(bug, "a seals", "b stands by handoff 1", "b asks b to vote in epoch 2", "b agrees on vote",
		"b asks a to vote in epoch 2", "a confirms, former false", "b begins epoch 2", "a gives way", "a follows")
}

// The ways to a second primary by a handoff that came to nothing, which are longer than walks find: the witness votes
// for b by it while it promises to support a, b refuses, a goes on, and b stands of its own accord.
const (
	votesByHandoff = `a renews at witness/w, former false false|a renews at a, former false false|
		a confirms, former false|a agrees on ceiling|a seals|b stands by handoff 1|b asks b to vote in epoch 2|
		b agrees on vote|b asks witness/w to vote in epoch 2`
	comesToNothing = `|b refuses|a unseals|b gives up|b stands for epoch 3|b asks b to vote in epoch 3|b agrees on vote|
		b asks witness/w to vote in epoch 3`
)

// TestAHandoffThatCameToNothing leaves the promise before it as it was, also where that was forgotten.
func TestAHandoffThatCameToNothing(t *testing.T) {
	l := limits{Epochs: 3, Restarts: 1, Stands: 1, Seals: 1, Refuses: 1, MaxLoss: anyLoss}
	for bug, acts := range map[string]string{
		forgetsOthers:  votesByHandoff + comesToNothing,
		guardByHandoff: votesByHandoff + "|witness/w restarts" + comesToNothing,
	} {
		if broken, did := act(l, acts, ""); broken != "" || len(did) != len(strings.Split(acts, "|")) {
			t.Errorf("without a mistake: %s\n%s", broken, strings.Join(did, "\n"))
		}
		broken, did := act(l, acts, bug)
		if !strings.HasPrefix(broken, "B2:") {
			t.Errorf("%s: nothing noticed it (%q)\n%s", bug, broken, strings.Join(did, "\n"))
		}
		t.Logf("%s: %s\n%s", bug, broken, strings.Join(did, "\n"))
	}
}
