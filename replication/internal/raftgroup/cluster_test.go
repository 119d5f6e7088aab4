package raftgroup

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"math/rand/v2"
	"os"
	"testing"
	"time"

	"github.com/cockroachdb/pebble/v2/vfs"
	"go.etcd.io/raft/v3/raftpb"

	"github.com/mimir-kv/mimir/replication/clock"
	"github.com/mimir-kv/mimir/replication/durable/pebblefs"
	"github.com/mimir-kv/mimir/replication/internal/wal"
	"github.com/mimir-kv/mimir/replication/transport"
	"github.com/mimir-kv/mimir/replication/transport/memory"
)

// cluster is a group of members on one simulated network, each with a disk of its own. Used inside a synctest bubble.
type cluster struct {
	t       testing.TB
	net     *memory.Network
	random  *rand.Rand
	history *history
	peers   []Peer
	members map[uint64]*member
	tune    func(*Config)       // before each start
	wrap    func(vfs.FS) vfs.FS // the filesystem that a member sees
}

// member is one node; what is in the first block survives its crashes.
type member struct {
	leaves bool // it was removed, and may notice at any time
	id     uint64
	addr   string
	disk   *vfs.MemFS
	join   bool

	running   bool
	transport transport.Transport
	log       *wal.Log
	machine   *machine
	group     *Group
	leads     chan uint64
	fatal     chan error
}

func newCluster(t testing.TB, voters int) *cluster {
	c := &cluster{
		t: t, net: memory.NewNetwork(clock.Real, 1), random: rand.New(rand.NewPCG(1, 2)),
		history: newHistory(), members: map[uint64]*member{},
		tune: func(*Config) {}, wrap: func(fs vfs.FS) vfs.FS { return fs },
	}
	c.net.SetPoison(true)
	for id := range uint64(voters) {
		c.peers = append(c.peers, Peer{ID: id + 1, Name: fmt.Sprint("n", id+1), Addr: fmt.Sprint("n", id+1)})
		c.add(id + 1)
	}
	return c
}

// add makes a member that is not yet started.
func (c *cluster) add(id uint64) *member {
	m := &member{id: id, addr: fmt.Sprint("n", id), disk: vfs.NewCrashableMem()}
	c.members[id] = m
	return m
}

func (c *cluster) startAll() *cluster {
	for id := range uint64(len(c.members)) {
		c.start(id + 1)
	}
	return c
}

func (c *cluster) start(id uint64) *member {
	c.t.Helper()
	m := c.members[id]
	if err := c.tryStart(m); err != nil {
		c.t.Fatalf("member %d: %v", id, err)
	}
	return m
}

func (c *cluster) tryStart(m *member) (err error) {
	fs := pebblefs.New(c.wrap(m.disk))
	m.log, err = wal.Open(wal.Options{FS: fs, Dir: "log", SegmentBytes: 4 << 10, CacheBytes: 64 << 10, Logger: quiet})
	if err != nil {
		return err
	}
	var first *raftpb.ConfState
	if !m.join {
		first = firstMembers(c.peers)
	}
	if m.machine, err = openMachine(fs, "state", first, c.history); err != nil {
		return err
	}
	m.leads, m.fatal = make(chan uint64, 1000), make(chan error, 1)
	m.transport = c.net.Node(m.addr)
	leads, fatal := m.leads, m.fatal
	config := Config{
		ID: m.id, Name: m.addr, GroupID: "test", Peers: c.peers, Join: m.join,
		Log: m.log, Machine: m.machine, FS: fs, StagingDir: "staging",
		Transport: m.transport, Directory: numbered("n"),
		Clock: clock.Real, TickInterval: 10 * time.Millisecond, ElectionTicks: 10, CompactBytes: 1 << 20, Logger: quiet,
		OnLeader: func(term uint64) { leads <- term }, OnFatal: func(err error) { fatal <- err },
	}
	c.tune(&config)
	if m.group, err = New(config); err != nil {
		m.transport.Close()
		return err
	}
	if err := m.transport.Serve(m.group.Services()); err != nil {
		return err
	}
	m.group.Start()
	m.running = true
	return nil
}

// crash takes a member down as a power cut does: what was not synced is lost, up to a random part.
func (c *cluster) crash(id uint64) {
	m := c.members[id]
	clone := m.disk.CrashClone(vfs.CrashCloneCfg{UnsyncedDataPercent: c.random.IntN(2) * 50, RNG: c.random})
	c.net.Crash(m.addr)
	c.end(m)
	m.disk = clone
}

// stop takes a member down in good order.
func (c *cluster) stop(id uint64) {
	m := c.members[id]
	c.end(m)
}

func (c *cluster) end(m *member) {
	if !m.running {
		return
	}
	m.running = false
	m.group.Stop()
	if err := errors.Join(m.group.loop.valid(), m.group.writer.compaction.valid(), m.group.mail.valid()); err != nil {
		c.t.Errorf("member %d: %v", m.id, err)
	}
	m.transport.Close()
	if err := m.log.Close(); err != nil && !errors.Is(err, wal.ErrFailed) {
		c.t.Errorf("member %d: closing the log: %v", m.id, err)
	}
}

// valid checks what must hold between two turns of the loop, on each running member.
func (c *cluster) valid() {
	c.t.Helper()
	for _, m := range c.members {
		if !m.running {
			continue
		}
		var err error
		m.group.mail.do(func(l *loop) {
			if len(l.offered) == 0 { // a turn that took a snapshot is not over
				err = l.valid()
			}
		})
		if err != nil {
			c.t.Errorf("member %d: %v", m.id, err)
		}
	}
}

// close ends everything and reports what went wrong unseen.
func (c *cluster) close() {
	c.t.Helper()
	for _, m := range c.members {
		c.end(m)
		select {
		case err := <-m.fatal:
			if !m.leaves || !errors.Is(err, ErrRemoved) {
				c.t.Errorf("member %d stopped itself: %v", m.id, err)
			}
		default:
		}
	}
	if c.history.broken != nil {
		c.t.Error(c.history.broken)
	}
}

// await waits, in virtual time, until ok.
func (c *cluster) await(what string, ok func() bool) {
	c.t.Helper()
	deadline := time.Now().Add(time.Minute)
	for !ok() {
		if time.Now().After(deadline) {
			for id, m := range c.members {
				if m.running {
					c.t.Logf("member %d: %+v", id, m.group.Status())
				}
			}
			c.t.Fatalf("timed out waiting for %s", what)
		}
		time.Sleep(time.Millisecond)
	}
}

// leader waits for a member that leads, and has applied its own first entry, in the newest term of all running members.
func (c *cluster) leader() *member {
	c.t.Helper()
	var found *member
	c.await("a leader", func() bool {
		found = nil
		var newest uint64
		for _, m := range c.members {
			if m.running {
				newest = max(newest, m.group.Status().Term)
			}
		}
		for _, m := range c.members {
			if m.running {
				s := m.group.Status()
				if s.IsLeader && s.Term == newest && m.machine.lastTerm() == s.Term {
					found = m
				}
			}
		}
		return found != nil
	})
	return found
}

func (m *machine) lastTerm() uint64 {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.state.Term
}

// write proposes data at the leader, retrying, and waits until the leader has applied it.
func (c *cluster) write(data string) {
	c.t.Helper()
	c.await("write "+data, func() bool {
		l := c.leader()
		index, err := l.group.Propose(context.Background(), l.group.Status().Term, [][]byte{[]byte(data)})
		if err != nil {
			return false
		}
		for l.group.Applied() < index && l.group.Status().IsLeader {
			time.Sleep(time.Millisecond)
		}
		return len(c.history.where(data)) > 0
	})
	c.valid()
}

// converge waits until all running members have applied the same entries, as many as the leader has.
func (c *cluster) converge() {
	c.t.Helper()
	c.await("all members to have the same entries", func() bool {
		l := c.leader()
		want := l.group.Applied()
		for _, m := range c.members {
			if m.running && m.group.Applied() != want {
				return false
			}
		}
		return true
	})
	var longest []record
	held := map[uint64][]record{} // read once: a leader may go on
	for id, m := range c.members {
		held[id] = m.machine.records()
		if len(held[id]) > len(longest) {
			longest = held[id]
		}
	}
	c.valid()
	for id, records := range held {
		for i, r := range records {
			if r != longest[i] {
				c.t.Errorf("member %d has %v where another has %v", id, r, longest[i])
				break
			}
		}
	}
}

func (c *cluster) change(changes string) error { return c.changeAt(c.leader(), changes) }

func (c *cluster) changeAt(m *member, changes string) error {
	cc, err := raftpb.ConfChangesFromString(changes)
	if err != nil {
		c.t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
	defer cancel()
	s := m.group.Status()
	return m.group.ChangeMembers(ctx, s.Basis(), &raftpb.ConfChangeV2{Changes: cc, Context: []byte(changes)})
}

var quiet = testLogger()

func testLogger() *slog.Logger {
	if os.Getenv("RAFTGROUP_LOG") != "" {
		return slog.New(slog.NewTextHandler(os.Stderr, &slog.HandlerOptions{Level: slog.LevelDebug}))
	}
	return slog.New(slog.NewTextHandler(io.Discard, &slog.HandlerOptions{Level: slog.LevelError}))
}

// numbered is a directory of members that are called by their number, behind a prefix, and reached by that name.
type numbered string

func (n numbered) Addr(id uint64) (string, bool) { return n.Name(id), true }
func (n numbered) Name(id uint64) string         { return fmt.Sprint(string(n), id) }

func (numbered) Failed(uint64, string) {}
func (numbered) Removed(uint64) bool   { return false }
