package ballot

import (
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
