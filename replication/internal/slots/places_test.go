package slots

import (
	"slices"
	"testing"
	"time"

	"github.com/mimir-kv/mimir/replication/contract"
	"github.com/mimir-kv/mimir/replication/internal/laggate"
	"github.com/mimir-kv/mimir/replication/timeline"
)

// TestPlaces: what a region has acknowledged since the reign began counts, also where that is from before it. Of one
// that has said nothing since nobody knows more than that it was to have all from before.
func TestPlaces(t *testing.T) {
	alone(t, func(t *testing.T, m *member) {
		expect := func(what string, want map[string]contract.Position) {
			t.Helper()
			end, regions := m.Places()
			if end != logEntries || len(regions) != len(want) {
				t.Errorf("%s: end %d, %+v", what, end, regions)
			}
			for name, p := range want {
				i := slices.IndexFunc(regions, func(r laggate.Place) bool { return r.Region == name })
				if i < 0 || regions[i].Position != p {
					t.Errorf("%s: %s is taken to be not at %d: %+v", what, name, p, regions)
				}
			}
		}
		expect("nobody was heard", map[string]contract.Position{"ap": 10, "eu": 10})
		m.Acknowledged("eu", 1, 4) // it has more to take of what was before the reign
		m.Acknowledged("ap", 3, 390)
		time.Sleep(time.Second)
		expect("both were heard", map[string]contract.Position{"ap": 390, "eu": 4})
		m.change(func(s *timeline.State) {
			s.Reigns = append(s.Reigns, timeline.Reign{Epoch: 4, First: 301, Primary: "us"})
			s.Cursor.Epoch = 4
		})
		expect("another reign", map[string]contract.Position{"ap": 300, "eu": 300})
		m.Acknowledged("eu", 3, 200)
		time.Sleep(time.Second)
		expect("eu was heard in it", map[string]contract.Position{"ap": 300, "eu": 200})
		m.Acknowledged("eu", 4, 310)
		time.Sleep(time.Second)
		expect("eu has come to it", map[string]contract.Position{"ap": 300, "eu": 310})
		m.Forget("eu")
		expect("another one comes under its name", map[string]contract.Position{"ap": 300, "eu": 300})
	})
}

// TestPlacesOfWhoNeedsLogThatIsGone: how far it is behind cannot be told.
func TestPlacesOfWhoNeedsLogThatIsGone(t *testing.T) {
	alone(t, func(t *testing.T, m *member) {
		m.Acknowledged("eu", 3, 20)
		m.Acknowledged("ap", 3, 399)
		time.Sleep(time.Second)
		if _, regions := m.Places(); regions[1].Unkept || regions[1].Bytes < (logEntries-20)*entryBytes {
			t.Errorf("%+v", regions)
		}
		if m.config.RetainBytes = entryBytes * 50; m.kept() < 100 {
			t.Fatal("all log is kept")
		}
		if _, regions := m.Places(); !regions[1].Unkept || regions[0].Unkept || regions[0].Bytes > 40<<10 {
			t.Errorf("%+v", regions)
		}
	})
}
