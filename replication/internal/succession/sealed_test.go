package succession

import (
	"errors"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/mimir-kv/mimir/replication/contract"
	"github.com/mimir-kv/mimir/replication/timeline"
)

// handing is the leader of us, where votes are taken, that hands over to eu.
type handing struct {
	*testing.T
	*Machine
	log     *timeline.Machine
	now     Instant
	effects []Effect // of the last step
}

// newHanding returns it sealed, and asking eu to begin; by the order of call 1.
func newHanding(t *testing.T) *handing {
	s := chartered("us")
	s.Ballot.Identity = s.Charter().Voter("us").Identity
	h := &handing{t, New("us", true, testLimits), timeline.NewMachine(s), time.Minute, nil}
	h.step(Switchover{Call: 1, To: "eu"})
	seal := h.effect(Propose)
	h.apply(seal.Control)
	h.step(Decided{ID: seal.ID, Outcome: timeline.Applied})
	h.effect(AskBegin)
	return h
}

func (h *handing) step(in Input) {
	s := h.log.State()
	eu := Sight{Role: timeline.Secondary, Cursor: s.Cursor, Reigns: s.Reigns, Ballot: &timeline.Nonce{2},
		Charter: s.Charter().Mark()}
	h.effects = h.Step(h.now, View{Term: 1, State: &s, Fleet: Fleet{
		Claim: s.Reigns[0], Leaders: map[string]Sight{"eu": eu},
	}}, in)
}

// effect returns the one of the last step that does this.
func (h *handing) effect(do Deed) (e Effect) {
	h.Helper()
	for _, e := range h.effects {
		if e.Do == do {
			return e
		}
	}
	h.Fatalf("no %s among %+v", do, h.effects)
	return e
}

func (h *handing) apply(c *timeline.Control) {
	h.Helper()
	if outcome, why, err := h.log.Control(c); outcome != timeline.Applied || err != nil {
		h.Fatalf("%+v: %v, %s, %v", c, outcome, why, err)
	}
}

// aborted lets the time of the handoff go by, until eu is asked to refuse.
func (h *handing) aborted() (refuse Effect) {
	h.now += testLimits.Handover
	h.step(nil)
	h.now++
	return h.effect(AskRefuse)
}

// stands has it stand in epoch 3, as its candidate wants it, by call 2.
func (h *handing) stands() (elect Effect) {
	h.step(Takeover{Call: 2, Epoch: 3, Accept: timeline.NoBound, Anew: true})
	return h.effect(Elect)
}

// TestASealedRegionIsVotedFor when its target was asked to refuse, and not before. With a majority it goes on; nothing
// is lost, unless somebody knows better. Whoever ordered the switchover is told that it was aborted.
func TestASealedRegionIsVotedFor(t *testing.T) {
	for _, used := range []bool{false, true} {
		h := newHanding(t)
		h.step(Takeover{Call: 2, Epoch: 3, Accept: timeline.NoBound, Anew: true})
		if r := answered(h.effects); r == nil || !errors.Is(r.Err, contract.ErrNotReady) {
			t.Fatalf("while eu is asked to begin: %+v", h.effects)
		}
		h.aborted()
		h.step(Abort{Call: 3})
		elect := h.stands()
		if elect.Reign.Epoch != 3 || elect.Operator {
			t.Errorf("stands as %+v", elect)
		}
		h.apply(&timeline.Control{Op: timeline.OpVote, Vote: &timeline.Candidacy{
			Epoch: 3, For: "us", Cursor: h.log.Cursor(), Reigns: h.log.State().Reigns, Charter: *charterOf(h.log),
		}})
		h.step(Elected{ID: elect.ID, Mandate: timeline.Mandate{Used: used}})
		begin := h.effect(Begin)
		if begin.Reign.Lossy != used {
			t.Errorf("eu wrote %t: begins %+v", used, begin.Reign)
		}
		r := begin.Reign
		r.First, r.Previous = h.log.Cursor().Position+1, h.log.Cursor().Chain
		if outcome, why, err := h.log.Reign(r); outcome != timeline.Applied || err != nil {
			t.Fatalf("%v, %s, %v", outcome, why, err)
		}
		want, back := contract.ErrHandoff, error(nil)
		if used {
			want, back = contract.ErrUnknownOutcome, contract.ErrUnknownOutcome
		}
		told := false
		h.step(Decided{ID: begin.ID, Outcome: timeline.Applied})
		for _, e := range h.effects {
			switch {
			case e.Do != Answer:
			case e.Call == 1 && !errors.Is(e.Reply.Err, want):
				t.Errorf("eu wrote %t: the switchover is told %v", used, e.Reply.Err)
			case e.Call == 3:
				if told = true; !errors.Is(e.Reply.Err, back) {
					t.Errorf("eu wrote %t: who had it taken back is told %v", used, e.Reply.Err)
				}
			case e.Call == 2 && (e.Reply.Err != nil || e.Reply.Reign == nil || e.Reply.Reign.Epoch != 3):
				t.Errorf("eu wrote %t: the candidate is told %+v", used, e.Reply)
			}
		}
		if s := h.log.State(); !s.Writable() || !told {
			t.Errorf("told: %t; does not write: %+v", told, s)
		}
	}
}

func charterOf(m *timeline.Machine) *timeline.Charter {
	s := m.State()
	return s.Charter()
}

// TestTheTargetSpeaksWhileVotesAreAsked: its word counts once nobody voted, as ever.
func TestTheTargetSpeaksWhileVotesAreAsked(t *testing.T) {
	for _, begun := range []bool{false, true} {
		h := newHanding(t)
		refuse := h.aborted()
		elect := h.stands()
		in := Answered{ID: refuse.ID, Handover: refuse.Handover, Refused: !begun}
		if begun {
			in.Begun = &timeline.Reign{Epoch: 2, First: 8, Primary: "eu", Handoff: 1}
		}
		h.step(in)
		h.step(Elected{ID: elect.ID, Err: contract.ErrNotReady})
		want := timeline.OpUnseal
		if begun {
			want = timeline.OpYield
		}
		if c := h.effect(Propose).Control; c.Op != want {
			t.Errorf("eu began %t: proposes %+v", begun, c)
		}
	}
}

// TestAVoteOnItsWayIsDecidedBeforeTheRegionBegins: the region is asked to vote for another one while its own votes are
// counted. Its majority comes first, the vote is decided then, and it begins nothing that this forbids; nothing stands.
func TestAVoteOnItsWayIsDecidedBeforeTheRegionBegins(t *testing.T) {
	for _, votes := range []bool{false, true} {
		h := newHanding(t)
		h.aborted()
		elect := h.stands()
		own := timeline.Candidacy{
			Epoch: 3, For: "us", Cursor: h.log.Cursor(), Reigns: h.log.State().Reigns, Charter: *charterOf(h.log),
		}
		h.apply(&timeline.Control{Op: timeline.OpVote, Vote: &own})
		other := own
		other.Epoch, other.For, other.Operator = 4, "eu", true
		h.step(VoteAsked{Call: 5, Control: &timeline.Control{Op: timeline.OpVote, Vote: &other}})
		vote := h.effect(Propose)
		h.step(Elected{ID: elect.ID})
		for _, e := range h.effects {
			if e.Do == Begin {
				t.Fatal("begins beside a vote that is on its way")
			}
		}
		decided := Decided{ID: vote.ID, Outcome: timeline.Refused}
		if votes {
			h.apply(vote.Control)
			decided.Outcome = timeline.Applied
		}
		h.step(decided)
		if r := answered(h.effects); r == nil || r.Err != nil || r.Outcome != decided.Outcome {
			t.Errorf("who asked for the vote is told %+v", h.effects)
		}
		if begins := slices.ContainsFunc(h.effects, func(e Effect) bool { return e.Do == Begin }); begins == votes {
			t.Errorf("it voted for another one %t: begins %t", votes, begins)
		}
	}
}

// TestWhatASealedRegionSays: where the others are a majority without the target, that it may go on without it.
func TestWhatASealedRegionSays(t *testing.T) {
	h := newHanding(t)
	h.aborted()
	const words = "or a majority of the voters lets us go on without it"
	if _, text := Moving(h.Machine, h.now); !strings.Contains(text, words) {
		t.Errorf("says %q", text)
	}
	h.view.State.Ballot.Charter.Voters = h.view.State.Ballot.Charter.Voters[:2]
	if _, text := Moving(h.Machine, h.now); strings.Contains(text, words) {
		t.Errorf("of two voters: says %q", text)
	}
}
