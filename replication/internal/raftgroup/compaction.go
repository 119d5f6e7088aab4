package raftgroup

import (
	"fmt"
	"math"

	"go.etcd.io/raft/v3"
	"go.etcd.io/raft/v3/tracker"
)

// maxMarks is how many portions of CompactBytes a leader keeps for a live member that is behind.
const maxMarks = 4

// compaction decides how much log is released. Every CompactBytes it marks the end of the log; what is durable in the machine and lies
// before the mark before the last goes. It belongs to the writer.
type compaction struct {
	bytes int64
	marks []uint64 // indexes, oldest first
}

func newCompaction(last uint64) compaction { return compaction{marks: []uint64{last}} }

func (c *compaction) wrote(g *Group, bytes int64) {
	c.bytes += bytes
	if c.bytes < g.config.CompactBytes {
		return
	}
	c.bytes = 0
	c.marks = append(c.marks, g.config.Log.LastIndex())
	if len(c.marks) > maxMarks+1 {
		c.marks = c.marks[1:]
	}
	oldest, latest := c.marks[0], c.marks[len(c.marks)-2]
	g.mail.call(func() { g.loop.release(oldest, latest) })
}

// release has the machine made durable, and then the log released up to latest; a leader keeps what live members lack, but nothing
// before oldest.
func (l *loop) release(oldest, latest uint64) {
	if l.syncing {
		return
	}
	l.syncing = true
	limit := min(latest, max(oldest, l.slowestMatch()))
	l.g.spawn(func() {
		durable, err := l.g.config.Machine.Sync()
		if err != nil {
			l.g.fatal(fmt.Errorf("%w: sync: %w", ErrMachine, err))
			return
		}
		if limit = min(limit, durable); limit > 0 {
			l.g.writer.queue.push(writerTask{release: limit})
		}
		l.g.mail.call(func() { l.syncing = false })
	})
}

// slowestMatch returns the lowest index that all live members have; a follower knows nothing of that.
func (l *loop) slowestMatch() uint64 {
	lowest := uint64(math.MaxUint64)
	if l.leading {
		l.node.WithProgress(func(id uint64, _ raft.ProgressType, pr tracker.Progress) {
			if id != l.g.config.ID && pr.RecentActive {
				lowest = min(lowest, pr.Match)
			}
		})
	}
	return lowest
}
