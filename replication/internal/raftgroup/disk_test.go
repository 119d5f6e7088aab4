package raftgroup

import (
	"fmt"
	"math/rand/v2"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/cockroachdb/pebble/v2/vfs"
	"github.com/cockroachdb/pebble/v2/vfs/errorfs"
	"go.etcd.io/raft/v3/raftpb"

	"github.com/mimir-kv/mimir/replication/clock/virtual"
)

// hears hands the loop a message of another member, while the writer stands still.
func (r *rig) hears(id uint64, m *raftpb.Message) {
	r.t.Helper()
	m.From, m.To = new(id), new(uint64(1))
	r.loop.mail.Receive([]*raftpb.Message{m}, 1)
	r.turn(false)
}

// told returns to whom messages of a kind went since the last call.
func (r *rig) told(kind raftpb.MessageType) (to []uint64) {
	for _, m := range r.sent {
		if m.GetType() == kind {
			to = append(to, m.GetTo())
		}
	}
	r.sent = nil
	return to
}

// A leader whose disk does not finish a write hands over to who has most, once others commit without it; to another one
// if that one does not take over; and not at all while its disk is not missed.
func TestLoopWithAStuckDisk(t *testing.T) {
	r := newRig(t, 1, 2, 3)
	term := r.elect()
	heard := func(of ...uint64) {
		for _, id := range of {
			r.hears(id, &raftpb.Message{Type: raftpb.MsgHeartbeatResp.Enum(), Term: new(term)})
		}
	}
	r.write = 7
	for range 2 * r.loop.electionTicks {
		r.turn(true)
		heard(2, 3)
	}
	if to := r.told(raftpb.MsgTimeoutNow); len(to) != 0 {
		t.Fatalf("handed to %v, and nothing waits for its disk", to)
	}
	if r.loop.view.status().DiskStalled < time.Second {
		t.Errorf("stalled for %v", r.loop.view.status().DiskStalled)
	}
	own := r.log.LastIndex()
	p := r.propose(term, "x", "y")
	r.turn(false)
	<-p.reply
	r.hears(3, &raftpb.Message{Type: raftpb.MsgAppResp.Enum(), Term: new(term), Index: new(own + 2)})
	r.hears(2, &raftpb.Message{Type: raftpb.MsgAppResp.Enum(), Term: new(term), Index: new(own + 1)})
	r.turn(true)
	if to := r.told(raftpb.MsgTimeoutNow); fmt.Sprint(to) != "[3]" {
		t.Fatalf("handed to %v", to)
	}
	r.hears(2, &raftpb.Message{Type: raftpb.MsgAppResp.Enum(), Term: new(term), Index: new(own + 2)})
	var to []uint64
	for range 2 * r.loop.electionTicks {
		r.turn(true)
		heard(2, 3)
		to = append(to, r.told(raftpb.MsgTimeoutNow)...)
	}
	if len(to) == 0 || to[0] != 2 {
		t.Errorf("then handed to %v", to)
	}
	r.write = 0
	r.turn(true)
	if r.loop.stuck() || r.loop.view.status().DiskStalled != 0 {
		t.Error("still stuck")
	}
}

// Who has most may be gone: one that answers on is better.
func TestAStuckDiskIsLeftToWhoAnswers(t *testing.T) {
	virtual.Test(t, func(t *testing.T) {
		r := newRig(t, 1, 2, 3)
		term := r.elect()
		own := r.log.LastIndex()
		p := r.propose(term, "x", "y")
		r.turn(false)
		<-p.reply
		has := func(id, more uint64) {
			r.hears(id, &raftpb.Message{Type: raftpb.MsgAppResp.Enum(), Term: new(term), Index: new(own + more)})
		}
		const before, silent = 7, 7 // ticks: raft asked who is there just before 3 fell silent
		for i := range before + r.loop.electionTicks + 1 {
			if i == before {
				r.write = 7
			}
			if i <= before+r.loop.electionTicks-silent {
				has(3, 2)
			}
			has(2, 1)
			r.turn(true)
			time.Sleep(r.loop.tickInterval)
		}
		if to := r.told(raftpb.MsgTimeoutNow); len(to) > 0 {
			t.Errorf("handed to %v at once", to) // it is sent the rest first
		}
		if to := r.loop.node.BasicStatus().LeadTransferee; to != 2 {
			t.Errorf("is handing to %d", to)
		}
	})
}

// Who has a stuck disk does not campaign, by itself or when told to.
func TestLoopDoesNotCampaignWithAStuckDisk(t *testing.T) {
	r := newRig(t, 1, 2, 3)
	r.from(2, &raftpb.Message{Type: raftpb.MsgHeartbeat.Enum(), Term: new(uint64(4))})
	for i := range 10 * r.loop.electionTicks {
		r.write = 7
		if i < r.loop.electionTicks { // until it is stuck its leader is there
			r.hears(2, &raftpb.Message{Type: raftpb.MsgHeartbeat.Enum(), Term: new(uint64(4))})
		}
		r.turn(true)
	}
	r.hears(2, &raftpb.Message{Type: raftpb.MsgTimeoutNow.Enum(), Term: new(uint64(4))})
	if term := r.loop.node.BasicStatus().HardState.GetTerm(); term != 4 || len(r.appends) > 1 {
		t.Errorf("campaigned: term %d, %d writes wait", term, len(r.appends))
	}
	r.write = 0
	for range 3 * r.loop.electionTicks {
		r.turn(true)
		r.settle()
	}
	if to := r.told(raftpb.MsgPreVote); len(to) == 0 {
		t.Error("never campaigns again")
	}
}

// Candidates ask who has a stuck disk as often as they like: nothing gathers behind it, and it votes again afterwards.
func TestVotesDoNotGatherBehindAStuckDisk(t *testing.T) {
	r := newRig(t, 1, 2, 3)
	ask := func(kind raftpb.MessageType, term uint64) {
		r.hears(2, &raftpb.Message{
			Type: kind.Enum(), Term: new(term), Index: new(uint64(genesisIndex + 5)), LogTerm: new(uint64(3)),
		})
	}
	r.write = 7
	for range 2 * r.loop.electionTicks {
		r.turn(true)
	}
	before := len(r.appends)
	for i := range uint64(1000) {
		ask(raftpb.MsgPreVote, 5+i)
		ask(raftpb.MsgVote, 5+i)
	}
	r.turn(false)
	if wait := len(r.appends) - before; wait > 2 {
		t.Errorf("%d writes with answers wait for the disk", wait)
	}
	r.write = 0
	r.turn(true)
	r.settle()
	r.sent = nil
	ask(raftpb.MsgVote, 2000)
	r.settle()
	if to := r.told(raftpb.MsgVoteResp); len(to) != 1 {
		t.Errorf("answered %v", to)
	}
}

// disks makes each member's log take its time: by id, what a sync waits for.
type disks struct {
	mu   sync.Mutex
	wait map[uint64]func()
}

func (d *disks) set(id uint64, wait func()) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.wait[id] = wait
}

// slowCluster is a group of three whose disks can be slowed down, with a second as the least election timeout.
func slowCluster(t *testing.T) (*cluster, *disks) {
	c := newCluster(t, 3)
	c.tune = func(config *Config) { config.TickInterval = 100 * time.Millisecond }
	d := &disks{wait: make(map[uint64]func())}
	started := uint64(0)
	c.wrap = func(fs vfs.FS) vfs.FS {
		started++
		id := started
		return errorfs.Wrap(fs, errorfs.InjectorFunc(func(op errorfs.Op) error {
			if op.Kind == errorfs.OpFileSyncData && strings.HasPrefix(op.Path, "log") {
				d.mu.Lock()
				wait := d.wait[id]
				d.mu.Unlock()
				if wait != nil {
					wait()
				}
			}
			return nil
		}))
	}
	return c.startAll(), d
}

// The disk of the leader hangs: others lead soon, and go on. Nothing is lost when it comes back.
func TestHungDiskOfTheLeader(t *testing.T) {
	virtual.Test(t, func(t *testing.T) {
		c, d := slowCluster(t)
		defer c.close()
		c.write("before")
		l := c.leader()
		back := make(chan struct{})
		d.set(l.id, func() { <-back })
		began := time.Now()
		c.write("while it hangs")
		if took := time.Since(began); took > 4*time.Second {
			t.Errorf("a write took %v", took)
		}
		for i := range 50 {
			c.write(fmt.Sprint(i))
			time.Sleep(100 * time.Millisecond)
			if c.leader() == l {
				t.Fatal("a member with a hung disk leads")
			}
		}
		if l.group.Status().DiskStalled < 4*time.Second {
			t.Errorf("says that it is stalled for %v", l.group.Status().DiskStalled)
		}
		d.set(l.id, nil)
		close(back)
		c.write("after")
		c.converge()
	})
}

// slowLeader runs f with a leader whose nth sync takes as long as sync says.
func slowLeader(t *testing.T, sync func(n int64) time.Duration, f func(t *testing.T, c *cluster, l *member)) {
	t.Helper()
	virtual.Test(t, func(t *testing.T) {
		c, d := slowCluster(t)
		defer c.close()
		c.write("before")
		l := c.leader()
		var syncs atomic.Int64
		d.set(l.id, func() { time.Sleep(sync(syncs.Add(1))) })
		f(t, c, l)
		d.set(l.id, nil)
		c.converge()
	})
}

// A leader whose disk is far slower than the others hands over, and does not get it back: also where it is not slow
// each time, or not slow at all beside an election timeout.
func TestSlowDiskOfTheLeader(t *testing.T) {
	for name, test := range map[string]struct {
		each   int64 // how many syncs there are to a slow one
		sync   time.Duration
		within time.Duration // 100 writes
	}{
		"every sync":        {1, 300 * time.Millisecond, 8 * time.Second},
		"every second sync": {2, 300 * time.Millisecond, 12 * time.Second},
		"a little":          {1, 90 * time.Millisecond, 3 * time.Second},
	} {
		t.Run(name, func(t *testing.T) {
			slowLeader(t, func(n int64) time.Duration {
				if n%test.each == 0 {
					return test.sync
				}
				return 0
			}, func(t *testing.T, c *cluster, l *member) {
				began := time.Now()
				for i := range 100 {
					c.write(fmt.Sprint(i))
				}
				if took := time.Since(began); took > test.within {
					t.Errorf("100 writes took %v", took)
				}
				if c.leader() == l {
					t.Error("still leads")
				}
			})
		})
	}
}

// A hiccup of the disk now and then is none of that, and a third of all syncs at random is not enough.
func TestADiskThatIsSlowNowAndThen(t *testing.T) {
	random := rand.New(rand.NewPCG(1, 3))
	for name, slow := range map[string]func(n int64) bool{
		"every fifth sync":   func(n int64) bool { return n%5 == 0 },
		"a third, at random": func(int64) bool { return random.IntN(3) == 0 },
	} {
		t.Run(name, func(t *testing.T) {
			slowLeader(t, func(n int64) time.Duration {
				if slow(n) {
					return 200 * time.Millisecond
				}
				return 0
			}, func(t *testing.T, c *cluster, l *member) {
				term := l.group.Status().Term
				for i := range 200 {
					c.write(fmt.Sprint(i))
				}
				if c.leader() != l || l.group.Status().Term != term {
					t.Error("handed over")
				}
			})
		})
	}
}

// slowWrites has the leader of five write n entries, for each of which its disk takes 100 ms. Others have it after a
// millisecond, as far as they are quick, and the rest after it.
func (r *rig) slowWrites(n int, quick, rest []uint64) {
	r.t.Helper()
	answer := func(ids []uint64, index uint64) {
		for _, id := range ids {
			r.hears(id, &raftpb.Message{
				Type: raftpb.MsgAppResp.Enum(), Term: new(r.loop.term), Index: new(index),
			})
		}
	}
	for range n {
		p := r.propose(r.loop.term, "x")
		r.turn(false)
		if p := <-p.reply; p.err != nil {
			r.t.Fatal(p.err)
		}
		index := r.loop.handed
		time.Sleep(time.Millisecond)
		answer(quick, index)
		time.Sleep(100 * time.Millisecond)
		r.settle()
		answer(rest, index)
		r.turn(true)
	}
}

// A leader gives way to who was faster, answered just now, and may lead, and not to who is as slow.
func TestASlowDiskIsNotExchangedForAnother(t *testing.T) {
	for name, test := range map[string]struct {
		quick, slow []uint64      // at the end
		pause       time.Duration // before the last one
		to          string
	}{
		"all are there":         {[]uint64{3, 4, 5}, []uint64{2}, 0, "[3]"},
		"the slow one is quick": {[]uint64{2, 3, 4}, []uint64{5}, 0, "[3]"},
		"one fell silent":       {[]uint64{2, 4, 5}, nil, 0, "[4]"},
		"it was long ago":       {[]uint64{3, 4, 5}, []uint64{2}, 2 * time.Minute, "[]"},
	} {
		t.Run(name, func(t *testing.T) {
			virtual.Test(t, func(t *testing.T) {
				r := newRig(t, 1, 2, 3, 4, 5)
				r.elect(2, 3)
				r.slowWrites(paceRow-6, []uint64{3, 4, 5}, []uint64{2})
				r.slowWrites(5, test.quick, test.slow)
				if to := r.told(raftpb.MsgTimeoutNow); len(to) > 0 {
					t.Fatalf("handed to %v", to)
				}
				time.Sleep(test.pause)
				r.slowWrites(1, test.quick, test.slow)
				if to := r.told(raftpb.MsgTimeoutNow); fmt.Sprint(to) != test.to {
					t.Errorf("handed to %v, want %s", to, test.to)
				}
			})
		})
	}
}

// Who was given leadership keeps it for a while, slow as it may be: else two slow ones give it to each other for ever.
func TestWhoWasGivenLeadershipKeepsIt(t *testing.T) {
	virtual.Test(t, func(t *testing.T) {
		r := newRig(t, 1, 2, 3, 4, 5)
		term := uint64(4)
		r.from(2, &raftpb.Message{Type: raftpb.MsgHeartbeat.Enum(), Term: new(term)})
		r.from(2, &raftpb.Message{Type: raftpb.MsgTimeoutNow.Enum(), Term: new(term)})
		r.elect(2, 3)
		if r.loop.term != term+1 || r.loop.disk.rest < slowRestElections*r.loop.electionTicks/2 {
			t.Fatalf("leads term %d, and keeps it for %d ticks", r.loop.term, r.loop.disk.rest)
		}
		r.slowWrites(r.loop.disk.rest, []uint64{3, 4, 5}, []uint64{2}) // a tick each
		if to := r.told(raftpb.MsgTimeoutNow); len(to) > 0 {
			t.Fatalf("handed to %v", to)
		}
		r.slowWrites(1, []uint64{3, 4, 5}, []uint64{2})
		if to := r.told(raftpb.MsgTimeoutNow); fmt.Sprint(to) != "[3]" {
			t.Errorf("handed to %v", to)
		}
	})
}

// Where all disks are as slow nobody hands over, however the writes come.
func TestAllDisksSlow(t *testing.T) {
	virtual.Test(t, func(t *testing.T) {
		c, d := slowCluster(t)
		defer c.close()
		c.write("before")
		l := c.leader()
		for id := range c.members {
			d.set(id, func() { time.Sleep(300 * time.Millisecond) })
		}
		term := l.group.Status().Term
		for i := range 2000 {
			_, err := l.group.Propose(t.Context(), term, [][]byte{[]byte(fmt.Sprint(i))})
			if err != nil {
				t.Fatalf("proposal %d: %v", i, err)
			}
			time.Sleep(time.Duration(c.random.IntN(40)) * time.Millisecond)
		}
		for i := range 30 {
			c.write(fmt.Sprint("one by one ", i))
		}
		if c.leader() != l || l.group.Status().Term != term {
			t.Error("handed over")
		}
		for id := range c.members {
			d.set(id, nil)
		}
		c.converge()
	})
}
