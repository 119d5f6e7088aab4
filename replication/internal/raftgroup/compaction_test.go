package raftgroup

import (
	"errors"
	"fmt"
	"sync/atomic"
	"syscall"
	"testing"

	"github.com/cockroachdb/pebble/v2/vfs"
	"go.etcd.io/raft/v3/raftpb"

	"github.com/mimir-kv/mimir/replication/durable/pebblefs"
	"github.com/mimir-kv/mimir/replication/internal/wal"
)

// neighbour is everything that compaction asks, and runs at once what it is asked to spawn.
type neighbour struct {
	durable, slowest uint64
	err              error
	ended            bool

	syncs    int
	released []uint64
	failure  error
}

func (n *neighbour) Sync() (uint64, error)        { n.syncs++; return n.durable, n.err }
func (n *neighbour) slowestMatch() (uint64, bool) { return n.slowest, !n.ended }
func (n *neighbour) Spawn(f func()) bool          { f(); return true }
func (n *neighbour) fail(err error)               { n.failure = err }
func (n *neighbour) release(index uint64)         { n.released = append(n.released, index) }

func compactionOf(log *wal.Log, n *neighbour, portion int64) compaction {
	return compaction{
		portion: portion, log: log, machine: n, raft: n, life: n, logger: quiet,
		marks: []uint64{log.LastIndex()}, syncing: new(atomic.Bool), full: new(atomic.Bool),
	}
}

// testLog opens a log that ends at genesis.
func testLog(t *testing.T, fs vfs.FS) *wal.Log {
	t.Helper()
	log, err := wal.Open(wal.Options{FS: pebblefs.New(fs), Dir: "log", SegmentBytes: 64 << 10, Logger: quiet})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { log.Close() })
	if log.LastIndex() == 0 {
		if err := log.Reset(genesisIndex, genesisTerm, raised(nil, genesisTerm, genesisIndex)); err != nil {
			t.Fatal(err)
		}
	}
	return log
}

// What goes is what the machine has, is older than the last portion, and no live member lacks, unless it is four
// portions old.
func TestWhatIsReleased(t *testing.T) {
	for _, test := range []struct {
		name             string
		durable, slowest uint64
		want             uint64 // of a log of 10 portions of an entry each, from 2 to 11
	}{
		{"everybody has all", 11, 11, 10},
		{"a member is a little behind", 11, 8, 8},
		{"a member is far behind", 11, 3, 7},
		{"the machine is behind", 5, 11, 5},
	} {
		t.Run(test.name, func(t *testing.T) {
			n := &neighbour{}
			log := testLog(t, vfs.NewMem())
			c := compactionOf(log, n, 100)
			for index := uint64(2); index <= 11; index++ {
				entry := &raftpb.Entry{Index: new(index), Term: new(uint64(genesisTerm))}
				if err := log.Append([]wal.Write{{Entries: []*raftpb.Entry{entry}}}, false); err != nil {
					t.Fatal(err)
				}
				c.wrote(99, n)
				n.released, n.durable, n.slowest = nil, test.durable, test.slowest
				c.wrote(1, n)
				if err := c.valid(); err != nil {
					t.Error(err)
				}
			}
			if len(n.released) != 1 || n.released[0] != test.want {
				t.Errorf("released %v, want %d", n.released, test.want)
			}
			if n.syncs != 10 {
				t.Errorf("%d syncs for 10 portions", n.syncs)
			}
		})
	}
}

// A machine that finds no room for what it has is asked again with the next portion, and the node goes on.
func TestAFullDiskReleasesNothing(t *testing.T) {
	n := &neighbour{durable: 9, slowest: 9, err: fmt.Errorf("storage: sync: %w", syscall.ENOSPC)}
	log := testLog(t, vfs.NewMem())
	c := compactionOf(log, n, 1)
	c.restart(9)
	c.wrote(1, n)
	c.wrote(1, n)
	if n.failure != nil || len(n.released) != 0 || n.syncs != 2 {
		t.Fatalf("failed with %v, released %v in %d syncs", n.failure, n.released, n.syncs)
	}
	n.err = nil
	c.wrote(1, n)
	if len(n.released) != 1 {
		t.Errorf("released %v when there was room", n.released)
	}
}

func TestNothingIsReleased(t *testing.T) {
	n := &neighbour{durable: 9, slowest: 9}
	log := testLog(t, vfs.NewMem())
	c := compactionOf(log, n, 1)
	c.restart(9)
	c.syncing.Store(true)
	c.wrote(1, n) // one is under way
	c.syncing.Store(false)
	n.err = errors.New("disk on fire")
	c.wrote(1, n)
	if !errors.Is(n.failure, n.err) || !errors.Is(n.failure, ErrMachine) {
		t.Errorf("failed with %v", n.failure)
	}
	n.err, n.ended = nil, true
	c.wrote(1, n)
	n.ended, n.durable = false, 0
	c.wrote(1, n) // a machine that never was durable
	if len(n.released) != 0 || c.syncing.Load() {
		t.Errorf("released %v, still at it: %t", n.released, c.syncing.Load())
	}
	c.restart(40)
	if err := c.valid(); err != nil || c.marks[0] != 40 {
		t.Errorf("begins again at %v, %v", c.marks, err)
	}
}
