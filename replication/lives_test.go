package replication_test

import (
	"context"
	"errors"
	"testing"
	"time"

	"github.com/mimir-kv/mimir/replication"
)

// TestWhoIsOfAnotherLifeAcknowledgesNothing of what its region has: it formed that anew by itself and follows the
// primary. While the region cannot agree on anything, no write is in two regions.
func TestWhoIsOfAnotherLifeAcknowledgesNothing(t *testing.T) {
	inBubble(t, map[string]int{"us": 3, "eu": 1}, func(f *testFleet) {
		f.put("us-1", "c0")
		f.eventually(values(0, 1))
		if _, err := f.nodes["eu-1"].Switchover(f.t.Context(), "eu"); err != nil {
			f.t.Fatal(err)
		}
		f.kill("us-3")
		f.formsAlone("us", "us-3")
		f.leadsItself("us-3")
		f.put("eu-1", "c1")
		f.network.Cut("us-1", "us-2")
		time.Sleep(10 * time.Second)
		ctx, cancel := context.WithTimeout(f.t.Context(), 20*time.Second)
		defer cancel()
		r, err := f.nodes["eu-1"].Propose(ctx, []*replication.Command{{Data: []byte("c2")}},
			replication.WithRegions(2))
		if !errors.Is(err, replication.ErrUnderReplicated) {
			f.t.Errorf("the write is in %+v: %v", r, err)
		}
	})
}
