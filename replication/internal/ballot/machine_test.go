package ballot

import (
	"slices"
	"testing"
	"time"

	"github.com/mimir-kv/mimir/replication/timeline"
)

// reigning is a fleet of two regions and a witness in which a reigns up to position 50, as a or b has it.
func reigning(region string) *timeline.State {
	s := newWorld(limits{MaxLoss: 20}).voters[a].state.Clone()
	ballot := *s.Ballot
	ballot.Charter.Lease, ballot.Charter.DriftPPM, ballot.Charter.Patience = 3*time.Second, 10_000, time.Second
	ballot.Charter.Automatic = true
	s.Region, s.Ballot, s.Cursor.Position = region, &ballot, 50
	return s
}

// answers has every voter of list grant what the holder asks in effects.
func answers(h *Holder, now Instant, v HolderView, effects []Effect, list ...string) {
	for _, e := range effects {
		for _, voter := range list {
			if e.Voter == voter {
				h.Step(now, v, Renewed{Call: e.Call, Voter: voter, Answer: Answer{Granted: true, Promised: 1}})
			}
		}
	}
}

// TestALeaseCountsFromBeforeItIsAsked, less the drift, and is that of a majority; so is the ceiling.
func TestALeaseCountsFromBeforeItIsAsked(t *testing.T) {
	h, v := NewHolder("a"), HolderView{Term: 1, State: reigning("a"), Reached: 50, Shared: 48}
	sent := 100 * time.Second
	first := h.Step(sent, v, nil)
	if len(first) != 3 || first[0].Renewal.Ceiling != 68 || first[0].Renewal.Held {
		t.Fatalf("asks %+v", first)
	}
	answers(h, sent+900*time.Millisecond, v, first, "a")
	if e := h.Evidence(); e.Until != 0 || e.Ceiling != 0 {
		t.Errorf("of one voter: %+v", e)
	}
	answers(h, sent+900*time.Millisecond, v, first, names[w])
	const hold = 2940594 * time.Microsecond
	e := h.Evidence()
	if early := sent + hold - e.Until; e.Epoch != 1 || e.Ceiling != 68 || early < 0 || early > time.Millisecond {
		t.Errorf("of two: %+v", e)
	}
	if again := h.Step(sent+time.Second+time.Millisecond, v, nil); len(again) != 1 || !again[0].Renewal.Held {
		t.Errorf("then asks %+v", again)
	}
	h.Step(sent+time.Second, v, Stumbled{})
	if e := h.Evidence(); e.Until != 0 {
		t.Errorf("after a stumble: %+v", e)
	}
	v.Term = 2
	h.Step(sent+time.Second, v, nil)
	if e := h.Evidence(); e.Until != 0 || e.Ceiling != 0 {
		t.Errorf("in another term: %+v", e)
	}
}

// TestALeaseIsCountedByTheCharterThatWasSent: a voter promised no more than that, whatever the next charter says.
func TestALeaseIsCountedByTheCharterThatWasSent(t *testing.T) {
	h, v := NewHolder("a"), HolderView{Term: 1, State: reigning("a"), Reached: 50, Shared: 48}
	sent := 100 * time.Second
	asked := h.Step(sent, v, nil)
	longer, ballot := v.State.Clone(), *v.State.Ballot
	ballot.Charter.Number, ballot.Charter.Lease = 2, time.Minute
	longer.Ballot, v.State = &ballot, longer
	answers(h, sent, v, asked, names[:]...)
	if e := h.Evidence(); e.Until == 0 || e.Until > sent+3*time.Second {
		t.Errorf("counts until %v after a question for 3 s", e.Until-sent)
	}
}

// TestWhereNothingMayBeLostNoCeilingIsAsked for: else no candidate could be without a loss. But what was acknowledged
// before there was such a charter counts, and so it does under any.
func TestWhereNothingMayBeLostNoCeilingIsAsked(t *testing.T) {
	for _, c := range []struct {
		maxLoss uint64
		known   timeline.Position // of the reign; zero: nobody asked yet
		want    timeline.Position
	}{
		{0, 0, 50}, {0, 30, 30}, {5, 0, 50}, {5, 45, 45}, {100, 0, 130},
		{timeline.NoBound - 7, 0, unbounded}, {timeline.NoBound, 0, unbounded},
	} {
		s := reigning("a")
		s.Ballot.Charter.MaxLoss, s.Ballot.Charter.StopWrites = c.maxLoss, true
		if c.known != 0 {
			s.Ballot.Known = timeline.Known{Reigns: s.Reigns, Ceiling: c.known}
		}
		h, v := NewHolder("a"), HolderView{Term: 1, State: s, Reached: 50, Shared: 30}
		asked := h.Step(0, v, nil)
		if got := asked[0].Renewal.Ceiling; got != c.want {
			t.Errorf("%d may be lost, known %d: asks for %d, want %d", c.maxLoss, c.known, got, c.want)
		}
		answers(h, 0, v, asked, names[:]...)
		if e := h.Evidence(); c.maxLoss == 0 && e.Ceiling != unbounded {
			t.Errorf("where nothing may be lost, it stops at %d", e.Ceiling)
		}
	}
}

// TestWhereNothingMayBeLostAMajorityKeepsTheCharter before anything is acknowledged by it: by the one before, of which
// others were to have it, somebody may be voted for who has not.
func TestWhereNothingMayBeLostAMajorityKeepsTheCharter(t *testing.T) {
	s := reigning("a")
	s.Ballot.Charter.MaxLoss = 0
	h, v := NewHolder("a"), HolderView{Term: 1, State: s, Reached: 50, Shared: 40}
	answers(h, 0, v, h.Step(0, v, nil), names[:]...)
	if e := h.Evidence(); e.Ceiling != unbounded || e.Charter != s.Charter().Mark() {
		t.Errorf("all keep it: %+v", e)
	}
	next, ballot := s.Clone(), *s.Ballot
	ballot.Charter.Number++
	next.Ballot, v.State = &ballot, next
	asked := h.Step(0, v, nil)
	answers(h, 0, v, asked, "a")
	if e := h.Evidence(); e.Until == 0 || e.Ceiling != 0 || e.Charter != (timeline.Mark{}) {
		t.Errorf("one of three keeps the next one: %+v", e)
	}
	answers(h, 0, v, asked, names[w])
	if e := h.Evidence(); e.Ceiling != unbounded || e.Charter != ballot.Charter.Mark() {
		t.Errorf("two keep it: %+v", e)
	}
}

// TestWhereNothingMayBeLostTheCharterIsOfThisEpoch: the primary before may have written another one that nobody else
// has, by which itself and a voter are a majority, and come back with it.
func TestWhereNothingMayBeLostTheCharterIsOfThisEpoch(t *testing.T) {
	s := reigning("a")
	s.Ballot.Charter.MaxLoss = 0
	s.Reigns = append(slices.Clone(s.Reigns), timeline.Reign{Epoch: 2, First: 51, Primary: "a"})
	s.Cursor.Epoch, s.Ballot.Promised = 2, 2
	h, v := NewHolder("a"), HolderView{Term: 1, State: s, Reached: 60, Shared: 50}
	answers(h, 0, v, h.Step(0, v, nil), names[:]...)
	if e := h.Evidence(); e.Until == 0 || e.Ceiling != 0 || e.Charter != (timeline.Mark{}) {
		t.Errorf("all keep the charter of the epoch before: %+v", e)
	}
	next, ballot := s.Clone(), *s.Ballot
	ballot.Charter.Epoch, ballot.Charter.Number = 2, ballot.Charter.Number+1
	next.Ballot, v.State = &ballot, next
	answers(h, 0, v, h.Step(0, v, nil), names[:]...)
	if e := h.Evidence(); e.Ceiling != unbounded || e.Charter != ballot.Charter.Mark() {
		t.Errorf("all keep the one of this: %+v", e)
	}
}

// TestWritesWaitForNobodyWhoMayNotTakeOver: where the vote of every other region was taken away, or none of them may be
// primary by itself, what they have bounds nothing.
func TestWritesWaitForNobodyWhoMayNotTakeOver(t *testing.T) {
	for name, test := range map[string]struct {
		change func(c *timeline.Charter)
		stops  bool
	}{
		"another may":          {func(*timeline.Charter) {}, true},
		"it has no precedence": {func(c *timeline.Charter) { c.Voters[1].Priority = 0 }, false},
		"it does not vote":     {func(c *timeline.Charter) { c.Voters = slices.Delete(c.Voters, 1, 2) }, false},
	} {
		s := reigning("a")
		c := &s.Ballot.Charter
		c.Voters, c.MaxLoss, c.StopWrites, c.Automatic = slices.Clone(c.Voters), 5, true, false
		test.change(c)
		h, v := NewHolder("a"), HolderView{Term: 1, State: s, Reached: 50, Shared: 20}
		s.Ballot.Known = timeline.Known{Reigns: s.Reigns, Ceiling: 25}
		if asks := h.Step(0, v, nil)[0].Renewal.Ceiling; (asks <= v.Reached) != test.stops {
			t.Errorf("%s: asks for %d, and %d are proposed", name, asks, v.Reached)
		}
	}
}

// TestAnotherVoterWaitsForAMajorityThatKnows: of the charter, and of how far was acknowledged.
func TestAnotherVoterWaitsForAMajorityThatKnows(t *testing.T) {
	h, v := NewHolder("a"), HolderView{Term: 1, State: reigning("a"), Reached: 50, Shared: 40}
	asked := h.Step(0, v, nil)
	answers(h, 0, v, asked, "a", names[w])
	if !h.Settled(v.State.Charter()) {
		t.Error("a majority knows, and it is not settled")
	}
	without := *v.State.Charter()
	if without.Voters = without.Voters[:2]; h.Settled(&without) {
		t.Error("b, which would be needed, does not support the primary, and it is settled")
	}
	fewer, ballot := v.State.Clone(), *v.State.Ballot
	ballot.Charter.Number, ballot.Charter.Voters = 2, ballot.Charter.Voters[:2]
	fewer.Ballot, v.State = &ballot, fewer
	const later = 2 * time.Second // b did not answer, and is asked again
	asked = h.Step(later, v, nil)
	answers(h, later, v, asked, "a")
	if h.Settled(v.State.Charter()) || h.Known(ballot.Charter.Mark()) {
		t.Error("one of two knows of the next charter, and it is settled")
	}
	answers(h, later, v, asked, "b")
	if !h.Settled(v.State.Charter()) {
		t.Error("both know, and it is not settled")
	}
	v.State = v.State.Clone()
	v.State.Cursor.Position = 99 // as if acknowledged under another charter
	if h.Step(later, v, nil); h.Settled(v.State.Charter()) {
		t.Error("nobody knows how far was acknowledged, and it is settled")
	}
}

// TestACeilingIsRaisedBeforeItIsReached, and beyond the budget only if the charter lets writes go on.
func TestACeilingIsRaisedBeforeItIsReached(t *testing.T) {
	for _, stop := range []bool{false, true} {
		s := reigning("a")
		s.Ballot.Charter.StopWrites = stop
		h, v := NewHolder("a"), HolderView{Term: 1, State: s, Reached: 50, Shared: 50}
		now := 100 * time.Second
		answers(h, now, v, h.Step(now, v, nil), names[:]...)
		v.Reached = 62 // the secondary stands still
		if more := h.Step(now+time.Millisecond, v, nil); len(more) != 0 {
			t.Errorf("asks within the budget: %+v", more)
		}
		v.Reached = 70
		more := h.Step(now+time.Millisecond, v, nil)
		if stop && len(more) != 0 || !stop && (len(more) != 3 || more[0].Renewal.Ceiling != 81) {
			t.Errorf("at the ceiling, stops writes %t: %+v", stop, more)
		}
	}
}

// TestAHeldPrimaryIsHeardAgain: a promise that lasts longer than the lease that is asked for sets nobody free who asks
// for votes; not to renew would only have the primary that lost its lease go without one until the hold is over.
func TestAHeldPrimaryIsHeardAgain(t *testing.T) {
	s := reigning("b")
	s.Ballot.Charter.Hold = &timeline.Hold{For: time.Minute}
	v := NewVoter("b")
	v.Step(0, s, Leads{Term: 1})
	renew := func(at, hold time.Duration, held bool) Deed {
		r := &Renewal{
			Epoch: 1, Region: "a", Term: 1, Charter: s.Ballot.Charter, Reigns: s.Reigns, Hold: hold, Held: held,
		}
		return v.Step(at, s, RenewalAsked{Call: uint64(at), Renewal: r})[0].Do
	}
	if did := renew(time.Minute, time.Minute, true); did != Confirm {
		t.Fatalf("a renewal: %s", did)
	}
	for _, step := range []struct {
		at   time.Duration // since the promise of a minute
		want Deed
	}{{10 * time.Second, Confirm}, {56 * time.Second, Confirm}, {58 * time.Second, Reply}} {
		at := time.Minute + step.at
		a := v.Step(at, s, VoteAsked{Call: 1, Candidacy: Of(s, 2), Sounding: true})[0].Answer
		if a.Why == nil || a.Why.Reason != timeline.ReasonPromise {
			t.Errorf("%v: a sounding: %v", step.at, a.Why)
		}
		if did := renew(at, 0, false); did != step.want {
			t.Errorf("%v: a renewal of who lost its lease: %s", step.at, did)
		}
	}
}

// TestARegionAsksForVotesWhenItsPromiseIsOver: after its patience, in its rank, and only if a majority would vote for
// it.
func TestARegionAsksForVotesWhenItsPromiseIsOver(t *testing.T) {
	c, v := NewCandidate("b"), CandidateView{Term: 1, State: reigning("b"), Quiet: 10 * time.Second, Rank: 1}
	if asked := c.Step(11*time.Second, v, nil); len(asked) != 0 {
		t.Errorf("before its turn: %+v", asked)
	}
	asked := c.Step(11150*time.Millisecond, v, nil)
	if len(asked) != 3 || asked[0].Candidacy.Epoch != 2 {
		t.Fatalf("in its turn: %+v", asked)
	}
	promise := Answer{Why: &timeline.Objection{Reason: timeline.ReasonPromise, Text: "w supports a"}, Promised: 1}
	say := func(at Instant, call uint64, voter string, a Answer) []Effect {
		return c.Step(at, v, Sounded{Call: call, Voter: voter, Answer: a})
	}
	say(11200*time.Millisecond, asked[0].Call, "b", Answer{Granted: true})
	say(11200*time.Millisecond, asked[0].Call, names[w], promise)
	c.Step(11200*time.Millisecond, v, Sounded{Call: asked[0].Call, Voter: "a", Silence: "unreachable"})
	if c.Why() != "a does not answer: unreachable; w supports a" {
		t.Errorf("says %q", c.Why())
	}
	heard, again := v, *c
	heard.Quiet = 14 * time.Second
	if again.Step(12*time.Second, heard, nil); again.Why() != "" {
		t.Errorf("when it hears of the primary again it says %q", again.Why())
	}
	asked = c.Step(12500*time.Millisecond, v, nil)
	say(12500*time.Millisecond, asked[0].Call, "b", Answer{Granted: true})
	stands := say(12500*time.Millisecond, asked[0].Call, names[w], Answer{Granted: true})
	if len(stands) != 1 || stands[0].Do != Stand || stands[0].Epoch != 2 {
		t.Fatalf("with a majority: %+v", stands)
	}
	paused := v
	paused.State = v.State.Clone()
	ballot := *v.State.Ballot
	ballot.Charter.Paused = "an upgrade"
	paused.State.Ballot = &ballot
	c.Step(13*time.Second, paused, Stood{Why: "refused"})
	if asked := c.Step(20*time.Second, paused, nil); len(asked) != 0 {
		t.Errorf("while it is paused: %+v", asked)
	}
	if c.Why() != "automatic failover is paused: an upgrade" {
		t.Errorf("while it is paused it says %q", c.Why())
	}
	paused.Quiet = 20 * time.Second
	if c.Step(20*time.Second, paused, nil); c.Why() != "" {
		t.Errorf("while it hears of the primary it says %q", c.Why())
	}
}

// TestAPromiseOutlivesAHandoffThatCameToNothing: the region that voted for itself by the handoff does not vote for
// itself in a later epoch before what it had promised to the primary is over; nor does its next leader. The search
// found it.
func TestAPromiseOutlivesAHandoffThatCameToNothing(t *testing.T) {
	s := reigning("b")
	v := NewVoter("b")
	v.Step(0, s, Leads{Term: 1})
	r := &Renewal{Epoch: 1, Region: "a", Term: 1, Charter: s.Ballot.Charter, Reigns: s.Reigns, Held: true}
	v.Step(10*time.Second, s, RenewalAsked{Call: 1, Renewal: r})
	c := Of(s, 2)
	c.Handoff = 1
	v.Step(11*time.Second, s, VoteAsked{Call: 2, Candidacy: c})
	voted, ballot := s.Clone(), *s.Ballot
	ballot.Promised, ballot.For, ballot.Handoff = 2, "b", 1
	voted.Ballot = &ballot
	v.Step(11*time.Second, voted, Recorded{Call: 2, Outcome: timeline.Applied})
	sound := func(at Instant) *timeline.Objection {
		return v.Step(at, voted, VoteAsked{Call: 3, Candidacy: Of(voted, 3), Sounding: true})[0].Answer.Why
	}
	if why := sound(12 * time.Second); why == nil || why.Reason != timeline.ReasonPromise {
		t.Errorf("before the promise to the primary is over: %v", why)
	}
	if why := sound(13 * time.Second); why != nil {
		t.Errorf("afterwards: %v", why)
	}
	v.Step(13*time.Second, voted, Leads{Term: 2})
	if why := sound(14 * time.Second); why == nil || why.Reason != timeline.ReasonGuard {
		t.Errorf("at a new leader: %v", why)
	}
}

// soundings has the candidate of a region in the state s, with what its voter supports, ask for votes, and gives it
// these answers. It returns whether it stands, and what it says if it does not.
func soundings(s *timeline.State, supports Ruler, answers map[string]Answer) (stands bool, why string) {
	c, v := NewCandidate(s.Region), CandidateView{Term: 1, State: s, Supports: supports}
	at := 100 * time.Second
	var all []Effect
	for range 2 { // all have answered, or it is over
		for _, e := range c.Step(at, v, nil) {
			for voter, a := range answers {
				if e.Voter == voter {
					all = append(all, c.Step(at, v, Sounded{Call: e.Call, Voter: voter, Answer: a})...)
				}
			}
		}
		at += time.Second
	}
	for _, e := range all {
		stands = stands || e.Do == Stand
	}
	return stands, c.Why()
}

// TestAPrimaryThatVotedForAnotherAsksAgain: if that one never begins, nobody else has to.
func TestAPrimaryThatVotedForAnotherAsksAgain(t *testing.T) {
	s := reigning("a")
	s.Ballot.Promised, s.Ballot.For = 2, "b"
	yes := Answer{Granted: true, Promised: 1, For: "a"}
	if stands, why := soundings(s, Ruler{}, map[string]Answer{"a": yes, names[w]: yes}); !stands {
		t.Errorf("stays silent, and says %q", why)
	}
}

// TestAPrimaryThatWasFollowedMovesByTheRules: if a later epoch took writes, it reigns no more, and takes over only
// where a region may.
func TestAPrimaryThatWasFollowedMovesByTheRules(t *testing.T) {
	for _, paused := range []string{"", "an upgrade"} {
		s := reigning("a")
		s.Ballot.Promised, s.Ballot.For, s.Ballot.Charter.Paused = 2, "b", paused
		yes := Answer{Granted: true, Promised: 2, For: "b", Known: timeline.Known{
			Reigns: append(s.Reigns, timeline.Reign{Epoch: 2, First: 51, Primary: "b"}), Ceiling: 70,
		}}
		stands, why := soundings(s, Ruler{}, map[string]Answer{"a": {Granted: true}, names[w]: yes})
		if stands != (paused == "") || paused != "" && why == "" {
			t.Errorf("paused %q: stands %t, says %q", paused, stands, why)
		}
	}
}

// TestNobodyTakesOverFromAReignOfOtherVoters: a reign that a recovery began by another charter goes on without those of
// this one. Who voted in that epoch, or heard from its primary, knows better.
func TestNobodyTakesOverFromAReignOfOtherVoters(t *testing.T) {
	yes := func(change func(*Answer)) Answer {
		a := Answer{Granted: true, Promised: 1, For: "a"}
		change(&a)
		return a
	}
	for what, c := range map[string]struct {
		own     Ruler
		witness Answer
		change  func(*timeline.State)
		want    bool
	}{
		"nobody knows of it":        {Ruler{}, yes(func(*Answer) {}), nil, false},
		"it voted in a later epoch": {Ruler{}, yes(func(a *Answer) { a.Promised, a.For = 5, "b" }), nil, false},
		"its own vote":              {Ruler{3, "a"}, yes(func(*Answer) {}), nil, true},
		"its vote for that move, which no process remembers": {Ruler{}, yes(func(*Answer) {}), func(s *timeline.State) {
			s.Ballot.Promised, s.Ballot.For, s.Ballot.Moves = 3, "a", []timeline.Move{{Epoch: 3}}
		}, true},
		"its vote for a move of another": {Ruler{}, yes(func(*Answer) {}), func(s *timeline.State) {
			s.Ballot.Promised, s.Ballot.For, s.Ballot.Moves = 3, "b", []timeline.Move{{Epoch: 3}}
		}, false},
		"it took note of it": {Ruler{}, yes(func(*Answer) {}), func(s *timeline.State) {
			s.Ballot.Promised, s.Ballot.For, s.Ballot.Moves = 3, "a", []timeline.Move{{Epoch: 2}}
		}, false},
		"a vote of the witness":       {Ruler{}, yes(func(a *Answer) { a.Promised = 3 }), nil, true},
		"the witness was asked by it": {Ruler{}, yes(func(a *Answer) { a.Ruler = Ruler{3, "a"} }), nil, true},
		"a ceiling that the witness knows": {Ruler{}, yes(func(a *Answer) {
			a.Known.Reigns = []timeline.Reign{{Epoch: 3, First: 41, Primary: "a"}}
		}), nil, true},
		"of another charter": {Ruler{}, yes(func(a *Answer) {
			a.Promised, a.Charter = 3, &timeline.Charter{Epoch: 1, Number: 7}
		}), nil, false},
		"its charter": {Ruler{}, yes(func(*Answer) {}), func(s *timeline.State) {
			s.Ballot.Charter.Epoch = 3
		}, true},
		"it only gave way to it": {Ruler{}, yes(func(*Answer) {}), func(s *timeline.State) {
			s.Yielded, s.Reigns, s.Cursor.Epoch = s.Reigns[1], s.Reigns[:1], 1
		}, false},
	} {
		s := reigning("b")
		s.Reigns = append(s.Reigns, timeline.Reign{Epoch: 3, First: 41, Primary: "a", Lossy: true})
		s.Cursor.Epoch, s.Ballot.Promised = 3, 3
		if c.change != nil {
			c.change(s)
		}
		stands, why := soundings(s, c.own, map[string]Answer{"b": {Granted: true}, names[w]: c.witness})
		if stands != c.want || !stands && why != Unruled(s) {
			t.Errorf("%s: stands %t, says %q", what, stands, why)
		}
	}
}

// TestAPrimaryGoesOnThoughItsVotersForgot: a region that was voted for, and lost its leader before a voter heard of a
// ceiling, goes on from its own reign, whoever remembers that it was voted for.
func TestAPrimaryGoesOnThoughItsVotersForgot(t *testing.T) {
	s := reigning("a")
	s.Reigns = append(s.Reigns, timeline.Reign{Epoch: 3, First: 41, Primary: "a"})
	s.Cursor.Epoch, s.Ballot.Promised, s.Ballot.For = 3, 4, "b" // b asked for votes since, and got no majority
	yes := Answer{Granted: true, Promised: 1, For: "a"}
	stands, why := soundings(s, Ruler{}, map[string]Answer{"a": {Granted: true}, names[w]: yes})
	if !stands {
		t.Errorf("stays silent, and says %q", why)
	}
}

// TestAWitnessVotesInOneFleet, though another one has the same name and regions.
func TestAWitnessVotesInOneFleet(t *testing.T) {
	s := reigning(names[w])
	s.Reigns, s.Cursor = nil, timeline.Cursor{}
	other := s.Ballot.Charter
	other.Number, other.Voters = 9, []timeline.Voter{{ID: "a", Identity: timeline.Nonce{1}, Priority: 1},
		{ID: "b", Identity: timeline.Nonce{2}, Priority: 1}, {ID: names[w]}}
	v := NewVoter(names[w])
	v.Step(0, s, Leads{Term: 1})
	r := &Renewal{Epoch: 1, Region: "a", Term: 1, Charter: other, Held: true}
	if e := v.Step(10*time.Second, s, RenewalAsked{Call: 1, Renewal: r})[0]; e.Do != Reply || e.Answer.Why == nil {
		t.Errorf("a renewal: %+v", e)
	}
	c := &timeline.Candidacy{Epoch: 2, For: "b", Charter: other}
	if e := v.Step(10*time.Second, s, VoteAsked{Call: 2, Candidacy: c})[0]; e.Do != Reply || e.Answer.Why == nil {
		t.Errorf("a candidacy: %+v", e)
	}
}
