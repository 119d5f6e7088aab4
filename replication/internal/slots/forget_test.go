package slots

import (
	"sync/atomic"
	"testing"
	"time"

	"github.com/mimir-kv/mimir/replication/contract"
	"github.com/mimir-kv/mimir/replication/timeline"
)

// A region that was removed holds no log, has no slot, and what it acknowledged does not make a write durable in more
// regions: one that comes under its name has none of it.
func TestARegionThatWasRemovedIsForgotten(t *testing.T) {
	alone(t, func(t *testing.T, m *member) {
		m.config.Others = func() []string {
			if m.applied.State().Roster != nil {
				return []string{"ap"}
			}
			return []string{"ap", "eu"}
		}
		m.Acknowledged("ap", 3, 390)
		m.Acknowledged("eu", 3, 100)
		time.Sleep(2 * interval)
		if err := m.Copying("eu", 90); err != nil {
			t.Fatal(err)
		}
		if first := m.kept(); first > 100 {
			t.Fatalf("kept from %d on", first)
		}
		m.change(func(s *timeline.State) {
			s.Roster = &timeline.Roster{Epoch: 3, Number: 1, By: "us", Regions: []timeline.Home{
				{Name: "ap", Addrs: []string{"ap-1"}, Place: 1}, {Name: "us", Addrs: []string{"us-1"}, Place: 2},
			}}
			s.Slots = []timeline.Slot{{Region: "ap", Position: 390}}
		})
		in := func() int {
			return m.tracker.acked.regionsAt(&contract.Receipt{Epoch: 3, Position: 95}, m.applied.State())
		}
		if k := in(); k != 2 {
			t.Errorf("before it is forgotten a write is in %d regions, want 2", k)
		}
		m.Forget("eu")
		if first := m.kept(); first < 300 {
			t.Errorf("kept from %d on for a region that is gone", first)
		}
		if m.granted() != 0 {
			t.Error("log is kept behind a copy of a region that is gone")
		}
		for _, s := range m.Now() {
			if s.Region != "ap" {
				t.Errorf("slot %+v", s)
			}
		}
		// A stream that was still up tells once more.
		m.Acknowledged("eu", 3, 395)
		time.Sleep(2 * interval)
		if k := in(); k != 2 {
			t.Errorf("a write is in %d regions, want 2", k)
		}
		if p := m.tracker.Reached(3, m.applied.State()); p != 0 {
			t.Errorf("3 of 2 regions have %d", p)
		}
		m.Session("eu", false)
		m.change(func(s *timeline.State) {
			s.Roster = s.Roster.With(3, "us", "eu", []string{"eu-1"}) // another one, which has nothing yet
		})
		if k := in(); k != 2 {
			t.Errorf("when it came again a write is in %d regions, want 2", k)
		}
	})
}

// Where the last other region was removed, no log is kept for regions.
func TestTheLastRegionThatWasRemovedIsForgotten(t *testing.T) {
	alone(t, func(t *testing.T, m *member) {
		var gone atomic.Bool
		m.config.Others = func() []string {
			if gone.Load() {
				return nil
			}
			return []string{"eu"}
		}
		m.Acknowledged("eu", 3, 100)
		time.Sleep(2 * interval)
		if first := m.kept(); first > 100 {
			t.Fatalf("kept from %d on", first)
		}
		gone.Store(true)
		m.Forget("eu")
		if first := m.kept(); first < 300 {
			t.Errorf("kept from %d on for a region that is gone", first)
		}
	})
}

// A region may follow before it is one of the fleet: then it has a slot, although it has nothing more to acknowledge.
func TestARegionThatFollowedBeforeItCameHasASlot(t *testing.T) {
	alone(t, func(t *testing.T, m *member) {
		var come atomic.Bool
		m.config.Others = func() []string {
			if come.Load() {
				return []string{"ap", "eu", "sa"}
			}
			return []string{"ap", "eu"}
		}
		m.Acknowledged("sa", 3, 100)
		time.Sleep(3 * interval)
		if _, known := slotOf(m.applied.State(), "sa"); known {
			t.Error("a region that is not one of the fleet has a slot")
		}
		come.Store(true)
		time.Sleep(3 * interval)
		if s, known := slotOf(m.applied.State(), "sa"); !known || s.Position != 100 {
			t.Errorf("slot %+v, %v", s, known)
		}
		m.Session("sa", false)
	})
}
