package raftgroup

import (
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/cockroachdb/pebble/v2/vfs"
	"go.etcd.io/raft/v3/raftpb"

	"github.com/mimir-kv/mimir/replication/clock/virtual"
	"github.com/mimir-kv/mimir/replication/durable/pebblefs"
	"github.com/mimir-kv/mimir/replication/internal/wal"
)

// Invariant 1: what was acknowledged survives a power cut of all members at once.
func TestPowerCutOfAll(t *testing.T) {
	virtual.Test(t, func(t *testing.T) {
		c := newCluster(t, 3).startAll()
		defer c.close()
		for round := range 10 {
			for i := range 10 {
				c.write(fmt.Sprintf("%d/%d", round, i))
			}
			for id := range c.members {
				c.crash(id)
			}
			c.startAll()
			c.converge()
			have := map[string]bool{}
			for _, r := range c.leader().machine.records() {
				have[r.Data] = true
			}
			for i := range 10 {
				if !have[fmt.Sprintf("%d/%d", round, i)] {
					t.Fatalf("write %d of round %d is lost", i, round)
				}
			}
		}
	})
}

func TestFollowerFarBehindGetsCheckpoint(t *testing.T) {
	virtual.Test(t, func(t *testing.T) {
		c := newCluster(t, 3)
		c.tune = func(config *Config) { config.CompactBytes = 16 << 10 }
		c.startAll()
		defer c.close()
		l := c.leader()
		behind := l.id%3 + 1
		c.crash(behind)
		last := c.members[behind].machine.lastIndex()
		payload := strings.Repeat("x", 4<<10)
		for i := 0; l.log.FirstIndex() <= last+1; i++ {
			if i == 500 {
				t.Fatal("the log is never released")
			}
			c.write(fmt.Sprint(i, payload))
		}
		m := c.start(behind)
		c.converge()
		if m.log.FirstIndex() <= last+1 {
			t.Errorf("member %d was brought up from the log, which begins at %d", behind, m.log.FirstIndex())
		}
		for range 3 { // and what it was given is durable
			c.crash(behind)
			c.start(behind)
			c.write("more")
			c.converge()
		}
		names, err := c.members[behind].disk.List("staging")
		if err != nil || len(names) != 0 {
			t.Errorf("left in the staging directory: %v, %v", names, err)
		}
	})
}

// A checkpoint is written beside the applier: writes go on, and the follower gets the state of when it was begun and
// the log from there.
func TestWritesGoOnWhileACheckpointIsWritten(t *testing.T) {
	virtual.Test(t, func(t *testing.T) {
		c := newCluster(t, 3).startAll()
		defer c.close()
		entered, release := make(chan struct{}, 8), make(chan struct{})
		for _, m := range c.members {
			m.machine.mu.Lock()
			m.machine.dwell = func() {
				entered <- struct{}{}
				<-release
			}
			m.machine.mu.Unlock()
		}
		c.joiner(4) // a member that joins begins with a checkpoint
		if err := c.change("l4"); err != nil {
			t.Fatal(err)
		}
		<-entered
		for i := range 20 {
			c.write(fmt.Sprint("while ", i))
		}
		if got := c.members[4].machine.lastIndex(); got != 0 {
			t.Fatalf("the new member is at entry %d already", got)
		}
		close(release)
		c.converge()
	})
}

func (m *machine) lastIndex() uint64 {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.state.Index
}

// A checkpoint transfer that breaks again and again comes to an end.
func TestCheckpointOverBadLink(t *testing.T) {
	virtual.Test(t, func(t *testing.T) {
		c := newCluster(t, 3)
		c.tune = func(config *Config) { config.CompactBytes = 64 << 20 } // only what is sent is written
		c.startAll()
		defer c.close()
		payload := strings.Repeat("x", 512<<10)
		for i := range 6 {
			c.write(fmt.Sprint(i, payload))
		}
		l := c.leader()
		c.net.SetDetection(20 * time.Millisecond)
		c.net.SetDelay(l.addr, "n4", 5*time.Millisecond, 0)
		c.joiner(4)
		if err := c.change("l4"); err != nil {
			t.Fatal(err)
		}
		for range 10 {
			time.Sleep(15 * time.Millisecond)
			c.net.Cut(l.addr, "n4")
			time.Sleep(30 * time.Millisecond)
			c.net.Heal(l.addr, "n4")
		}
		c.converge()
	})
}

// recoveryTest is a log and a state as a crash may leave them, and what has to be made of them.
type recoveryTest struct {
	name    string
	fresh   bool // nothing was ever written
	join    bool
	hard    *raftpb.HardState
	entries []*raftpb.Entry
	state   machineState

	want                 error
	term, vote, commit   uint64
	applied, first, last uint64
	members              int
}

func recoveryTests() []recoveryTest {
	entry := func(index, term uint64) *raftpb.Entry { return &raftpb.Entry{Index: new(index), Term: new(term)} }
	two := []*raftpb.Entry{entry(2, 2), entry(3, 2)}
	conf := &raftpb.ConfState{Voters: []uint64{1, 2, 3}}
	return []recoveryTest{
		{name: "new", fresh: true, term: 1, commit: 1, applied: 1, first: 2, last: 1, members: 3},
		{name: "joins", fresh: true, join: true, first: 1},
		{name: "log lost", fresh: true, state: machineState{Index: 5, Term: 2, Conf: conf}, want: ErrLogLost},
		{
			name: "replays all", hard: votedFor2(2, 3), entries: two,
			term: 2, vote: 2, commit: 3, applied: 1, first: 2, last: 3, members: 3,
		},
		{
			name: "state ahead of the known commit", hard: votedFor2(2, 1), entries: two,
			state: machineState{Index: 3, Term: 2, Conf: conf},
			term:  2, vote: 2, commit: 3, applied: 3, first: 2, last: 3, members: 3,
		},
		{
			name: "commit ahead of a torn log", hard: votedFor2(2, 9), entries: two,
			term: 2, vote: 2, commit: 3, applied: 1, first: 2, last: 3, members: 3,
		},
		{
			name: "state ahead of the log", hard: votedFor2(2, 3), entries: two,
			state: machineState{Index: 9, Term: 2, Conf: conf},
			term:  2, vote: 2, commit: 9, applied: 9, first: 10, last: 9, members: 3,
		},
		{
			name: "state from a term the log never saw", hard: votedFor2(2, 3), entries: two,
			state: machineState{Index: 9, Term: 7, Conf: conf},
			term:  7, commit: 9, applied: 9, first: 10, last: 9, members: 3,
		},
		{
			name: "state contradicts an uncommitted tail", hard: votedFor2(7, 2),
			entries: append(two[:2:2], entry(4, 2)), state: machineState{Index: 3, Term: 5, Conf: conf},
			term: 7, vote: 2, commit: 3, applied: 3, first: 4, last: 3, members: 3,
		},
	}
}

func votedFor2(term, commit uint64) *raftpb.HardState {
	return &raftpb.HardState{Term: new(term), Vote: new(uint64(2)), Commit: new(commit)}
}

// A crash may leave a state ahead of its log, between the installation of a checkpoint and the reset of the log, or a
// hard state ahead of both.
func TestRecovery(t *testing.T) {
	for _, tt := range recoveryTests() {
		t.Run(tt.name, tt.run)
	}
}

func (tt *recoveryTest) run(t *testing.T) {
	log, err := wal.Open(wal.Options{FS: pebblefs.New(vfs.NewMem()), Dir: "log", SegmentBytes: 64 << 10, Logger: quiet})
	if err != nil {
		t.Fatal(err)
	}
	defer log.Close()
	if !tt.fresh {
		if err := log.Reset(genesisIndex, genesisTerm, votedFor2(1, 1)); err != nil {
			t.Fatal(err)
		}
		if err := log.Append([]wal.Write{{HardState: tt.hard, Entries: tt.entries}}, true); err != nil {
			t.Fatal(err)
		}
	}
	peers := []Peer{{ID: 1}, {ID: 2}, {ID: 3}}
	c := Config{ID: 1, Peers: peers, Join: tt.join, Log: log, Machine: &machine{state: tt.state}}
	got, err := recoverState(&c)
	if !errors.Is(err, tt.want) {
		t.Fatalf("error %v, want %v", err, tt.want)
	}
	if tt.want != nil {
		return
	}
	if err := got.valid(log.FirstIndex(), log.LastIndex()); err != nil {
		t.Error(err)
	}
	h := got.hard
	if h.GetTerm() != tt.term || h.GetVote() != tt.vote || h.GetCommit() != tt.commit || got.applied != tt.applied {
		t.Errorf("starts from %v, applied %d", h, got.applied)
	}
	if len(got.conf.GetVoters()) != tt.members || log.LastIndex() != tt.last || log.FirstIndex() != tt.first {
		t.Errorf("members %v, log from %d to %d", got.conf, log.FirstIndex(), log.LastIndex())
	}
}

// A state that lacks what the log released must never be taken for a whole one.
func TestStateLost(t *testing.T) {
	for _, state := range []machineState{{}, {Index: 4, Term: 2, Conf: &raftpb.ConfState{Voters: []uint64{1}}}} {
		fs := pebblefs.New(vfs.NewMem())
		log, err := wal.Open(wal.Options{FS: fs, Dir: "log", SegmentBytes: 64 << 10, Logger: quiet})
		if err != nil {
			t.Fatal(err)
		}
		if err := log.Reset(8, 2, &raftpb.HardState{Term: new(uint64(2)), Commit: new(uint64(8))}); err != nil {
			t.Fatal(err)
		}
		_, err = recoverState(&Config{ID: 1, Peers: []Peer{{ID: 1}}, Log: log, Machine: &machine{state: state}})
		if !errors.Is(err, ErrStateLost) {
			t.Errorf("state at %d, log after 8: %v", state.Index, err)
		}
		log.Close()
	}
}
