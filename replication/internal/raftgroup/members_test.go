package raftgroup

import (
	"context"
	"errors"
	"fmt"
	"sync/atomic"
	"testing"
	"time"

	"go.etcd.io/raft/v3/raftpb"

	"github.com/mimir-kv/mimir/replication/clock/virtual"
	"github.com/mimir-kv/mimir/replication/internal/raftgroup/peers"
)

// joiner adds a node that holds nothing and waits to be told of the group.
func (c *cluster) joiner(id uint64) *member {
	m := c.add(id)
	m.join = true
	return c.start(id)
}

// left takes a member down that was removed, and may have noticed.
func (c *cluster) left(id uint64) {
	c.t.Helper()
	c.members[id].leaves = true
	c.stop(id)
	select {
	case err := <-c.members[id].fatal:
		if !errors.Is(err, ErrRemoved) {
			c.t.Errorf("member %d ended with %v", id, err)
		}
	default:
	}
}

func TestMembersComeAndGo(t *testing.T) {
	virtual.Test(t, func(t *testing.T) {
		c := newCluster(t, 3).startAll()
		defer c.close()
		c.write("before")
		m := c.joiner(4)
		for _, change := range []string{"l4", "v4"} {
			if err := c.change(change); err != nil {
				t.Fatal(err)
			}
			c.converge()
		}
		if r := m.machine.records(); len(r) == 0 || len(c.history.where("before")) != 1 {
			t.Errorf("the new member has %v", r)
		}
		if err := c.change("r1"); err != nil {
			t.Fatal(err)
		}
		c.left(1)
		c.write("after")
		c.converge()
		if s := c.leader().group.Status(); len(s.Conf.GetVoters()) != 3 || peers.IsMember(s.Conf, 1) {
			t.Errorf("members are %v", s.Conf)
		}
		c.crash(4) // it knows its membership from disk alone
		c.start(4)
		c.write("again")
		c.converge()
	})
}

func TestJointChange(t *testing.T) {
	virtual.Test(t, func(t *testing.T) {
		c := newCluster(t, 3).startAll()
		defer c.close()
		for _, id := range []uint64{4, 5} {
			c.joiner(id)
		}
		if err := c.change("v4 v5 r1 r2"); err != nil {
			t.Fatal(err)
		}
		c.await("the leaving members to stop leading", func() bool { return c.leader().id > 2 })
		if conf := c.leader().group.Status().Conf; len(conf.GetVotersOutgoing()) != 0 || len(conf.GetVoters()) != 3 {
			t.Errorf("members are %v", conf)
		}
		c.left(1)
		c.left(2)
		c.write("x")
		c.converge()
	})
}

// Whoever waits for a change that another leader's shorter log overwrites is told, though nobody writes on.
func TestAChangeThatIsOverwrittenIsAnswered(t *testing.T) {
	virtual.Test(t, func(t *testing.T) {
		c := newCluster(t, 3).startAll()
		defer c.close()
		c.write("before")
		c.converge()
		old := c.leader()
		c.net.Isolate(old.addr)
		for range 5 { // the change comes to lie behind what the other leader begins with
			if _, err := old.group.Propose(t.Context(), old.group.Status().Term, [][]byte{[]byte("lost")}); err != nil {
				t.Fatal(err)
			}
		}
		told := make(chan error, 1)
		go func() { told <- c.changeAt(old, "l8") }()
		c.await("another leader", func() bool { return c.leader() != old })
		c.net.HealAll()
		c.converge()
		virtual.Wait()
		select {
		case err := <-told:
			if !errors.Is(err, ErrNotLeader) {
				t.Errorf("told %v", err)
			}
		default:
			t.Error("nobody told who waits that his change is lost")
		}
	})
}

// A joint configuration is left though leadership was being handed over, in vain, when it was entered, and nobody
// writes.
func TestAJointChangeIsLeftAfterATransferInVain(t *testing.T) {
	virtual.Test(t, func(t *testing.T) {
		c := newCluster(t, 3).startAll()
		defer c.close()
		c.write("before")
		c.converge()
		for _, id := range []uint64{4, 5} {
			c.joiner(id)
		}
		l := c.leader()
		to := l.id%3 + 1
		c.net.SetDelay("", "", 10*time.Millisecond, 0)
		told := make(chan error, 1)
		go func() { told <- c.change("v4 v5") }()
		virtual.Wait() // it is in the log
		c.net.Isolate(c.members[to].addr)
		if err := l.group.TransferLeader(t.Context(), to); !errors.Is(err, ErrTransfer) {
			t.Fatalf("transfer to who hears nothing: %v", err)
		}
		if err := <-told; err != nil {
			t.Errorf("the change: %v", err)
		}
		if conf := l.group.Status().Conf; len(conf.GetVotersOutgoing()) != 0 || len(conf.GetVoters()) != 5 {
			t.Errorf("members are %v", conf)
		}
		c.net.HealAll()
		c.converge()
	})
}

func TestMembershipRefusals(t *testing.T) {
	virtual.Test(t, func(t *testing.T) {
		c := newCluster(t, 3).startAll()
		defer c.close()
		l := c.leader()
		for _, change := range []string{"", "r1 r2 r3", "v0"} {
			if err := c.change(change); !errors.Is(err, ErrMembership) {
				t.Errorf("change %q: %v", change, err)
			}
		}
		for _, m := range c.members {
			add := &raftpb.ConfChangeSingle{Type: raftpb.ConfChangeAddLearnerNode.Enum(), NodeId: new(uint64(9))}
			cc := &raftpb.ConfChangeV2{Changes: []*raftpb.ConfChangeSingle{add}}
			if m != l {
				s := m.group.Status()
				if err := m.group.ChangeMembers(t.Context(), s.Basis(), cc); !errors.Is(err, ErrNotLeader) {
					t.Errorf("change at a follower: %v", err)
				}
			}
		}
		// While one is under way, another is told to come back.
		c.net.SetDelay("", "", 20*time.Millisecond, 0)
		first := make(chan error, 1)
		go func() { first <- c.change("l8") }()
		virtual.Wait()
		if err := c.change("l9"); !errors.Is(err, ErrBusy) {
			t.Errorf("a second change: %v", err)
		}
		if err := <-first; err != nil {
			t.Errorf("the first change: %v", err)
		}
	})
}

// A change is made on the members on which it was decided, in one term: not after another one, even if that was undone,
// and not by who has led anew since.
func TestAChangeIsMadeOnWhatItWasDecidedOn(t *testing.T) {
	virtual.Test(t, func(t *testing.T) {
		c := newCluster(t, 4).startAll()
		defer c.close()
		decided := func(m *member, change string) func() error {
			cc, err := raftpb.ConfChangesFromString(change)
			if err != nil {
				t.Fatal(err)
			}
			s := m.group.Status()
			return func() error {
				return m.group.ChangeMembers(t.Context(), s.Basis(), &raftpb.ConfChangeV2{Changes: cc})
			}
		}
		l := c.leader()
		gone, stays := l.id%4+1, (l.id+1)%4+1
		first, second := decided(l, "r"+fmt.Sprint(gone)), decided(l, "r"+fmt.Sprint(stays))
		if err := first(); err != nil {
			t.Fatal(err)
		}
		c.left(gone)
		if err := second(); !errors.Is(err, ErrOvertaken) {
			t.Errorf("decided before another member was removed: %v", err)
		}
		late := decided(l, "l9")
		for _, change := range []string{"l8", "r8", "r8"} { // of who is no member, too
			if err := c.change(change); err != nil {
				t.Fatal(err)
			}
		}
		if err := late(); !errors.Is(err, ErrOvertaken) {
			t.Errorf("decided before two changes that undid each other: %v", err)
		}
		old := decided(l, "l9")
		for _, to := range []uint64{stays, l.id} {
			c.converge() // who has not applied a change stands for no election
			if err := c.leader().group.TransferLeader(t.Context(), to); err != nil {
				t.Fatal(err)
			}
		}
		if err := old(); !errors.Is(err, ErrNotLeader) {
			t.Errorf("decided in an earlier term: %v", err)
		}
		if err := decided(c.leader(), "l9")(); err != nil {
			t.Errorf("decided now: %v", err)
		}
	})
}

// slowConf is a machine that takes its time over a change of members.
type slowConf struct {
	Machine
	held atomic.Pointer[chan struct{}]
}

func (s *slowConf) ApplyConf(e *raftpb.Entry, cc *raftpb.ConfChangeV2, conf *raftpb.ConfState) error {
	if c := s.held.Load(); c != nil {
		<-*c
	}
	return s.Machine.ApplyConf(e, cc, conf)
}

// Who decides on a change while the machine is at another one is told that it is, and not to decide anew at once.
func TestAChangeWaitsForTheMachine(t *testing.T) {
	virtual.Test(t, func(t *testing.T) {
		c, machine := newCluster(t, 1), &slowConf{}
		c.tune = func(config *Config) { machine.Machine, config.Machine = config.Machine, machine }
		c.startAll()
		defer c.close()
		c.write("before")
		held := make(chan struct{})
		machine.held.Store(&held)
		first := make(chan error, 1)
		go func() { first <- c.change("l8") }()
		time.Sleep(time.Second)
		if err := c.change("l9"); !errors.Is(err, ErrBusy) {
			t.Errorf("while the machine is at another one: %v", err)
		}
		machine.held.Store(nil)
		close(held)
		if err := <-first; err != nil {
			t.Error(err)
		}
		if err := c.change("l9"); err != nil {
			t.Error(err)
		}
	})
}

func TestTransferLeader(t *testing.T) {
	virtual.Test(t, func(t *testing.T) {
		c := newCluster(t, 3).startAll()
		defer c.close()
		for range 5 {
			l := c.leader()
			to := l.id%3 + 1
			if err := l.group.TransferLeader(t.Context(), to); err != nil {
				t.Fatal(err)
			}
			if now := c.leader(); now.id != to {
				t.Errorf("%d leads, want %d", now.id, to)
			}
			if err := l.group.TransferLeader(t.Context(), to); !errors.Is(err, ErrNotLeader) {
				t.Errorf("transfer by a follower: %v", err)
			}
			c.write("x")
		}
		l := c.leader()
		if err := l.group.TransferLeader(t.Context(), l.id); err != nil {
			t.Errorf("transfer to itself: %v", err)
		}
		if err := l.group.TransferLeader(t.Context(), 99); !errors.Is(err, ErrTransfer) {
			t.Errorf("transfer to a stranger: %v", err)
		}
		to := l.id%3 + 1
		c.stop(to)
		ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
		defer cancel()
		if err := l.group.TransferLeader(ctx, to); !errors.Is(err, ErrTransfer) {
			t.Errorf("transfer to a dead member: %v", err)
		}
		c.write("y")
	})
}

// TestTransferLeaderToNobody ends when it is known that nobody is there: at once where what is sent is known to be
// lost, and else when the leader steps down since it hears no majority.
func TestTransferLeaderToNobody(t *testing.T) {
	for name, leave := range map[string]func(c *cluster, id uint64){
		"ended":     (*cluster).stop,
		"is silent": func(c *cluster, id uint64) { c.net.Isolate(c.members[id].addr) },
	} {
		virtual.Test(t, func(t *testing.T) {
			c := newCluster(t, 3).startAll()
			defer c.close()
			l := c.leader()
			c.write("x")
			others := []uint64{l.id%3 + 1, (l.id+1)%3 + 1}
			for _, id := range others {
				leave(c, id)
			}
			ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
			defer cancel()
			began := time.Now()
			for _, to := range others {
				err := l.group.TransferLeader(ctx, to)
				if !errors.Is(err, ErrTransfer) && !errors.Is(err, ErrNotLeader) {
					t.Errorf("to one who %s: %v", name, err)
				}
			}
			if took := time.Since(began); took > 2*10*10*time.Millisecond { // election timeouts
				t.Errorf("who %s: after %v", name, took)
			}
			c.net.HealAll()
		})
	}
}

// A checkpoint made before a node became a member is of no use to it, and must not be offered again and again.
func TestJoinersOneAfterAnother(t *testing.T) {
	virtual.Test(t, func(t *testing.T) {
		c := newCluster(t, 1).startAll()
		defer c.close()
		for id := uint64(2); id <= 5; id++ {
			c.joiner(id)
			began := time.Now()
			if err := c.change("l" + string(rune('0'+id))); err != nil {
				t.Fatal(err)
			}
			c.converge()
			if took := time.Since(began); took > time.Second {
				t.Errorf("member %d was brought up in %v", id, took)
			}
		}
	})
}
