package ballot

import (
	"testing"
	"time"

	"github.com/mimir-kv/mimir/replication/timeline"
)

// TestAPrimaryThatLosesItsLeaseAsksAtOnce, and not when the next renewal would be due: its lease is over, or a clock
// has jumped.
func TestAPrimaryThatLosesItsLeaseAsksAtOnce(t *testing.T) {
	for what, in := range map[string]Input{"the lease is over": nil, "a clock has jumped": Stumbled{}} {
		h, v := NewHolder("a"), HolderView{Term: 1, State: reigning("a"), Reached: 50, Shared: 50}
		answers(h, 0, v, h.Step(0, v, nil), names[:]...)
		asked := h.Step(2900*time.Millisecond, v, nil)
		if len(asked) != 3 || !asked[0].Renewal.Held {
			t.Fatalf("asks %+v", asked)
		}
		now := 2920 * time.Millisecond
		if in == nil {
			now = 2950 * time.Millisecond
		}
		if asked = h.Step(now, v, in); len(asked) != 3 || asked[0].Renewal.Held {
			t.Errorf("%s: asks %+v", what, asked)
		}
		if asked = h.Step(now+time.Millisecond, v, nil); len(asked) != 0 {
			t.Errorf("%s: asks again %+v", what, asked)
		}
	}
}

// TestAFencedPrimaryIsQuiet: whoever hears that it has no lease need not wait for the end of the promise to sound. A
// sounding is told when that is.
func TestAFencedPrimaryIsQuiet(t *testing.T) {
	s := reigning("b")
	v := NewVoter("b")
	v.Step(0, s, Leads{Term: 1})
	for _, step := range []struct {
		at    time.Duration
		held  bool
		quiet time.Duration
	}{
		{10 * time.Second, true, 13 * time.Second},
		{12 * time.Second, false, 12 * time.Second},
		{12500 * time.Millisecond, false, 12 * time.Second},
		{12600 * time.Millisecond, true, 15600 * time.Millisecond},
		{14 * time.Second, false, 14 * time.Second},
	} {
		r := &Renewal{Epoch: 1, Region: "a", Term: 1, Charter: s.Ballot.Charter, Reigns: s.Reigns, Held: step.held}
		v.Step(step.at, s, RenewalAsked{Call: uint64(step.at), Renewal: r})
		if at, ok := v.Quiet(s); !ok || at != step.quiet {
			t.Errorf("after a renewal at %v, held %t, it is quiet from %v on, want %v", step.at, step.held, at,
				step.quiet)
		}
	}
	sounding := VoteAsked{Call: 1, Candidacy: Of(s, 2), Sounding: true}
	if a := v.Step(16*time.Second, s, sounding)[0].Answer; a.Granted || a.Left != time.Second {
		t.Errorf("a sounding: %+v", a)
	}
}

// supporter is the voter of b, which supports a.
type supporter struct {
	voter *Voter
	state *timeline.State
}

func newSupporter() *supporter {
	p := &supporter{NewVoter("b"), reigning("b")}
	p.voter.Step(0, p.state, Leads{Term: 1})
	return p
}

// renew has the leader of a in this term ask for support, and returns what is done about it: a Reply refuses.
func (p *supporter) renew(at Instant, term uint64, held bool) Deed {
	r := &Renewal{
		Epoch: 1, Region: "a", Term: term, Charter: p.state.Ballot.Charter, Reigns: p.state.Reigns, Held: held,
	}
	return p.voter.Step(at, p.state, RenewalAsked{Call: uint64(at), Renewal: r})[0].Do
}

// sound has b ask whether it would have the vote, and returns why it would not.
func (p *supporter) sound(at Instant) *timeline.Objection {
	return p.voter.Step(at, p.state, VoteAsked{Call: 1, Candidacy: Of(p.state, 2), Sounding: true})[0].Answer.Why
}

// TestAPrimaryThatHearsNothingIsNotSupportedForEver: B5. Who has said so for a while is refused when another region
// asks for votes, and that one has the vote when what was promised before is over.
func TestAPrimaryThatHearsNothingIsNotSupportedForEver(t *testing.T) {
	p := newSupporter()
	for _, step := range []struct {
		at   time.Duration
		held bool
		want Deed
	}{
		{10 * time.Second, true, Confirm},
		{11500 * time.Millisecond, false, Confirm},
		{12500 * time.Millisecond, false, Confirm},
		{13100 * time.Millisecond, false, Reply},
		{14 * time.Second, false, Reply},
		{15400 * time.Millisecond, false, Reply},
	} {
		if did := p.renew(step.at, 1, step.held); did != step.want {
			t.Errorf("%v: a renewal, held %t: %s", step.at, step.held, did)
		}
		if why := p.sound(step.at); why == nil || why.Reason != timeline.ReasonPromise {
			t.Errorf("%v: a sounding while it is supported: %v", step.at, why)
		}
	}
	if why := p.sound(15500 * time.Millisecond); why != nil {
		t.Errorf("when the promise is over: %v", why)
	}
}

// TestAPrimaryThatWasCutOffForLongIsNotDeaf: what its leader said before its support was over counts no more, if nobody
// has asked for votes meanwhile.
func TestAPrimaryThatWasCutOffForLongIsNotDeaf(t *testing.T) {
	p := newSupporter()
	for _, at := range []time.Duration{10 * time.Second, 60 * time.Second, 60500 * time.Millisecond} {
		if did := p.renew(at, 1, false); did != Confirm {
			t.Errorf("%v: a renewal: %s", at, did)
		}
		if at >= 60*time.Second {
			p.sound(at)
		}
	}
}

// TestAPrimaryThatBeginsToHearIsNotDeaf: one that is cut off from a region that asks for votes, and has another leader,
// or a clock that jumped, asks anew without a lease, and has it as soon as it is answered.
func TestAPrimaryThatBeginsToHearIsNotDeaf(t *testing.T) {
	p := newSupporter()
	for _, step := range []struct {
		what string
		at   time.Duration
		term uint64
		held bool
		want Deed
	}{
		{"as ever", 10 * time.Second, 1, true, Confirm},
		{"another node leads", 12500 * time.Millisecond, 2, false, Confirm},
		{"it has a lease", 13 * time.Second, 2, true, Confirm},
		{"its clock jumped", 13800 * time.Millisecond, 2, false, Confirm},
		{"it has a lease", 14300 * time.Millisecond, 2, true, Confirm},
		{"another node leads", 16 * time.Second, 3, false, Confirm},
		{"yet another one", 16900 * time.Millisecond, 4, false, Confirm},
		{"it was not answered", 17900 * time.Millisecond, 4, false, Confirm},
		{"it hears nothing", 18500 * time.Millisecond, 4, false, Reply},
		{"it does again", 17600 * time.Millisecond, 4, true, Confirm},
	} {
		if did := p.renew(step.at, step.term, step.held); did != step.want {
			t.Errorf("%v, %s: %s", step.at, step.what, did)
		}
		if why := p.sound(step.at); why == nil || why.Reason != timeline.ReasonPromise {
			t.Errorf("%v: a sounding while it is supported: %v", step.at, why)
		}
	}
}

// TestTheNextRoundIsWhenAMajorityMayVote, as far as the voters said when that is; if that is far away, they are asked
// before as well: others may answer then.
func TestTheNextRoundIsWhenAMajorityMayVote(t *testing.T) {
	for left, want := range map[time.Duration]time.Duration{
		400 * time.Millisecond: 400 * time.Millisecond,
		time.Second:            time.Second,
		9 * time.Second:        time.Second, // soundAgain after the round, which took so long
		0:                      time.Second,
	} {
		c, v := NewCandidate("b"), CandidateView{Term: 1, State: reigning("b"), Quiet: 10 * time.Second}
		began := 12 * time.Second
		call := c.Step(began, v, nil)[0].Call
		promise := &timeline.Objection{Reason: timeline.ReasonPromise, Text: "w supports a"}
		answered := began + 100*time.Millisecond
		c.Step(answered, v, Sounded{Call: call, Voter: "b", Answer: Answer{Granted: true}})
		c.Step(answered, v, Sounded{Call: call, Voter: "a", Silence: "unreachable"})
		last := Answer{Why: promise, Left: left}
		c.Step(began+500*time.Millisecond, v, Sounded{Call: call, Voter: names[w], Answer: last})
		at, ok := c.Due()
		if want = max(want, 500*time.Millisecond); !ok || at != began+want {
			t.Errorf("%v left: the next round is after %v, want %v", left, at-began, want)
		}
	}
}

// TestAPrimaryThatHasJustGotItsLeaseIsNotDeaf: with a long lease its next renewal, which says so, comes later than
// others are patient for.
func TestAPrimaryThatHasJustGotItsLeaseIsNotDeaf(t *testing.T) {
	s := reigning("b")
	b := *s.Ballot
	b.Charter.Lease, b.Charter.Patience = 30*time.Second, time.Second
	s.Ballot = &b
	v := NewVoter("b")
	v.Step(0, s, Leads{Term: 1})
	for at, held := range []bool{true, false} { // another node leads a then
		r := &Renewal{Epoch: 1, Region: "a", Term: 2, Charter: b.Charter, Reigns: s.Reigns, Held: held}
		v.Step(time.Duration(40+at)*time.Second, s, RenewalAsked{Call: uint64(1 + at), Renewal: r})
	}
	if at, _ := v.Quiet(s); at+b.Charter.Patience <= 46*time.Second {
		t.Errorf("it is asked about at %v, and says at 46s that it has a lease", at+b.Charter.Patience)
	}
}

// TestAHoldOutlivesAClockThatJumps: who promised by it is away, so that nobody can say it again. It counts for as much
// less as the clocks went apart, once the region's own voter supports it anew; a lease does not count at all.
func TestAHoldOutlivesAClockThatJumps(t *testing.T) {
	const now, gap = time.Hour, 600 * time.Millisecond
	for _, held := range []bool{false, true} {
		s, h := reigning("a"), NewHolder("a")
		wall := time.Unix(1e9, 0)
		if held {
			s.Ballot.Charter.Hold = &timeline.Hold{For: 2 * time.Hour, Until: wall.Add(2 * time.Hour)}
		}
		v := HolderView{Term: 1, State: s, Reached: 50, Wall: wall}
		answers(h, now, v, h.Step(now, v, nil), "a", "b", "witness/w")
		at := now + time.Minute
		answers(h, at, v, h.Step(at, v, nil), "a")
		before := h.Evidence().Until
		asked := h.Step(at, v, Stumbled{Gap: gap})
		if h.Evidence().Until > at {
			t.Errorf("held %t: it counts before its own voter supports it", held)
		}
		answers(h, at, v, asked, "a")
		if counts := h.Evidence().Until > at; counts != held {
			t.Errorf("held %t: with its own voter it counts: %t (%v)", held, counts, before)
		}
		for i := range h.voters {
			if o := &h.voters[i]; held && o.Voter != "a" && o.Until > now+s.Charter().Certain(2*time.Hour)-gap {
				t.Errorf("%s counts until %v", o.Voter, o.Until)
			}
		}
		if h.Step(at, v, Stumbled{}); h.Evidence().Until > at {
			t.Errorf("held %t: it counts after a gap that nobody knows", held)
		}
	}
}
