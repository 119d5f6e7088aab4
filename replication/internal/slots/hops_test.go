package slots

import (
	"testing"

	"github.com/mimir-kv/mimir/replication/contract"
	"github.com/mimir-kv/mimir/replication/timeline"
)

// What a region has by the word of another that has not acknowledged it yet is passed on further as soon as it counts,
// and not when it is said again: a write that waits for a region behind three hops waits for that.
func TestWhatCountsByAHopIsPassedOnAtOnce(t *testing.T) {
	alone(t, func(t *testing.T, m *member) {
		m.change(func(s *timeline.State) { s.Reigns[len(s.Reigns)-1].Primary = "sa" }) // us follows, and is followed
		m.Slots.onward.take()
		says := func(p contract.Position) {
			h := through{By: "eu", acknowledgement: acknowledgement{Region: "ap", Epoch: 3, Position: p}}
			if a, counts := m.Slots.tracker.hop(h); counts {
				if err := m.Slots.acknowledge(a); err != nil {
					t.Error(err)
				}
			}
		}
		eu := func(p contract.Position, want contract.Position) {
			t.Helper()
			if err := m.Slots.acknowledge(acknowledgement{Region: "eu", Epoch: 3, Position: p}); err != nil {
				t.Error(err)
			}
			if got := m.Slots.onward.take(); got["eu"].Position != p || got["ap"].Position != want {
				t.Errorf("passes on %+v; eu has %d, and ap %d of it", got, p, want)
			}
		}
		eu(14, 0)
		says(16)
		if got := m.Slots.onward.take(); got["ap"].Position != 14 {
			t.Errorf("passes on %+v of what eu has itself", got)
		}
		eu(15, 15) // as far as eu has come
		eu(18, 16) // the rest
		eu(19, 0)  // which is said
	})
}
