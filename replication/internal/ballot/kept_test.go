package ballot

import (
	"slices"
	"testing"
	"time"

	"github.com/mimir-kv/mimir/replication/timeline"
)

// TestAVoterAnswersWhatItHasKept: neither a vote nor up to where the primary may acknowledge is answered before it is
// recorded. A power cut between the two would have the voter forget what others count on.
func TestAVoterAnswersWhatItHasKept(t *testing.T) {
	for _, test := range []struct {
		name string
		ask  func(s *timeline.State, v *Voter) []Effect
	}{
		{"a ceiling", func(s *timeline.State, v *Voter) []Effect {
			r := &Renewal{Epoch: 1, Region: "a", Term: 1, Charter: s.Ballot.Charter, Reigns: s.Reigns, Held: true,
				Ceiling: s.Ballot.Known.Ceiling + 100}
			v.Step(10*time.Second, s, RenewalAsked{Call: 1, Renewal: r})
			return v.Step(10*time.Second, s, Confirmed{Call: 1, OK: true})
		}},
		{"a vote", func(s *timeline.State, v *Voter) []Effect {
			return v.Step(time.Minute, s, VoteAsked{Call: 1, Candidacy: Of(s, 2)})
		}},
	} {
		t.Run(test.name, func(t *testing.T) {
			s, v := reigning("b"), NewVoter("b")
			v.Step(0, s, Leads{Term: 1})
			out := test.ask(s, v)
			if len(out) != 1 || out[0].Do != Record || out[0].Call != 1 {
				t.Fatalf("before it is kept: %+v", out)
			}
			m := timeline.NewMachine(s)
			if outcome, why, err := m.Control(out[0].Control); outcome != timeline.Applied || err != nil {
				t.Fatal(outcome, why, err)
			}
			kept := m.State()
			out = v.Step(time.Minute, &kept, Recorded{Call: 1, Outcome: timeline.Applied})
			if len(out) != 1 || out[0].Do != Reply || !out[0].Answer.Granted {
				t.Errorf("once it is kept: %+v", out)
			}
		})
	}
}

// TestALogThatTakesNothingIsGivenLittle: a secondary whose disk has no room is asked on, and has no more on its way for
// that. Once it takes something, who asked last is answered.
func TestALogThatTakesNothingIsGivenLittle(t *testing.T) {
	s, v := reigning("b"), NewVoter("b")
	v.Step(0, s, Leads{Term: 1})
	renewal := Renewal{Epoch: 1, Region: "a", Term: 1, Charter: s.Ballot.Charter, Reigns: s.Reigns, Held: true}
	const asked = 100
	now, records, refused := 10*time.Second, []Effect(nil), 0
	take := func(out []Effect) (granted []uint64) {
		for _, e := range out {
			switch {
			case e.Do == Record:
				records = append(records, e)
			case e.Do == Reply && e.Answer.Granted:
				granted = append(granted, e.Call)
			case e.Do == Reply:
				refused++
			}
		}
		return granted
	}
	for call := range uint64(asked) {
		now += time.Second
		r := renewal
		r.Ceiling = s.Ballot.Known.Ceiling + 100 + timeline.Position(call)
		take(v.Step(now, s, RenewalAsked{Call: call + 1, Renewal: &r}))
		take(v.Step(now, s, Confirmed{Call: call + 1, OK: true}))
	}
	if len(records) != 1 || refused != asked-2 || len(v.requests) != 2 {
		t.Fatalf("%d on their way, %d refused, %d kept", len(records), refused, len(v.requests))
	}
	for i, want := range [][]uint64{{1}, {asked}} {
		m := timeline.NewMachine(s)
		if outcome, why, err := m.Control(records[i].Control); outcome != timeline.Applied || err != nil {
			t.Fatal(outcome, why, err)
		}
		kept := m.State()
		s = &kept
		got := take(v.Step(now, s, Recorded{Call: records[i].Call, Outcome: timeline.Applied}))
		if !slices.Equal(got, want) {
			t.Errorf("record %d: granted %d, want %d", i, got, want)
		}
	}
	if len(records) != 2 || len(v.requests) != 0 {
		t.Errorf("%d were on their way, %d are kept", len(records), len(v.requests))
	}
}
