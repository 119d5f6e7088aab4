package raftgroup

import (
	"fmt"
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

// A leader whose disk is far slower than the others hands over, and does not get it back: also where it is not slow
// each time, or not slow at all beside an election timeout.
func TestSlowDiskOfTheLeader(t *testing.T) {
	for name, c := range map[string]struct {
		each   int // how many syncs there are to a slow one
		sync   time.Duration
		within time.Duration // 100 writes
	}{
		"every sync":        {1, 300 * time.Millisecond, 8 * time.Second},
		"every second sync": {2, 300 * time.Millisecond, 12 * time.Second},
		"a little":          {1, 90 * time.Millisecond, 3 * time.Second},
	} {
		t.Run(name, func(t *testing.T) {
			virtual.Test(t, func(t *testing.T) { slowLeader(t, c.each, c.sync, c.within) })
		})
	}
}

func slowLeader(t *testing.T, each int, sync, within time.Duration) {
	c, d := slowCluster(t)
	defer c.close()
	c.write("before")
	l := c.leader()
	var syncs atomic.Int64
	d.set(l.id, func() {
		if syncs.Add(1)%int64(each) == 0 {
			time.Sleep(sync)
		}
	})
	began := time.Now()
	for i := range 100 {
		c.write(fmt.Sprint(i))
	}
	if took := time.Since(began); took > within {
		t.Errorf("100 writes took %v", took)
	}
	if c.leader() == l {
		t.Error("still leads")
	}
	d.set(l.id, nil)
	c.converge()
}

// A hiccup of the disk now and then is none of that.
func TestADiskThatIsSlowNowAndThen(t *testing.T) {
	virtual.Test(t, func(t *testing.T) {
		c, d := slowCluster(t)
		defer c.close()
		c.write("before")
		l := c.leader()
		var syncs atomic.Int64
		d.set(l.id, func() {
			if syncs.Add(1)%5 == 0 {
				time.Sleep(200 * time.Millisecond)
			}
		})
		term := l.group.Status().Term
		for i := range 200 {
			c.write(fmt.Sprint(i))
		}
		if c.leader() != l || l.group.Status().Term != term {
			t.Error("handed over")
		}
		d.set(l.id, nil)
		c.converge()
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
