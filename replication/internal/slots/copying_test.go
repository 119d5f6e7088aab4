package slots

import (
	"errors"
	"log/slog"
	"strings"
	"testing"
	"time"

	"github.com/mimir-kv/mimir/replication/clock/virtual"
	"github.com/mimir-kv/mimir/replication/contract"
	"github.com/mimir-kv/mimir/replication/internal/fleet"
	"github.com/mimir-kv/mimir/replication/internal/region"
	"github.com/mimir-kv/mimir/replication/timeline"
)

// small has log kept for some thirty entries, for near two hundred behind a copy, and nothing for ap. eu fell behind.
func small(m *member) *strings.Builder {
	said := new(strings.Builder)
	m.config.Logger = slog.New(slog.NewTextHandler(said, nil))
	m.config.RetainBytes, m.config.CopyRetainBytes = entryBytes*50, entryBytes*300
	m.change(func(s *timeline.State) {
		s.Slots = []timeline.Slot{{Region: "ap", Position: logEntries}, {Region: "eu", Position: 20, Lost: true}}
	})
	return said
}

// granted counts the regions for which log is kept behind a copy.
func (m *member) granted() int {
	m.Slots.mu.Lock()
	defer m.Slots.mu.Unlock()
	return len(m.copies)
}

// What is written while a copy is on its way is kept although it is more than RetainBytes, until the region follows
// again and has caught up.
func TestTheLogBehindACopyIsKept(t *testing.T) {
	alone(t, func(t *testing.T, m *member) {
		small(m)
		for _, p := range []contract.Position{0, 250} { // what is told before the copy is made, and after
			if err := m.Copying("eu", p); err != nil {
				t.Fatal(err)
			}
		}
		m.log.Pin("stream/eu/1", 260) // its stream behind the copy may go back as far
		if first := m.kept(); first < 200 || first > 250 {
			t.Fatalf("kept from %d on for a copy at 250", first)
		}
		m.Acknowledged("eu", 3, 270)
		time.Sleep(2 * interval)
		if s, _ := slotOf(m.applied.State(), "eu"); s.Lost || s.Position != 270 {
			t.Errorf("slot %+v of a region that catches up", s)
		}
		if first := m.kept(); first > 270 {
			t.Fatalf("kept from %d on for a region that catches up at 270", first)
		}
		m.Acknowledged("eu", 3, logEntries-20)
		time.Sleep(2 * interval)
		if m.granted() != 0 {
			t.Error("it has caught up, and is still granted more than others")
		}
		if first := m.kept(); first < logEntries-70 {
			t.Errorf("kept from %d on", first)
		}
	})
}

// So is it by a process that did not hear of the copy: the region would begin anew with a whole state, and its source
// restarts in every upgrade.
func TestTheLogBehindACopyIsKeptByTheNextProcess(t *testing.T) {
	alone(t, func(t *testing.T, m *member) {
		said := small(m)
		stored := *m.applied.State()
		if err := m.Copying("eu", 250); err != nil {
			t.Fatal(err)
		}
		m.log.Pin("stream/eu/1", 260)
		m.Acknowledged("eu", 3, 270)
		time.Sleep(2 * interval)
		now, next := *m.applied.State(), New(m.config)
		for _, v := range []region.View{{State: stored}, {State: now, Index: logEntries}} {
			m.applied.Publish(&v) // first as it was stored, and then what the log has since
			next.Retain()
			if err := m.log.Compact(logEntries); err != nil {
				t.Fatal(err)
			}
			if first, _ := m.log.FirstPosition(); first > 270 {
				t.Errorf("kept from %d on for a region that catches up at 270", first)
			}
		}
		if bound := next.boundFor("ap"); bound != m.config.RetainBytes {
			t.Errorf("%d bytes are kept for a region that took no copy", bound)
		}
		if !strings.Contains(said.String(), "as behind a copy") {
			t.Errorf("said %s", said)
		}
	})
}

// A copy that begins before the region's slot, of a region that lost its disks, is not taken for one that has caught
// up.
func TestASlotFromBeforeACopySaysNothing(t *testing.T) {
	alone(t, func(t *testing.T, m *member) {
		small(m)
		m.Acknowledged("eu", 3, 390)
		time.Sleep(2 * interval)
		if err := m.Copying("eu", 300); err != nil {
			t.Fatal(err)
		}
		time.Sleep(2 * interval)
		if first := m.kept(); first > 300 {
			t.Errorf("kept from %d on for a copy at 300", first)
		}
	})
}

func TestLogIsNotKeptForeverBehindACopy(t *testing.T) {
	for _, c := range []struct {
		name, says string
		act        func(m *member)
	}{
		{"the region is silent", "is silent", func(m *member) {
			time.Sleep(copyLease / 2)
			_ = m.Copying("eu", 0)
			time.Sleep(copyLease - time.Minute)
			if m.granted() != 1 {
				m.t.Error("ended while the region was heard of")
			}
			time.Sleep(2 * time.Minute)
		}},
		{"too much is written", "raise CopyRetainBytes", func(m *member) {
			m.Slots.mu.Lock()
			m.config.CopyRetainBytes = entryBytes * 60 // as if the log had grown
			m.Slots.mu.Unlock()
			time.Sleep(2 * interval)
			if err := m.Copying("eu", 250); !errors.Is(err, contract.ErrNotReady) {
				m.t.Errorf("the same copy again: %v", err)
			}
		}},
	} {
		t.Run(c.name, func(t *testing.T) {
			alone(t, func(t *testing.T, m *member) {
				said := small(m)
				if err := m.Copying("eu", 250); err != nil {
					t.Fatal(err)
				}
				c.act(m)
				if first := m.kept(); first < logEntries-60 || m.granted() != 0 {
					t.Errorf("kept from %d on", first)
				}
				virtual.Wait()
				if !strings.Contains(said.String(), c.says) {
					t.Errorf("said %s", said)
				}
			})
		})
	}
}

// A region that had a copy of a secondary, and follows the primary behind it, is not taken for silent there.
func TestWhoFollowsElsewhereBehindACopyHasCaughtUp(t *testing.T) {
	alone(t, func(t *testing.T, m *member) {
		said := small(m)
		m.change(func(s *timeline.State) { s.Reigns[len(s.Reigns)-1].Primary = "ap" })
		at := func(p contract.Position, connected bool) {
			r := fleet.Report{Region: "eu", Leader: true, Cursor: timeline.Cursor{Position: p}}
			r.Following = &fleet.Following{Source: "ap", Connected: connected}
			m.mu.Lock()
			m.view.Regions = map[string]fleet.Region{"eu": {Name: "eu", Nodes: []fleet.Heard{{Report: r}}}}
			m.mu.Unlock()
			time.Sleep(2 * interval)
		}
		at(logEntries, false) // before it lost its disks
		if err := m.Copying("eu", 250); err != nil {
			t.Fatal(err)
		}
		at(0, false)
		at(260, true)
		if first := m.kept(); m.granted() != 1 || first > 261 {
			t.Errorf("kept from %d on for a region that catches up at 260", first)
		}
		at(logEntries-20, true)
		if m.granted() != 0 {
			t.Error("it has caught up, and is still granted more than others")
		}
		time.Sleep(copyLease + time.Minute)
		if virtual.Wait(); strings.Contains(said.String(), "is silent") {
			t.Errorf("said %s", said)
		}
	})
}

func TestNoLogIsPromisedThatIsNotThere(t *testing.T) {
	alone(t, func(t *testing.T, m *member) {
		small(m)
		m.kept()
		if err := m.Copying("eu", 30); !errors.Is(err, contract.ErrNotReady) {
			t.Errorf("a copy whose log is gone: %v", err)
		}
		if err := m.Copying("asia", 0); !errors.Is(err, contract.ErrUnknownRegion) {
			t.Errorf("a region that is not configured: %v", err)
		}
	})
}
