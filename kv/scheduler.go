package kv

import (
	"sync/atomic"

	"github.com/cockroachdb/pebble/v2"
)

// scheduler lets Pebble compact until a file turns out to be damaged: a compaction that meets the damage fails, and
// Pebble would begin it again at once, for ever. It is safe for concurrent use.
type scheduler struct {
	pebble.CompactionScheduler
	ended atomic.Bool
}

// newScheduler returns one without a goroutine of its own, which an opening of Pebble that fails late would leave
// behind. Whatever waits is looked at again after each flush and each compaction.
func newScheduler() *scheduler {
	return &scheduler{CompactionScheduler: pebble.NewConcurrencyLimitSchedulerWithNoPeriodicGrantingForTest()}
}

// end lets no further compaction begin.
func (s *scheduler) end() { s.ended.Store(true) }

// Register implements pebble.CompactionScheduler.
func (s *scheduler) Register(goroutines int, db pebble.DBForCompaction) {
	s.CompactionScheduler.Register(goroutines, schedulable{db, s})
}

// TrySchedule implements pebble.CompactionScheduler.
func (s *scheduler) TrySchedule() (bool, pebble.CompactionGrantHandle) {
	if s.ended.Load() {
		return false, nil
	}
	return s.CompactionScheduler.TrySchedule()
}

// schedulable is a database that has nothing to compact once its scheduler has ended.
type schedulable struct {
	pebble.DBForCompaction
	scheduler *scheduler
}

// GetWaitingCompaction implements pebble.DBForCompaction.
func (d schedulable) GetWaitingCompaction() (bool, pebble.WaitingCompaction) {
	if d.scheduler.ended.Load() {
		return false, pebble.WaitingCompaction{}
	}
	return d.DBForCompaction.GetWaitingCompaction()
}
