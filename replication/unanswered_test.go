package replication_test

import (
	"context"
	"errors"
	"testing"
	"time"

	"github.com/mimir-kv/mimir/replication"
)

// waiting proposes without a deadline, and returns where the answer comes. It returns once the write, at p, is applied.
func (f *testFleet) waiting(
	node, value string, p replication.Position, o ...replication.ProposeOption,
) <-chan error {
	f.t.Helper()
	done := make(chan error, 1)
	go func() {
		_, err := f.nodes[node].Propose(context.WithoutCancel(f.t.Context()),
			[]*replication.Command{{Data: []byte(value)}}, o...)
		done <- err
	}()
	if err := f.nodes[node].WaitPosition(f.t.Context(), p); err != nil {
		f.t.Fatal(err)
	}
	return done
}

// answered returns the answer, which has to come in time.
func (f *testFleet) answered(done <-chan error, why string) error {
	f.t.Helper()
	select {
	case err := <-done:
		return err
	case <-time.After(time.Minute):
		f.t.Fatalf("%s: still waits", why)
		return nil
	}
}

// TestWhatWaitsForALostRegionIsAnsweredByTheNextCharter, which an operator writes: the write was applied while nothing
// was allowed to be lost, and nobody stored it.
func TestWhatWaitsForALostRegionIsAnsweredByTheNextCharter(t *testing.T) {
	none := replication.DefaultVotes()
	none.MaxLoss = 0
	inSmallestOf(t, none, func(f *smallest) {
		f.kill("eu-1")
		done := f.waiting("us-1", "c1", 2)
		time.Sleep(10 * time.Minute)
		if len(done) > 0 {
			t.Fatalf("of two regions that have to have it one is there: %v", <-done)
		}
		some := uint64(1000)
		f.change("us-1", replication.VoteChange{MaxLoss: &some})
		if err := f.answered(done, "one region is enough"); err != nil {
			t.Error(err)
		}
		f.start("eu-1")
		f.eventually(values(0, 2))
	})
}

// TestWhoseWriteIsCutIsAnswered, although he asked for a region that followed another primary, without a deadline, at
// the leader of a region that has one node.
func TestWhoseWriteIsCutIsAnswered(t *testing.T) {
	inBubble(t, map[string]int{"us": 1, "eu": 1, "ap": 1}, func(f *testFleet) {
		f.put("us-1", "c0")
		f.eventually(values(0, 1))
		f.network.Isolate("us-1")
		done := f.waiting("us-1", "lost", 2, replication.WithRegions(2))
		if _, err := f.nodes["eu-1"].Failover(f.t.Context(), "eu", true); err != nil {
			t.Fatal(err)
		}
		f.put("eu-1", "c1")
		if err := f.nodes["ap-1"].WaitPosition(f.t.Context(), 2); err != nil {
			t.Fatal(err)
		}
		if len(done) > 0 {
			t.Fatalf("nobody told it: %v", <-done)
		}
		f.network.Reconnect("us-1")
		if err := f.answered(done, "another region has begun"); !errors.Is(err, replication.ErrUnknownOutcome) {
			t.Error(err)
		}
		f.eventually(values(0, 2))
	})
}
