package votes

import (
	"context"
	"errors"
	"testing"

	"github.com/mimir-kv/mimir/replication/contract"
	"github.com/mimir-kv/mimir/replication/timeline"
	"github.com/mimir-kv/mimir/replication/transport"
)

// nobody is the store of a process that does not speak for its voter.
type nobody struct{ Store }

func (nobody) Term() uint64 { return 0 }

// TestARegionVotesForItselfOnTheOrderOfAnother: an order to take over may come from a node of any region, and in its
// context the region asks its own voter, who refuses nothing for that.
func TestARegionVotesForItselfOnTheOrderOfAnother(t *testing.T) {
	ctx := transport.WithCaller(context.Background(), transport.Caller{Region: "ap", Node: "ap-1"})
	_, err := NewSeat("eu", nil, nil, nobody{}).vote(ctx, &timeline.Candidacy{For: "eu"}, false)
	if !errors.Is(err, contract.ErrNotLeader) { // and not contract.ErrRejected
		t.Errorf("its own vote: %v", err)
	}
}
