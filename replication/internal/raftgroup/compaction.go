package raftgroup

import (
	"fmt"
	"log/slog"
	"sync/atomic"

	"github.com/mimir-kv/mimir/replication/durable"
	"github.com/mimir-kv/mimir/replication/internal/wal"
)

// maxMarks is how many portions of Config.CompactBytes a leader keeps for a live member that is behind.
const maxMarks = 4

// compaction decides how much log is released. Every portion of log it marks the end; what is durable in the machine
// and lies before the mark before the last goes. A leader keeps what live members lack, but nothing before the oldest
// mark.
//
//  1. There are one to maxMarks+1 marks. One may lie beyond the end of a log that was cut since: what the machine has
//     bounds it.
//  2. bytes were written since the last mark: less than a portion.
//  3. One sync of the machine runs at a time; portions that end meanwhile are released with a later one, and so are
//     those for which the machine finds no room on the disk.
//
// It is the writer's, but for the release under way, which is a goroutine of its own.
type compaction struct {
	portion int64 // Config.CompactBytes
	log     *wal.Log
	machine durability
	raft    followers
	life    spawner
	logger  *slog.Logger

	bytes   int64
	marks   []uint64     // indexes, oldest first
	syncing *atomic.Bool // a release is under way
	full    *atomic.Bool // the last one found no room
}

// durability is what may be released of the log without loss.
type durability interface {
	Sync() (index uint64, err error)
}

// followers is what a leader knows of the other members' logs.
type followers interface {
	slowestMatch() (index uint64, ok bool)
}

// spawner is the end of the group, and what runs until then.
type spawner interface {
	Spawn(f func()) bool
	fail(err error)
}

// releaser takes an index up to which the log is not needed any more.
type releaser interface{ release(index uint64) }

func newCompaction(c *Config, raft followers, life spawner) compaction {
	return compaction{
		portion: c.CompactBytes, log: c.Log, machine: c.Machine, raft: raft, life: life, logger: c.Logger,
		marks: []uint64{c.Log.LastIndex()}, syncing: new(atomic.Bool), full: new(atomic.Bool),
	}
}

// valid returns what contradicts the properties above.
func (c *compaction) valid() error {
	if len(c.marks) < 1 || len(c.marks) > maxMarks+1 || c.bytes < 0 || c.bytes >= c.portion {
		return fmt.Errorf("compaction: %d marks, and %d bytes of %d since", len(c.marks), c.bytes, c.portion)
	}
	return nil
}

// restart begins anew with a log that ends at last.
func (c *compaction) restart(last uint64) { c.bytes, c.marks = 0, []uint64{last} }

// wrote counts what was written, and when a portion is full has to be told what may go.
func (c *compaction) wrote(bytes int64, to releaser) {
	c.bytes += bytes
	if c.bytes < c.portion {
		return
	}
	c.bytes = 0
	c.marks = append(c.marks, c.log.LastIndex())
	if len(c.marks) > maxMarks+1 {
		c.marks = c.marks[1:]
	}
	oldest, latest := c.marks[0], c.marks[len(c.marks)-2]
	if c.syncing.CompareAndSwap(false, true) {
		c.life.Spawn(func() { c.release(oldest, latest, to) })
	}
}

// release has the machine made durable, and then the log released up to latest, but for what live members lack after
// oldest.
func (c *compaction) release(oldest, latest uint64, to releaser) {
	defer c.syncing.Store(false)
	slowest, ok := c.raft.slowestMatch()
	if !ok {
		return
	}
	synced, err := c.machine.Sync()
	if full := durable.Full(err); full && !c.full.Swap(true) {
		c.logger.Warn("no log is released: the state finds no room on the disk", "err", err)
	} else if !full && err != nil {
		c.life.fail(fmt.Errorf("%w: sync: %w", ErrMachine, err))
	}
	if err != nil {
		return
	}
	c.full.Store(false)
	if limit := min(latest, max(oldest, slowest), synced); limit > 0 {
		to.release(limit)
	}
}
