package votes

import (
	"strings"
	"testing"
	"time"

	"github.com/mimir-kv/mimir/replication/contract"
	"github.com/mimir-kv/mimir/replication/internal/ballot"
	"github.com/mimir-kv/mimir/replication/timeline"
)

// TestWhoDoesNotStoreIsNamed: not who refuses its vote and stores, but who votes and does not, or does not answer.
func TestWhoDoesNotStoreIsNamed(t *testing.T) {
	rule(t, nil, func(t *testing.T, r *ruled) {
		strict := r.charter().Next(1, 0)
		strict.MaxLoss = 0
		if outcome, why, err := r.apply(strict); outcome != timeline.Applied {
			t.Fatal(outcome, why, err)
		}
		no := ballot.Renewed{Answer: ballot.Answer{Why: &timeline.Objection{Text: "no"}}}
		for what, test := range map[string]struct {
			answer ballot.Renewed // of eu
			has    timeline.Position
			says   string
		}{
			"votes and stores":         {ballot.Renewed{Answer: ballot.Answer{Granted: true}}, 9, ""},
			"refuses and stores":       {no, 9, ""},
			"votes and does not store": {ballot.Renewed{Answer: ballot.Answer{Granted: true}}, 8, "eu did not store"},
			"refuses, does not store":  {no, 8, "eu did not store"},
			"does not answer":          {ballot.Renewed{Silence: "gone"}, 9, "eu did not answer for a lease"},
		} {
			r.v.mu.Lock()
			clear(r.v.stores)
			r.answers = map[string]ballot.Renewed{"eu": test.answer}
			s := *r.v.config.Applied.State()
			s.Cursor.Position = 9
			for range 60 { // two and a half leases
				time.Sleep(time.Second / 24)
				r.step(nil)
				r.v.stores.look(r.v.config.Clock.Elapsed(), &s, []timeline.Slot{{Region: "eu", Position: test.has}})
			}
			r.v.mu.Unlock()
			status := &contract.VoteStatus{Lease: time.Second}
			for _, voter := range r.charter().Voters {
				w := contract.VoterStatus{ID: voter.ID, Witness: voter.Witness()}
				describe(&w, r.v.holder.Supports(), r.v.config.Clock.Elapsed())
				status.Voters = append(status.Voters, w)
			}
			says, away := r.v.waits(status)
			if test.says == "" && says != "" || !strings.Contains(says, test.says) ||
				(says != "") != (strings.Join(away, " ") == "eu") {
				t.Errorf("eu %s: %q, %v", what, says, away)
			}
		}
	})
}
