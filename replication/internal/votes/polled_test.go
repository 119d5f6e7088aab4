package votes

import (
	"strings"
	"testing"

	"github.com/mimir-kv/mimir/replication/internal/ballot"
	"github.com/mimir-kv/mimir/replication/timeline"
)

// TestWhoSaysNoIsNotCounted, however little he says of it.
func TestWhoSaysNoIsNotCounted(t *testing.T) {
	c := &timeline.Candidacy{Epoch: 2, For: "us", Charter: timeline.Charter{
		Voters: []timeline.Voter{{ID: "ap"}, {ID: "eu"}, {ID: "us"}},
	}}
	for name, no := range map[string]ballot.Answer{
		"without a word":  {Why: &timeline.Objection{Reason: timeline.ReasonBusy}},
		"without a cause": {},
	} {
		votes, err := new(Votes).poll(c, func(voter string) (ballot.Answer, error) {
			if voter == "us" {
				return ballot.Answer{Granted: true}, nil
			}
			return no, nil
		})
		if err == nil || !strings.Contains(err.Error(), "eu says no") {
			t.Errorf("%s: %v voted for it: %v", name, votes, err)
		}
	}
}
