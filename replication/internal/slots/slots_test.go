package slots

import (
	"context"
	"log/slog"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/cockroachdb/pebble/v2/vfs"
	"go.etcd.io/raft/v3/raftpb"

	"github.com/mimir-kv/mimir/replication/clock"
	"github.com/mimir-kv/mimir/replication/clock/virtual"
	"github.com/mimir-kv/mimir/replication/contract"
	"github.com/mimir-kv/mimir/replication/durable/pebblefs"
	"github.com/mimir-kv/mimir/replication/internal/fleet"
	"github.com/mimir-kv/mimir/replication/internal/peer"
	"github.com/mimir-kv/mimir/replication/internal/region"
	"github.com/mimir-kv/mimir/replication/internal/wal"
	"github.com/mimir-kv/mimir/replication/timeline"
	"github.com/mimir-kv/mimir/replication/transport"
	"github.com/mimir-kv/mimir/replication/transport/memory"
)

// logEntries is how many entries a member's log has: each one is a frame of one command, of entryBytes.
const (
	logEntries = 400
	entryBytes = 200
)

// member is a node of the region us of which only slots, tracker and log are real.
type member struct {
	*Slots
	t       *testing.T
	log     *Log
	applied *region.Applied
	leading region.Leadership
	end     func()

	mu     sync.Mutex
	leader string
	view   fleet.View
	saved  [][]timeline.Slot // written to the region's log
}

// never is a node that does not end.
type never struct{}

func (never) Stopped() <-chan struct{} { return nil }
func (never) Failure() error           { return nil }

func newMember(t *testing.T, tr transport.Transport) *member {
	t.Helper()
	m := &member{t: t, view: fleet.View{Regions: map[string]fleet.Region{}}}
	m.applied = region.NewApplied(&region.View{State: newPast(logEntries).state, Index: logEntries}, never{})
	m.log = NewLog(fullLog(t))
	m.Slots = New(Config{
		Others:  func() []string { return []string{"ap", "eu"} },
		Tracker: NewTracker(m.applied), Log: m.log, Controls: m, Leader: m,
		Client: peer.NewClient(tr), Fleet: m, Applied: m.applied, Leadership: &m.leading, Clock: clock.Real,
		Logger:      slog.New(slog.DiscardHandler),
		RetainBytes: 1 << 30, CopyRetainBytes: 1 << 30, Timeout: time.Second,
	})
	m.Retain() // as before a node's group runs
	questions := peer.NewRegistry(func() error { return nil }, nil)
	m.Register(questions)
	if err := tr.Serve(map[string]transport.Handler{peer.Service: questions.Serve}); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	var run sync.WaitGroup
	run.Go(func() { m.Run(ctx) })
	m.end = func() {
		cancel()
		run.Wait()
		tr.Close()
		m.log.Close()
	}
	return m
}

// fullLog returns a log of a history of epochs 1 and 3, in small segments.
func fullLog(t *testing.T) *wal.Log {
	t.Helper()
	l, err := wal.Open(wal.Options{
		FS: pebblefs.New(vfs.NewMem()), Dir: "wal", SegmentBytes: 4 << 10, Logger: slog.New(slog.DiscardHandler),
	})
	if err != nil {
		t.Fatal(err)
	}
	l.Rebase(0, 0)
	term, normal := uint64(1), raftpb.EntryNormal
	for i := range uint64(logEntries) {
		f := timeline.Frame{Epoch: 3, First: contract.Position(i + 1)}
		f.Commands = []timeline.Command{{Data: make([]byte, entryBytes)}}
		e := &raftpb.Entry{Index: new(i + 1), Term: &term, Type: &normal, Data: timeline.AppendFrame(nil, &f)}
		if err := l.Append([]wal.Write{{Entries: []*raftpb.Entry{e}}}, true); err != nil {
			t.Fatal(err)
		}
	}
	return l
}

func (m *member) LeaderAddr() string {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.leader
}

func (m *member) View() (fleet.View, <-chan struct{}) {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.view, nil
}

// Control applies slots as the region's log would.
func (m *member) Control(_ context.Context, c *timeline.Control) (region.Outcome, error) {
	m.mu.Lock()
	m.saved = append(m.saved, c.Slots)
	m.mu.Unlock()
	m.change(func(s *timeline.State) {
		machine := timeline.NewMachine(s)
		if _, _, err := machine.Control(c); err != nil {
			m.t.Error(err)
		}
		*s = machine.State()
	})
	return region.Outcome{}, nil
}

// change publishes a state that is changed by f.
func (m *member) change(f func(s *timeline.State)) {
	s := m.applied.State().Clone()
	f(s)
	m.applied.Publish(&region.View{State: *s})
}

// report has the leaders of these regions answer, and no others.
func (m *member) report(at map[string]contract.Position) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.view.Regions = map[string]fleet.Region{}
	for name, p := range at {
		report := fleet.Report{Region: name, Leader: true, Cursor: timeline.Cursor{Position: p}}
		m.view.Regions[name] = fleet.Region{Name: name, Nodes: []fleet.Heard{{Report: report}}}
	}
}

func (m *member) saves() int {
	m.mu.Lock()
	defer m.mu.Unlock()
	return len(m.saved)
}

func (m *member) lead() {
	m.leading.Set(1)
	m.tracker.Lead()
}

// kept returns the first position that the log still has after everything was released that nobody needs.
func (m *member) kept() contract.Position {
	m.t.Helper()
	m.Retain()
	if err := m.log.Compact(logEntries); err != nil {
		m.t.Fatal(err)
	}
	return contract.Position(m.log.FirstIndex())
}

// alone runs f with a node that leads.
func alone(t *testing.T, f func(t *testing.T, m *member)) {
	t.Helper()
	virtual.Test(t, func(t *testing.T) {
		m := newMember(t, memory.NewNetwork(clock.Real, 1).Node("us-1"))
		m.lead()
		f(t, m)
		m.end()
	})
}

// What the stream's source on a follower hears reaches the leader, as soon as there is one.
func TestAcknowledgementsReachTheLeader(t *testing.T) {
	virtual.Test(t, func(t *testing.T) {
		n := memory.NewNetwork(clock.Real, 1)
		leader, other := newMember(t, n.Node("us-1")), newMember(t, n.Node("us-2"))
		leader.lead()
		done := make(chan int, 1)
		receipt := &contract.Receipt{Epoch: 3, Position: 100, Regions: 1}
		leader.tracker.Await(2, receipt, time.Time{}, stays, func(r *contract.Receipt, err error) {
			if err != nil {
				t.Error(err)
			}
			done <- r.Regions
		})
		other.Session("eu", true)
		other.Acknowledged("eu", 3, 100)
		time.Sleep(5 * time.Second)
		if len(done) != 0 {
			t.Fatal("heard without a leader")
		}
		other.mu.Lock()
		other.leader = "us-1"
		other.mu.Unlock()
		if k := <-done; k != 2 {
			t.Errorf("in %d regions", k)
		}
		other.Acknowledged("nowhere", 3, 100) // a region that is not configured: refused, and not taken for one
		time.Sleep(5 * time.Second)
		if got := leader.Now(); len(got) != 1 || got[0].Region != "eu" || got[0].Position != 100 {
			t.Errorf("slots %+v", got)
		}
		leader.end()
		other.end()
	})
}

// TestTheNextLeaderIsToldToo what a region acknowledged to the one before, as long as the region follows.
func TestTheNextLeaderIsToldToo(t *testing.T) {
	virtual.Test(t, func(t *testing.T) {
		n := memory.NewNetwork(clock.Real, 1)
		first, next, other := newMember(t, n.Node("us-1")), newMember(t, n.Node("us-2")), newMember(t, n.Node("us-3"))
		leads := func(m *member, addr string) {
			m.lead()
			other.mu.Lock()
			other.leader = addr
			other.mu.Unlock()
			time.Sleep(5 * time.Second)
		}
		other.Session("eu", true)
		other.Acknowledged("eu", 3, 100)
		other.Session("ap", true)
		other.Acknowledged("ap", 3, 90)
		leads(first, "us-1")
		other.Session("ap", false)
		leads(next, "us-2")
		if got := first.Now(); len(got) != 2 {
			t.Errorf("the first knows %+v", got)
		}
		if got := next.Now(); len(got) != 1 || got[0].Region != "eu" || got[0].Position != 100 {
			t.Errorf("the next knows %+v", got)
		}
		for _, m := range []*member{first, next, other} {
			m.end()
		}
	})
}

// stays is a caller who does not leave.
func stays() bool { return false }

func TestAWaitEndsAtItsDeadline(t *testing.T) {
	alone(t, func(t *testing.T, m *member) {
		began, done := time.Now(), make(chan error, 2)
		tell := func(_ *contract.Receipt, err error) { done <- err }
		m.tracker.Await(2, &contract.Receipt{Epoch: 3, Position: 9}, began.Add(3*time.Second), stays, tell)
		if err := <-done; peer.Kind(err) != contract.ErrUnderReplicated || time.Since(began) != 3*time.Second {
			t.Errorf("after %v: %v", time.Since(began), err)
		}
		m.tracker.Await(2, &contract.Receipt{Epoch: 3, Position: 9}, time.Time{}, stays, tell)
		m.end()
		if err := <-done; peer.Kind(err) != contract.ErrUnderReplicated {
			t.Errorf("the node stopped: %v", err)
		}
	})
}

// A caller who leaves leaves no wait behind, also where nothing is acknowledged.
func TestAWaitEndsWithItsCaller(t *testing.T) {
	alone(t, func(t *testing.T, m *member) {
		var left atomic.Bool
		done := make(chan error, 1)
		m.tracker.Await(2, &contract.Receipt{Epoch: 3, Position: 20}, time.Time{}, left.Load,
			func(_ *contract.Receipt, err error) { done <- err })
		time.Sleep(time.Hour)
		if len(done) > 0 {
			t.Fatalf("somebody waits, and is told %v", <-done)
		}
		left.Store(true)
		time.Sleep(2 * interval)
		if len(done) == 0 || peer.Kind(<-done) != contract.ErrUnderReplicated {
			t.Error("the caller has left, and his wait has not ended")
		}
	})
}

func TestTheLeaderSavesWhatMoved(t *testing.T) {
	alone(t, func(t *testing.T, m *member) {
		time.Sleep(2*interval + interval/2) // from here on what changes does so between two looks
		if m.saves() != 0 {
			t.Fatalf("saved %+v of nothing", m.saved)
		}
		m.Acknowledged("eu", 3, 50)
		time.Sleep(2 * interval)
		if s, known := slotOf(m.applied.State(), "eu"); !known || s.Position != 50 || s.Lost || m.saves() != 1 {
			t.Fatalf("slot %+v, saved %d times", s, m.saves())
		}
		m.leading.Set(0)
		m.change(func(s *timeline.State) { s.Slots = nil })
		time.Sleep(2 * interval)
		if m.saves() != 1 {
			t.Error("a follower saves")
		}
		m.leading.Set(1)
		m.change(func(s *timeline.State) { s.Diverged = &timeline.Divergence{} })
		time.Sleep(2 * interval)
		if m.saves() != 1 {
			t.Error("a diverged region saves")
		}
	})
}

// A secondary that would keep more log than is allowed is given up until it moves.
func TestASlotBehindTheBoundIsLost(t *testing.T) {
	alone(t, func(t *testing.T, m *member) {
		m.config.RetainBytes = entryBytes * 100
		m.Acknowledged("ap", 3, logEntries)
		m.Acknowledged("eu", 3, 50)
		time.Sleep(2 * interval)
		if s, _ := slotOf(m.applied.State(), "eu"); !s.Lost || s.Position != 50 {
			t.Fatalf("slot %+v", s)
		}
		if first := m.kept(); first < logEntries-100 {
			t.Errorf("log is kept from %d on for a slot that is lost", first)
		}
		time.Sleep(2 * interval)
		if s, _ := slotOf(m.applied.State(), "eu"); !s.Lost {
			t.Error("the log is gone, and the slot is not lost any more")
		}
		m.Acknowledged("eu", 3, logEntries-10)
		time.Sleep(2 * interval)
		if s, _ := slotOf(m.applied.State(), "eu"); s.Lost {
			t.Errorf("it moved: %+v", s)
		}
	})
}

// A region that is away when this one takes over has no slot. It is given up like any other: once, in words, and in its
// slot.
func TestARegionThatIsAwaySinceTheTakeoverIsGivenUp(t *testing.T) {
	alone(t, func(t *testing.T, m *member) {
		var said strings.Builder
		m.config.Logger = slog.New(slog.NewTextHandler(&said, nil))
		m.config.RetainBytes = entryBytes * 100
		m.Acknowledged("ap", 3, logEntries)
		time.Sleep(3 * interval)
		if s, known := slotOf(m.applied.State(), "eu"); !known || !s.Lost || s.Position != 0 {
			t.Fatalf("slot %+v", s)
		}
		virtual.Wait()
		text := said.String()
		if n := strings.Count(text, "will bootstrap"); n != 1 || !strings.Contains(text, "secondary=eu") {
			t.Errorf("said %d times: %s", n, text)
		}
		m.Acknowledged("eu", 3, logEntries-10)
		time.Sleep(2 * interval)
		if s, _ := slotOf(m.applied.State(), "eu"); s.Lost {
			t.Errorf("it came back: %+v", s)
		}
	})
}

// A secondary keeps what it can, and says of nobody that it has to bootstrap: that is for the primary to say.
func TestASecondaryLosesNobody(t *testing.T) {
	alone(t, func(t *testing.T, m *member) {
		m.config.RetainBytes = entryBytes * 10
		m.change(func(s *timeline.State) { s.Reigns = []timeline.Reign{{Epoch: 3, First: 1, Primary: "eu"}} })
		time.Sleep(3 * interval)
		if got := m.Now(); len(got) != 0 || m.saves() != 0 {
			t.Errorf("slots %+v", got)
		}
	})
}

// A region that is not configured any more has no slot, and is not shown.
func TestARegionThatWasRemovedHasNoSlot(t *testing.T) {
	alone(t, func(t *testing.T, m *member) {
		m.change(func(s *timeline.State) { s.Slots = []timeline.Slot{{Region: "asia", Position: 3}} })
		m.Acknowledged("eu", 3, 50)
		time.Sleep(2 * interval)
		if got := m.Now(); len(got) != 1 || got[0].Region != "eu" {
			t.Errorf("slots %+v", got)
		}
	})
}

func TestLogIsKeptForWhoeverNeedsIt(t *testing.T) {
	for _, c := range []struct {
		name     string
		change   func(m *member)
		min, max contract.Position // of what is kept
	}{
		{"nobody was heard of", func(m *member) {}, 1, 1},
		{"the slowest slot", func(m *member) {
			m.change(func(s *timeline.State) {
				s.Slots = []timeline.Slot{{Region: "ap", Position: 300}, {Region: "eu", Position: 200}}
			})
		}, 150, 200},
		{"a lost slot keeps nothing", func(m *member) {
			m.change(func(s *timeline.State) {
				s.Slots = []timeline.Slot{{Region: "ap", Position: 300}, {Region: "eu", Position: 10, Lost: true}}
			})
		}, 250, 300},
		{"the bound is stronger than slots and streams", func(m *member) {
			m.config.RetainBytes = entryBytes * 10
			m.log.Pin("stream/eu/1", 5)
		}, logEntries - 50, logEntries},
		{"a stream within the bound", func(m *member) {
			m.change(func(s *timeline.State) {
				s.Slots = []timeline.Slot{{Region: "ap", Position: 300}, {Region: "eu", Position: 300}}
			})
			m.log.Pin("stream/eu/1", 100)
		}, 50, 100},
		{"a stream that ended", func(m *member) {
			m.change(func(s *timeline.State) {
				s.Slots = []timeline.Slot{{Region: "ap", Position: 300}, {Region: "eu", Position: 300}}
			})
			m.log.Pin("stream/eu/1", 100)
			m.log.Unpin("stream/eu/1")
		}, 250, 300},
		{"a fork may have to be saved", func(m *member) {
			m.config.RetainBytes = entryBytes * 10
			m.change(func(s *timeline.State) { s.Yielded = timeline.Reign{Epoch: 9, First: 5, Primary: "eu"} })
		}, 1, 1},
		{"a secondary goes by what the others report", func(m *member) {
			m.change(func(s *timeline.State) {
				s.Reigns = []timeline.Reign{{Epoch: 3, First: 1, Primary: "eu"}}
				s.Slots = []timeline.Slot{{Region: "ap", Position: 10}, {Region: "eu", Position: 10}}
			})
			m.report(map[string]contract.Position{"ap": 200, "eu": 390})
		}, 150, 200},
		{"a region that was not heard of since the takeover", func(m *member) {
			m.change(func(s *timeline.State) { s.Slots = []timeline.Slot{{Region: "ap", Position: 350}} })
		}, 1, 1},
		{"the bound holds for it as for any other", func(m *member) {
			m.config.RetainBytes = entryBytes * 100
			m.change(func(s *timeline.State) { s.Slots = []timeline.Slot{{Region: "ap", Position: 350}} })
		}, 300, 350},
		{"it may be anywhere before the takeover", func(m *member) {
			m.config.RetainBytes = entryBytes * 100
			m.change(func(s *timeline.State) { s.Reigns[1].First = 380 })
		}, 290, 345},
		{"only who is behind the bound is given up", func(m *member) {
			m.config.RetainBytes = entryBytes * 100
			m.change(func(s *timeline.State) {
				s.Slots = []timeline.Slot{{Region: "ap", Position: 350}, {Region: "eu", Position: 20}}
			})
		}, 300, 350},
		{"a slot whose log is gone keeps nothing", func(m *member) {
			m.change(func(s *timeline.State) {
				s.Slots = []timeline.Slot{{Region: "ap", Position: 200}, {Region: "eu", Position: 200}}
			})
			m.kept()
			m.change(func(s *timeline.State) {
				s.Slots = []timeline.Slot{{Region: "ap", Position: 350}, {Region: "eu", Position: 100}}
			})
		}, 300, 350},
		{"a stream that stands still", func(m *member) {
			m.config.RetainBytes = entryBytes * 100
			m.change(func(s *timeline.State) {
				s.Slots = []timeline.Slot{{Region: "ap", Position: 350}, {Region: "eu", Position: 350}}
			})
			m.Retain()
			m.log.Pin("stream/eu/1", 5) // as it does at every sign of life
		}, 290, 350},
		{"a secondary that hears nobody", func(m *member) {
			m.config.RetainBytes = entryBytes * 100
			m.change(func(s *timeline.State) { s.Reigns = []timeline.Reign{{Epoch: 3, First: 1, Primary: "eu"}} })
		}, 290, 350},
		{"a secondary that heard a region before", func(m *member) {
			m.change(func(s *timeline.State) { s.Reigns = []timeline.Reign{{Epoch: 3, First: 1, Primary: "eu"}} })
			m.report(map[string]contract.Position{"ap": 200, "eu": 390})
			m.Retain()
			m.report(nil)
		}, 150, 200},
		{"a secondary keeps what a region needs that has to give up a tail", func(m *member) {
			m.change(func(s *timeline.State) {
				s.Reigns = []timeline.Reign{{Epoch: 1, First: 1, Primary: "ap"}, {Epoch: 3, First: 201, Primary: "eu"}}
			})
			m.report(map[string]contract.Position{"ap": 390, "eu": 390})
			m.view.Regions["ap"].Nodes[0].Reigns = []timeline.Reign{{Epoch: 1, First: 1, Primary: "ap"}}
		}, 150, 200},
		{"nobody else", func(m *member) {
			m.config.Others = func() []string { return nil }
		}, logEntries - 50, logEntries},
	} {
		t.Run(c.name, func(t *testing.T) {
			alone(t, func(t *testing.T, m *member) {
				c.change(m)
				if first := m.kept(); first < c.min || first > c.max {
					t.Errorf("kept from %d on, want %d to %d", first, c.min, c.max)
				}
			})
		})
	}
}
