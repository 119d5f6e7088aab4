package votes

import (
	"testing"

	"github.com/mimir-kv/mimir/replication/contract"
)

// TestOneMoreLossStopsWritesWhereItDoes: with more than three voters they go on without one, and one more.
func TestOneMoreLossStopsWritesWhereItDoes(t *testing.T) {
	for _, c := range []struct {
		voters, away int
		want         string
	}{
		{2, 0, "one more loss may stop writes"},
		{3, 1, "one more loss may stop writes"},
		{4, 1, "one more loss may stop writes"},
		{5, 1, "writes go on if one more is lost"},
		{5, 2, "one more loss may stop writes"},
		{5, 3, "one more loss may stop writes"},
		{7, 1, "writes go on if 2 more are lost"},
		{7, 2, "writes go on if one more is lost"},
	} {
		voters := make([]contract.VoterStatus, c.voters)
		for i := range voters {
			voters[i].Supports = i >= c.away
		}
		if got := spare(&contract.VoteStatus{Voters: voters, MaxLoss: 1}); got != c.want {
			t.Errorf("of %d voters %d are away: %s, and not: %s", c.voters, c.away, got, c.want)
		}
		if got := spare(&contract.VoteStatus{Voters: voters}); got != "one more loss may stop writes" {
			t.Errorf("where nothing may be lost, of %d voters %d are away: %s", c.voters, c.away, got)
		}
	}
}
