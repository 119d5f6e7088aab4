package replication_test

import (
	"context"
	"errors"
	"fmt"
	"testing"
	"time"

	"github.com/mimir-kv/mimir/replication"
)

// TestWhereNothingMayBeLostThoseCountThatVote: all of them are had, and a number beyond them is refused at once, though
// a region without a vote has everything too.
func TestWhereNothingMayBeLostThoseCountThatVote(t *testing.T) {
	none := func(s *replication.VoteSettings) { s.MaxLoss = 0 }
	voting(t, map[string]int{"us": 1, "eu": 1, "ap": 1, "sa": 1}, none, func(f *testFleet) {
		f.change("us-1", replication.VoteChange{Remove: "sa"})
		f.holds("us")
		f.put("us-1", "c0")
		f.eventually(values(0, 1))
		asks := func(node string, o replication.ProposeOption) (*replication.Receipt, error) {
			ctx, cancel := context.WithTimeout(f.t.Context(), 30*time.Second)
			defer cancel()
			return f.nodes[node].Propose(ctx, []*replication.Command{{Data: fmt.Append(nil, node)}}, o)
		}
		for _, node := range []string{"us-1", "eu-1", "sa-1"} {
			if r, err := asks(node, replication.WithAllRegions()); err != nil || r.Regions != 3 {
				t.Errorf("%s, all: %+v, %v", node, r, err)
			}
			if r, err := asks(node, replication.WithQuorumOfRegions()); err != nil || r.Regions < 2 {
				t.Errorf("%s, a quorum: %+v, %v", node, r, err)
			}
			began := time.Now()
			_, err := asks(node, replication.WithRegions(4))
			if !errors.Is(err, replication.ErrUnknownRegion) && !errors.Is(err, replication.ErrRejected) {
				t.Errorf("%s, four regions: %v after %v", node, err, time.Since(began))
			}
		}
	})
}
