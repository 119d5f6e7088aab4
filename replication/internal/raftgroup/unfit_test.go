package raftgroup

import (
	"errors"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"go.etcd.io/raft/v3/raftpb"

	"github.com/mimir-kv/mimir/replication/clock/virtual"
)

// unfitCluster is a cluster whose members are unfit as they are told.
func unfitCluster(t *testing.T, voters int) (*cluster, map[uint64]*atomic.Bool) {
	c, are := newCluster(t, voters), map[uint64]*atomic.Bool{}
	for id := range uint64(voters) {
		are[id+1] = &atomic.Bool{}
	}
	c.tune = func(config *Config) { config.Unfit = func(id uint64) bool { return are[id].Load() } }
	return c.startAll(), are
}

// A leader that must not lead hands leadership over, and is not elected again, whoever else comes and goes; it votes
// and follows all the while.
func TestWhoIsUnfitDoesNotLead(t *testing.T) {
	virtual.Test(t, func(t *testing.T) {
		c, unfit := unfitCluster(t, 3)
		defer c.close()
		c.write("before")
		l := c.leader()
		unfit[l.id].Store(true)
		c.await("another one leads", func() bool { return c.leader() != l })
		for i := range 3 {
			gone := c.leader()
			c.stop(gone.id)
			time.Sleep(10 * time.Second) // it is the vote of the unfit one that elects the other
			if next := c.leader(); next == l || next == gone {
				t.Fatalf("round %d: %d leads", i, next.id)
			}
			c.write(fmt.Sprint("without ", gone.id))
			c.start(gone.id)
			c.converge()
		}
		unfit[l.id].Store(false)
		for id := range unfit {
			unfit[id].Store(id != l.id)
		}
		c.await("it may lead again", func() bool { return c.leader() == l })
	})
}

// Nobody hands leadership to who is unfit, whose turn it is only once all others are gone, and until they are back.
func TestWhoIsUnfitIsNotMadeLeader(t *testing.T) {
	virtual.Test(t, func(t *testing.T) {
		c, unfit := unfitCluster(t, 3)
		defer c.close()
		c.write("before")
		l := c.leader()
		for id := range unfit {
			unfit[id].Store(id != l.id)
		}
		for id := range unfit {
			if id == l.id {
				continue
			}
			if err := l.group.TransferLeader(t.Context(), id); err == nil {
				t.Errorf("%d took over", id)
			}
		}
		c.stop(l.id)
		c.write("without")
		leads := c.leader()
		for range 500 { // proposals are refused while leadership is handed over, which here is to nobody
			time.Sleep(7 * time.Millisecond)
			data := [][]byte{[]byte("go on")}
			if _, err := leads.group.Propose(t.Context(), leads.group.Status().Term, data); err != nil {
				t.Fatalf("with nobody to hand over to: %v", err)
			}
		}
		c.start(l.id)
		c.await("who is fit leads", func() bool { return c.leader() == l })
		c.write("after")
		c.converge()
	})
}

// Two of three are up, and only the unfit one has all that is committed: it leads until the other one has as well.
func TestWhoIsUnfitBringsTheOtherUpToDate(t *testing.T) {
	virtual.Test(t, func(t *testing.T) {
		c, unfit := unfitCluster(t, 3)
		defer c.close()
		c.write("before")
		l := c.leader()
		bad := c.members[l.id%3+1]
		late := c.members[bad.id%3+1]
		unfit[bad.id].Store(true)
		c.net.Isolate(late.addr)
		c.write("of the two others")
		c.stop(l.id)
		c.net.Reconnect(late.addr)
		c.await("the late one leads", func() bool { return c.leader() == late })
		c.write("after")
		c.converge()
	})
}

// Who is the only voter leads, fit or not: there is nobody else.
func TestTheOnlyVoterLeads(t *testing.T) {
	virtual.Test(t, func(t *testing.T) {
		c, unfit := unfitCluster(t, 1)
		defer c.close()
		unfit[1].Store(true)
		time.Sleep(5 * time.Second)
		c.write("alone")
	})
}

// electionTime is that of a cluster.
const electionTime = 100 * time.Millisecond

// hangs is a machine whose steps wait while it is held.
type hangs struct {
	Machine
	held atomic.Pointer[chan struct{}]
}

func (h *hangs) hold() {
	c := make(chan struct{})
	h.held.Store(&c)
}

func (h *hangs) release() {
	if c := h.held.Swap(nil); c != nil {
		close(*c)
	}
}

func (h *hangs) Apply(entries []*raftpb.Entry) error {
	if c := h.held.Load(); c != nil {
		<-*c
	}
	return h.Machine.Apply(entries)
}

// hangingCluster is a cluster whose machines can be held.
func hangingCluster(t *testing.T) (*cluster, map[uint64]*hangs) {
	c, machines := newCluster(t, 3), map[uint64]*hangs{}
	c.tune = func(config *Config) {
		machines[config.ID] = &hangs{Machine: config.Machine}
		config.Machine = machines[config.ID]
	}
	return c.startAll(), machines
}

// A machine that hangs again and again has leadership handed over each time, whoever it was handed to before.
func TestAMachineThatHangsAgain(t *testing.T) {
	virtual.Test(t, func(t *testing.T) {
		c, machines := hangingCluster(t)
		defer c.close()
		c.write("before")
		bad := c.leader()
		for i := range 4 {
			machines[bad.id].hold()
			data := [][]byte{[]byte("it hangs")}
			if _, err := bad.group.Propose(t.Context(), bad.group.Status().Term, data); err != nil {
				t.Fatal(err)
			}
			began := time.Now()
			c.await("another one leads", func() bool { return c.leader() != bad })
			if took := time.Since(began); took > 6*electionTime {
				t.Errorf("round %d: it took %v", i, took)
			}
			time.Sleep(20 * electionTime)
			machines[bad.id].release()
			c.write(fmt.Sprint("round ", i))
			c.converge()
			c.await("it goes on", func() bool { return bad.group.Status().MachineHung == 0 })
			if err := c.leader().group.TransferLeader(t.Context(), bad.id); err != nil {
				t.Fatal(err)
			}
			c.await("it leads", func() bool { return c.leader() == bad })
		}
	})
}

// One step that took long is no reason to leave leadership with a machine that hangs: the others are not known to be
// as slow.
func TestAMachineThatWasSlowOnceHangs(t *testing.T) {
	virtual.Test(t, func(t *testing.T) {
		c, machines := hangingCluster(t)
		defer c.close()
		c.write("before")
		l := c.leader()
		for id, m := range machines {
			if id != l.id {
				m.hold()
			}
		}
		c.write("it is slow there")
		time.Sleep(7 * electionTime)
		for _, m := range machines {
			m.release()
		}
		c.converge()
		c.stop(l.id)
		once := c.leader()
		c.start(l.id)
		c.write("of all")
		c.converge()
		machines[once.id].hold()
		defer machines[once.id].release()
		data := [][]byte{[]byte("it hangs")}
		if _, err := once.group.Propose(t.Context(), once.group.Status().Term, data); err != nil {
			t.Fatal(err)
		}
		began := time.Now()
		c.await("another one leads", func() bool { return c.leader() != once })
		if took := time.Since(began); took > 6*electionTime {
			t.Errorf("it took %v", took)
		}
	})
}

// said is a log that is read while it is written.
type said struct {
	mu   sync.Mutex
	text strings.Builder
}

func (s *said) Write(p []byte) (int, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.text.Write(p)
}

func (s *said) has(words string) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return strings.Contains(s.text.String(), words)
}

// Who is told to take over while its machine hangs does not, and says why.
func TestWhoseMachineHangsSaysThatItDoesNotTakeOver(t *testing.T) {
	virtual.Test(t, func(t *testing.T) {
		c, machines, logs := newCluster(t, 3), map[uint64]*hangs{}, map[uint64]*said{}
		c.tune = func(config *Config) {
			machines[config.ID], logs[config.ID] = &hangs{Machine: config.Machine}, &said{}
			config.Machine = machines[config.ID]
			config.Logger = slog.New(slog.NewTextHandler(logs[config.ID], nil))
		}
		c.startAll()
		defer c.close()
		c.write("before")
		l := c.leader()
		to := c.members[l.id%3+1]
		machines[to.id].hold()
		defer machines[to.id].release()
		c.write("it hangs there")
		c.await("it is known there", func() bool { return to.group.Status().MachineHung > 0 })
		if err := l.group.TransferLeader(t.Context(), to.id); !errors.Is(err, ErrTransfer) {
			t.Errorf("handed over: %v", err)
		}
		if words := "does not take leadership over: its machine has not finished a step"; !logs[to.id].has(words) {
			t.Errorf("its log does not say %q", words)
		}
	})
}

// What a hang means is said where it means something.
func TestWhatAHangMeans(t *testing.T) {
	for _, c := range []struct {
		why    string
		voters []uint64
		says   bool
	}{
		{"one of three", []uint64{1, 2, 3}, true},
		{"the only voter", []uint64{1}, false},
		{"a learner", []uint64{2, 3}, false},
	} {
		if says := meaning(1, c.voters) != ""; says != c.says {
			t.Errorf("%s: says that it leads nobody: %t", c.why, says)
		}
	}
}

// sleeps is a machine whose steps take long, each a time of its own.
type sleeps struct {
	Machine
	times *rand.Rand
}

func (s *sleeps) Apply(entries []*raftpb.Entry) error {
	time.Sleep(2*electionTime + time.Duration(s.times.Int64N(int64(6*electionTime))))
	return s.Machine.Apply(entries)
}

// Where all storages are slow leadership is not handed around: the steps come to their ends.
func TestWhereAllMachinesAreSlowLeadershipStays(t *testing.T) {
	virtual.Test(t, func(t *testing.T) {
		c := newCluster(t, 3)
		c.tune = func(config *Config) {
			config.Machine = &sleeps{config.Machine, rand.New(rand.NewPCG(1, config.ID))}
		}
		c.startAll()
		defer c.close()
		first := uint64(0)
		for i := range 3000 {
			time.Sleep(electionTime / 5)
			l := c.leader()
			_, _ = l.group.Propose(t.Context(), l.group.Status().Term, [][]byte{[]byte("one of many")})
			if i == 300 { // until then they learn how slow they are
				first = l.group.Status().Term
			}
		}
		if last := c.leader().group.Status().Term; last > first {
			t.Errorf("leadership moved %d times in 540 election timeouts", last-first)
		}
	})
}

// A leader whose machine hangs, while its log does not, hands leadership over, and says so; it leads nobody until it
// goes on, and then it may again. Where all machines hang alike it stays with who has it.
func TestWhoseMachineHangsDoesNotLead(t *testing.T) {
	virtual.Test(t, func(t *testing.T) {
		c, machines := hangingCluster(t)
		defer c.close()
		defer func() {
			for _, m := range machines {
				m.release()
			}
		}()
		c.write("before")
		l := c.leader()
		machines[l.id].hold()
		data := [][]byte{[]byte("it hangs")}
		if _, err := l.group.Propose(t.Context(), l.group.Status().Term, data); err != nil {
			t.Fatal(err)
		}
		c.await("another one leads", func() bool { return c.leader() != l })
		c.write("while it hangs")
		gone := c.leader()
		c.stop(gone.id) // two are left, and the one that hangs does not lead
		time.Sleep(10 * time.Second)
		if c.leader() == l || l.group.Status().MachineHung < 10*time.Second {
			t.Errorf("it leads: %t; it says that it hangs for %v", c.leader() == l, l.group.Status().MachineHung)
		}
		c.write("still")
		c.start(gone.id)
		machines[l.id].release()
		c.write("after")
		c.converge()
		c.await("it says so", func() bool { return l.group.Status().MachineHung == 0 })
		for _, m := range machines {
			m.hold()
		}
		before := c.leader().group.Status()
		if _, err := c.leader().group.Propose(t.Context(), before.Term, [][]byte{[]byte("large")}); err != nil {
			t.Fatal(err)
		}
		time.Sleep(20 * time.Second)
		if now := c.leader().group.Status(); now.Term != before.Term {
			t.Errorf("leadership moved %d times while all machines hang", now.Term-before.Term)
		}
		for _, m := range machines {
			m.release()
		}
		c.converge()
	})
}
