package ballot

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/mimir-kv/mimir/replication/timeline"
)

// Mistakes about a region that goes on although it is sealed.
const (
	sealStays   = "a region that went on supports whom it was sealed for"
	sealedEarly = "a sealed region votes for itself while it supports the other"
	saysNothing = "a region that goes on does not say that another one wrote"
	goesBlind   = "a region that goes on does not look at what would be lost"
	lossUnseen  = "the budget is not looked at"
)

// plantSupport makes the first of them, before voter i is asked to support r.
func (n *world) plantSupport(i int, r *Renewal, bug string) {
	b := n.voters[i].state.Ballot
	if bug != sealStays || b.For != names[i] || r.Region == names[i] || b.Promised <= r.Epoch {
		return
	}
	next, ballot := n.voters[i].state.Clone(), *b
	ballot.Promised, ballot.For = r.Epoch, r.Region
	next.Ballot, n.voters[i].state = &ballot, next
	n.voters[i].leader.voter.epoch = min(n.voters[i].leader.voter.epoch, r.Epoch)
}

// returns reports whether a region that was primary gives way to the next one, and may be primary again.
func (l *limits) returns() bool { return l.Handed || l.Sealed }

// playSealed has a, which reigns with the support of the witness, be sealed for b, and b have both votes of that.
func (n *world) playSealed(bug string) {
	n.left.Seals++
	n.play(bug, "a renews at witness/w, former false false", "a renews at a, former false false",
		"a confirms, former false", "a agrees on ceiling", "a seals", "b stands by handoff 1",
		"b asks b to vote in epoch 2", "b agrees on vote", "b asks a to vote in epoch 2", "a confirms, former false")
}

// goesOn looks whether a region that begins an epoch as if nothing had been lost leaves behind what another one
// acknowledged in between (B6).
func (n *world) goesOn(c *timeline.Candidacy, r timeline.Reign, lossless bool) {
	for e := c.Cursor.Epoch + 1; lossless && e < c.Epoch; e++ {
		if n.acked[e] >= r.First {
			n.broken = fmt.Sprintf("B6: %s begins epoch %d at %d as if nothing were lost, and %d of epoch %d was "+
				"acknowledged", r.Primary, r.Epoch, r.First, n.acked[e], e)
		}
	}
}

// TestASealedRegionGoesOn when the other did not say for a lease what became of the handoff, if a majority lets it: by
// the rules of a move, if the other took writes. As long as that may come to its end, it asks for nothing.
func TestASealedRegionGoesOn(t *testing.T) {
	wrote := timeline.Known{
		Reigns:  []timeline.Reign{{Epoch: 1, First: 1, Primary: "a"}, {Epoch: 2, First: 51, Primary: "b", Handoff: 1}},
		Ceiling: 60,
	}
	for what, c := range map[string]struct {
		waits   bool // it asks the other to refuse
		witness Answer
		paused  string
		want    Instant // that it stands, since it asked the other; zero: it does not
		why     string
	}{
		"it is handed over":        {false, Answer{Granted: true}, "", 0, ""},
		"a majority lets it":       {true, Answer{Granted: true}, "", lease, ""},
		"also while it is paused":  {true, Answer{Granted: true}, "an upgrade", lease, ""},
		"the witness supports b":   {true, Answer{Why: &timeline.Objection{Text: "supports b"}}, "", 0, "supports b"},
		"b wrote":                  {true, Answer{Granted: true, Known: wrote}, "", lease + unit, ""},
		"b wrote and it is paused": {true, Answer{Granted: true, Known: wrote}, "an upgrade", 0, "an upgrade"},
	} {
		s := reigning("a")
		s.Seal = &timeline.Seal{Epoch: 1, To: "b", Handoff: 1, Position: 50}
		ballot := *s.Ballot
		ballot.Promised, ballot.For, ballot.Handoff = 2, "b", 1
		ballot.Charter.Lease, ballot.Charter.Patience, ballot.Charter.Paused = lease, unit, c.paused
		s.Ballot = &ballot
		candidate, stands := NewCandidate("a"), Instant(0)
		for at := Instant(0); at < 5*lease && stands == 0; at += 50 * time.Millisecond {
			v := CandidateView{Term: 1, State: s, Supports: Ruler{1, "a"}}
			if c.waits {
				v.Unheard = at
			}
			effects := candidate.Step(100*time.Second+at, v, nil)
			for k := 0; k < len(effects); k++ {
				e := effects[k]
				if e.Do == Stand {
					stands = at
				}
				if e.Do != Sound {
					continue
				}
				if e.Candidacy.Epoch != 3 || at < lease {
					t.Errorf("%s: after %v it sounds for epoch %d", what, at, e.Candidacy.Epoch)
				}
				said := Sounded{Call: e.Call, Voter: e.Voter, Silence: "dead"}
				switch e.Voter {
				case "a":
					said.Silence, said.Answer = "", Answer{Granted: true}
				case names[w]:
					said.Silence, said.Answer = "", c.witness
				}
				effects = append(effects, candidate.Step(100*time.Second+at, v, said)...)
			}
		}
		late := stands - c.want
		if late < 0 || late > 2*soundAgain || c.want == 0 && stands != 0 || !strings.Contains(candidate.Why(), c.why) {
			t.Errorf("%s: stands after %v, want %v, and says %q", what, stands, c.want, candidate.Why())
		}
	}
}

// TestAPrimaryWhoseDisksWentBackIsRefused: who goes on from his own reign needs no leave for what he acknowledged, as
// far as he knows of it, whatever the budget is now. A voter that knows of ceilings beyond refuses: that is what is
// left where a majority of his disks went back, and nobody else who has it answers.
func TestAPrimaryWhoseDisksWentBackIsRefused(t *testing.T) {
	reigns := reigning("a").Reigns
	for _, c := range []struct {
		what         string
		maxLoss      uint64
		own, witness timeline.Position // ceilings; it holds 50
		granted      bool
	}{
		{"within the budget", 20, 70, 70, true},
		{"a lower budget", 5, 70, 70, true},
		{"it knows less, within the budget", 20, 60, 70, true},
		{"without a ceiling, as it knows", 20, timeline.Position(timeline.NoBound), 900, true},
		{"disks that went back", 20, 70, 900, false},
		{"disks from before it had no ceiling", 20, 70, timeline.Position(timeline.NoBound), false},
	} {
		s, w := reigning("a"), newWorld(limits{MaxLoss: 20}).voters[w].state.Clone()
		for state, ceiling := range map[*timeline.State]timeline.Position{s: c.own, w: c.witness} {
			ballot := *state.Ballot
			ballot.Charter = s.Ballot.Charter
			ballot.Charter.MaxLoss, ballot.Known = c.maxLoss, timeline.Known{Reigns: reigns, Ceiling: ceiling}
			state.Ballot = &ballot
		}
		if why := timeline.Against(w, Of(s, 2)); (why == nil) != c.granted {
			t.Errorf("%s: %v", c.what, why)
		}
	}
	candidate := NewCandidate("a")
	s := reigning("a")
	v := CandidateView{Term: 1, State: s, Supports: Ruler{1, "a"}, Beaten: 2, Lost: "b holds more of it"}
	if effects := candidate.Step(100*time.Second, v, nil); len(effects) > 0 || candidate.Why() != v.Lost {
		t.Errorf("known to have lost a part of its reign: %v, and says %q", effects, candidate.Why())
	}
	v.Term = 0
	if candidate.Step(100*time.Second, v, nil); candidate.Why() != "" {
		t.Errorf("it leads its region no more, and says %q", candidate.Why())
	}
	v.Term, v.Lost = 1, ""
	if effects := candidate.Step(101*time.Second, v, nil); len(effects) == 0 {
		t.Error("beaten, and it asks nobody")
	}
}
