package replication_test

import (
	"context"
	"errors"
	"fmt"
	"testing"
	"time"

	"github.com/mimir-kv/mimir/replication"
)

// TestForcedReignsTellTheirPlaces, so that no two of them share a revision, whoever knew of whom: us is gone, eu is
// forced and dies, and ap, which never heard of that, is forced.
func TestForcedReignsTellTheirPlaces(t *testing.T) {
	inBubble(t, map[string]int{"us": 1, "eu": 1, "ap": 1}, func(f *testFleet) {
		f.put("us-1", "c0")
		f.eventually(values(0, 1))
		f.kill("us-1")
		f.kill("ap-1")
		if r, err := f.nodes["eu-1"].FailoverWithin(f.t.Context(), "eu", 9); !errors.Is(err, replication.ErrArgument) {
			t.Errorf("within a bound that nobody knows: %+v, %v", r, err)
		}
		force := func(region string) replication.Reign {
			n := f.nodes[region+"-1"]
			if _, err := n.Failover(f.t.Context(), region, true); err != nil {
				t.Fatal(err)
			}
			reigns := n.ledger.begun()
			return reigns[len(reigns)-1]
		}
		eu := force("eu")
		f.kill("eu-1")
		f.start("ap-1")
		ap := force("ap")
		if eu.Place != 2 || ap.Place != 1 || !eu.Lossy || !ap.Lossy {
			t.Errorf("%+v\n%+v", eu, ap)
		}
	})
}

// TestWhatWasCutNeverComesBack: a region that was away while another lost its tail follows that one when it is primary
// again.
func TestWhatWasCutNeverComesBack(t *testing.T) {
	inBubble(t, map[string]int{"us": 1, "eu": 1, "ap": 1}, func(f *testFleet) {
		for i := range 10 {
			f.put("us-1", fmt.Sprintf("c%d", i))
		}
		f.eventually(values(0, 10))
		f.cutOff("us", "eu-1", "ap-1")
		for i := range 5 {
			f.put("us-1", fmt.Sprintf("lost%d", i))
		}
		f.kill("us-1")
		f.network.Reconnect("eu-1")
		if _, err := f.nodes["eu-1"].Failover(f.t.Context(), "eu", true); err != nil {
			f.t.Fatal(err)
		}
		for i := 10; i < 20; i++ {
			f.put("eu-1", fmt.Sprintf("c%d", i))
		}
		f.start("us-1")
		if err := f.nodes["us-1"].WaitPosition(f.t.Context(), 20); err != nil {
			f.t.Fatal(err)
		}
		if _, err := f.nodes["us-1"].Switchover(f.t.Context(), "us"); err != nil {
			f.t.Fatal(err)
		}
		f.put("us-1", "c20")
		f.network.Reconnect("ap-1")
		f.eventually(values(0, 21))
	})
}

// TestAWriteThatWasCutOffIsNotWaitedFor: where other writes took its place a position says nothing of it, and its
// receipt does, also in the region that had it.
func TestAWriteThatWasCutOffIsNotWaitedFor(t *testing.T) {
	inBubble(t, map[string]int{"us": 1, "eu": 1}, func(f *testFleet) {
		us, eu, ctx := f.nodes["us-1"], f.nodes["eu-1"], f.t.Context()
		kept := f.put("us-1", "c0")
		f.eventually(values(0, 1))
		f.cutOff("us", "eu-1")
		lost := f.put("us-1", "lost")
		if err := us.WaitReceipt(ctx, lost); err != nil {
			t.Errorf("where it was written: %v", err)
		}
		if _, err := eu.Failover(ctx, "eu", true); err != nil {
			t.Fatal(err)
		}
		instead := f.put("eu-1", "c1")
		if instead.Position != lost.Position {
			t.Fatalf("%+v, and lost was %+v", instead, lost)
		}
		if err := eu.WaitPosition(ctx, lost.Position); err != nil {
			t.Errorf("the position: %v", err)
		}
		holds := func(when string, n *testNode) {
			for _, c := range []struct {
				of   *replication.Receipt
				want error
			}{{kept, nil}, {instead, nil}, {lost, replication.ErrDiverged}} {
				waiting, cancel := context.WithTimeout(ctx, time.Minute)
				if err := n.WaitReceipt(waiting, c.of); !errors.Is(err, c.want) {
					t.Errorf("%s: of %+v: %v", when, c.of, err)
				}
				cancel()
			}
		}
		holds("where it never was", eu)
		f.network.Reconnect("eu-1")
		f.within(time.Minute, "us hears that it was lost", func() bool {
			return errors.Is(us.WaitReceipt(ctx, lost), replication.ErrDiverged)
		})
		holds("where it is a tail", us)
		f.eventually(values(0, 2))
		holds("after it has rejoined", us)
		for _, w := range []*replication.Receipt{nil, {}, {Epoch: 1}} {
			if err := us.WaitReceipt(ctx, w); !errors.Is(err, replication.ErrArgument) {
				t.Errorf("%+v: %v", w, err)
			}
		}
	})
}
