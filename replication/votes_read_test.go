package replication_test

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"testing"
	"time"

	"github.com/mimir-kv/mimir/replication"
)

// read makes a linearizable read of what a node has, and returns it if it may be told within d.
func (f *testFleet) read(node string, d time.Duration) ([]string, error) {
	ctx, cancel := context.WithTimeout(f.t.Context(), d)
	defer cancel()
	end, err := f.nodes[node].BeginRead(ctx)
	if err != nil {
		return nil, err
	}
	seen := f.nodes[node].ledger.commands()
	return seen, end(ctx)
}

// TestALinearizableReadIsNotTakenBack where nothing may be lost: what the old primary had alone nobody was told, though
// it was there; and the next one answers at once.
func TestALinearizableReadIsNotTakenBack(t *testing.T) {
	none := replication.DefaultVotes()
	none.MaxLoss = 0
	inSmallestOf(t, none, func(f *smallest) {
		f.network.SetDelay("us-1", "eu-1", 50*time.Millisecond, 0)
		for i := range 5 { // both are asked in the middle of a write
			wrote := make(chan error, 1)
			go func() {
				_, err := f.tryPut("us-1", fmt.Sprintf("c%d", i+1), 10*time.Second)
				wrote <- err
			}()
			time.Sleep(time.Duration(i) * 20 * time.Millisecond)
			for _, node := range []string{"us-1", "eu-1"} {
				if seen, err := f.read(node, 10*time.Second); err != nil || len(seen) < i+1 {
					t.Errorf("at %s: %q, %v", node, seen, err)
				}
			}
			if err := <-wrote; err != nil {
				t.Error(err)
			}
		}
		f.network.Cut("us-1", "eu-1")
		if r, err := f.tryPut("us-1", "lost", time.Second); err == nil {
			t.Errorf("acknowledged: %+v", r)
		}
		seen, err := f.read("us-1", time.Second)
		if !errors.Is(err, replication.ErrNotReady) || !slices.Contains(seen, "lost") {
			t.Errorf("read %q, %v", seen, err)
		}
		f.network.Isolate("eu-1")
		f.says("us-1", "us", "writes wait until 2 regions have them, and linearizable reads wait for the writes that "+
			"they see; eu did not answer for a lease")
		f.network.HealAll()
		f.network.Cut("us-1", "eu-1")
		f.holds("us")
		f.kill("us-1")
		f.holds("eu")
		if seen, err := f.read("eu-1", 30*time.Second); err != nil || !slices.Equal(seen, values(0, 6)) {
			t.Errorf("after the failover: %q, %v", seen, err)
		}
		f.network.HealAll()
		f.start("us-1")
		f.putAfter("eu-1", "c6")
		f.eventually(values(0, 7))
		if seen, err := f.read("us-1", 30*time.Second); err != nil || !slices.Equal(seen, values(0, 7)) {
			t.Errorf("at the old primary: %q, %v", seen, err)
		}
	})
}

// What was acknowledged is read at a leader too that has heard of no acknowledgement yet, and will hear of none.
func TestAnAcknowledgedWriteIsReadAfterAChangeOfLeader(t *testing.T) {
	none := replication.DefaultVotes()
	none.MaxLoss = 0
	inSmallestOf(t, none, func(f *smallest) {
		f.put("us-1", "c1")
		f.eventually(values(0, 2))
		time.Sleep(5 * time.Second) // what the other region has is noted every two
		f.network.Isolate("eu-1")
		f.kill("us-1")
		f.start("us-1")
		f.holds("us")
		if seen, err := f.read("us-1", 30*time.Second); err != nil || len(seen) != 2 {
			t.Errorf("%q, %v", seen, err)
		}
	})
}
