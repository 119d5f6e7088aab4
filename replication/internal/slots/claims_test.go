package slots

import (
	"testing"
	"time"

	"github.com/mimir-kv/mimir/replication/clock"
	"github.com/mimir-kv/mimir/replication/clock/virtual"
	"github.com/mimir-kv/mimir/replication/contract"
	"github.com/mimir-kv/mimir/replication/timeline"
	"github.com/mimir-kv/mimir/replication/transport/memory"
)

// another has the last reign of a state begin elsewhere, by another region: operators forced two of one epoch.
func another(s *timeline.State) {
	s.Reigns = append(s.Reigns[:len(s.Reigns)-1:len(s.Reigns)-1], timeline.Reign{Epoch: 3, First: 101, Primary: "ap"})
}

// TestAnAcknowledgementIsOfOneOfTwoClaims to an epoch: in the history of the other it covers what both have at most,
// and who comes over to that one is believed at once.
func TestAnAcknowledgementIsOfOneOfTwoClaims(t *testing.T) {
	alone(t, func(t *testing.T, m *member) {
		expect := func(what string, position contract.Position, regions int) {
			t.Helper()
			time.Sleep(time.Second)
			state := m.applied.State()
			if p := m.tracker.within(state)["eu"]; p != position {
				t.Errorf("%s: eu has %d, want %d", what, p, position)
			}
			if k := m.tracker.acked.regionsAt(&contract.Receipt{Epoch: 3, Position: 150}, state); k != regions {
				t.Errorf("%s: a write at 150 is in %d regions, want %d", what, k, regions)
			}
		}
		m.Acknowledged("eu", 3, 200)
		expect("of the same claim", 200, 2)
		m.change(another)
		expect("of the other claim", 10, 1)
		m.Acknowledged("eu", 3, 160)
		expect("come over", 160, 2)
	})
}

// TestAnAcknowledgementIsPassedOnAsWhatItIs, although the one who passes it on has come to the other claim meanwhile.
func TestAnAcknowledgementIsPassedOnAsWhatItIs(t *testing.T) {
	virtual.Test(t, func(t *testing.T) {
		n := memory.NewNetwork(clock.Real, 1)
		primary, hop := newMember(t, n.Node("us-1")), newMember(t, n.Node("eu-1"))
		primary.lead()
		hop.lead()
		hop.config.Region, hop.config.Upstream = "eu", func() string { return "us-1" }
		stop := make(chan struct{})
		go func() { defer close(stop); hop.RunOnward(t.Context()) }()
		a := acknowledgement{Region: "ap", Epoch: 3, Position: 200}
		a.Reign = reignOf(hop.applied.State(), 3)
		primary.change(another)
		hop.change(another)
		hop.change(func(s *timeline.State) { s.Region = "eu" })
		primary.Acknowledged("eu", 3, 300)
		if err := hop.acknowledge(a); err != nil {
			t.Fatal(err)
		}
		time.Sleep(time.Second)
		if p := primary.tracker.within(primary.applied.State())["ap"]; p != 0 {
			t.Errorf("ap is told to have %d of a claim that it has not", p)
		}
		a.Position, a.Reign = 190, reignOf(hop.applied.State(), 3)
		if err := hop.acknowledge(a); err != nil {
			t.Fatal(err)
		}
		time.Sleep(time.Second)
		if p := primary.tracker.within(primary.applied.State())["ap"]; p != 190 {
			t.Errorf("ap is told to have %d, want 190", p)
		}
		hop.end()
		primary.end()
	})
}
