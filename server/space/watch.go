package space

import (
	"context"
	"fmt"
	"log/slog"
	"sync"
	"time"

	"github.com/mimir-kv/mimir/replication/clock"
)

// Config is what a Watch needs. The functions are called by one goroutine.
type Config struct {
	// QuotaBytes bounds what the store takes, 0 for no bound; ReserveBytes is what must stay free on the disk.
	QuotaBytes   func() int64
	ReserveBytes int64
	// Used returns what the store takes, Free what the disk has left, and Lacks what could not be done because there
	// was too little, nil if nothing.
	Used  func() int64
	Free  func() (uint64, error)
	Lacks func() error
	// Files returns how many files the filesystem can hold, zero for any number, and how many more can be made.
	Files func() (total, free uint64, err error)
	// Reclaim gives back what was deleted. It may take long, and is called, by another goroutine, from time to time
	// while there is too little room.
	Reclaim func(context.Context) error
	// Raised reports whether the alarm of this node is raised, and Raise raises it for the fleet.
	Raised  func() bool
	Raise   func(context.Context) error
	Ballast *Ballast
	Clock   clock.Clock
	Logger  *slog.Logger
}

const (
	// lookInterval is how often the watch looks: often enough that a fast disk does not take the reserve in between.
	lookInterval = 100 * time.Millisecond
	// leastFiles is how many files it must be possible to make, or a part of those of a small filesystem.
	leastFiles, leastFilesShare = 512, 16
	// tellInterval is how often an alarm that is raised, and holds, is told anew.
	tellInterval = time.Minute
	// reliefInterval is how long something lacks room before some of the ballast is given up for it, and again.
	reliefInterval = 5 * time.Second
	// unseenInterval is how long an alarm that was raised may take until it is applied here: a node whose log lacks
	// room applies nothing, and would raise it over and over.
	unseenInterval = 5 * time.Second
	// reclaimInterval is how long after the last time room is given back again.
	reclaimInterval = 10 * time.Second
	// raiseTimeout bounds one try to raise the alarm, from when was looked: what was seen longer ago may be over, and
	// the alarm disarmed.
	raiseTimeout = 5 * time.Second
	// pardonInterval is how long the alarm about the quota stays away once it was disarmed: what was deleted before
	// may be given back by then, and a disk does not end with the quota.
	pardonInterval = 5 * time.Second
	// pardonShare is the part of the quota, and leastPardon what it is at least, by which a store that has outgrown it
	// may grow in all pardons together, until it is within its quota again: who disarms over and over gets no more.
	pardonShare, leastPardon = 16, 8 << 20
)

// Watch watches over the room of one node.
type Watch struct {
	Config
	told       time.Time         // when the alarm was last raised by this watch
	seen       bool              // it was applied here since
	raised     bool              // it was, at the last look
	disarmed   time.Time         // when a look found it disarmed; zero if none did
	most       int64             // what the store may take while that is pardoned; zero: it was within its quota since
	lacking    time.Time         // since when something lacks room, or is given no ballast for it; zero if nothing does
	late       bool              // what the last look saw was too long ago
	complaints map[string]string // what the log was last told of each matter
	short      chan struct{}     // has something in it when there was too little room
}

// New returns a watch that does nothing before Run.
func New(c Config) *Watch {
	return &Watch{Config: c, complaints: map[string]string{}, short: make(chan struct{}, 1)}
}

// Run watches until ctx ends.
func (w *Watch) Run(ctx context.Context) {
	var reclaiming sync.WaitGroup
	defer reclaiming.Wait()
	reclaiming.Go(func() { w.reclaim(ctx) })
	ticker := w.Clock.NewTicker(lookInterval)
	defer ticker.Stop()
	for {
		w.look(ctx)
		select {
		case <-ctx.Done():
			return
		case <-ticker.C():
		}
	}
}

// reclaim has room given back until ctx ends.
func (w *Watch) reclaim(ctx context.Context) {
	failed := ""
	for {
		select {
		case <-ctx.Done():
			return
		case <-w.short:
		}
		switch err := w.Reclaim(ctx); {
		case err == nil:
			failed = ""
		case ctx.Err() == nil && err.Error() != failed:
			failed = err.Error()
			w.Logger.Warn("what was deleted still takes room", "err", err)
		}
		timer := w.Clock.NewTimer(reclaimInterval)
		select {
		case <-ctx.Done():
		case <-timer.C():
		}
		timer.Stop()
	}
}

func (w *Watch) look(ctx context.Context) {
	w.settle()
	was := w.raised
	if w.raised = w.Raised(); was && !w.raised {
		w.disarmed = w.Clock.Now()
	}
	if trouble, began := w.trouble(); trouble != "" {
		w.raise(ctx, began, trouble)
		return
	}
	w.late = false
	w.complain(notRaised, nil)
}

// settle has the ballast be as it should, which may take long where it is made.
func (w *Watch) settle() {
	free, err := w.Free()
	w.complain("free space cannot be watched", err)
	if relief := w.relief(w.Lacks()); err == nil {
		w.complain("the ballast cannot be kept",
			w.Ballast.Settle(int64(free), w.ReserveBytes, w.Raised(), relief, w.Logger))
	}
}

// trouble says what there is too little of, "" if of nothing, and when it began to look at that.
func (w *Watch) trouble() (text string, began time.Time) {
	began = w.Clock.Now()
	if used, quota := w.Used(), w.QuotaBytes(); quota <= 0 || used <= quota {
		w.most = 0
	} else if !w.pardoned(began, used, quota) {
		return fmt.Sprintf("the store has outgrown quota-backend-bytes, which is %d", quota), began
	}
	began = w.Clock.Now()
	if free, err := w.Free(); err == nil && int64(free) < w.ReserveBytes {
		return fmt.Sprintf("the disk has less free than the reserve, which is %d", w.ReserveBytes), began
	}
	began = w.Clock.Now()
	if w.lacksFiles() {
		return "the disk has room, and can hold hardly any further file (df -i)", began
	}
	began = w.Clock.Now()
	if err := w.Lacks(); err != nil {
		return err.Error(), began
	}
	return "", began
}

// pardoned reports whether the alarm about the quota stays away from a store that has outgrown it.
func (w *Watch) pardoned(now time.Time, used, quota int64) bool {
	if w.disarmed.IsZero() || now.Sub(w.disarmed) >= pardonInterval {
		return false
	}
	if w.most == 0 {
		w.most = used + max(quota/pardonShare, leastPardon)
	}
	return used <= w.most
}

// lacksFiles reports whether hardly any file can be made: one that is needed finds no room then, however much is free.
// Where nobody can tell, it is told when that has happened.
func (w *Watch) lacksFiles() bool {
	total, free, err := w.Files()
	return err == nil && total > 0 && free < min(leastFiles, total/leastFilesShare)
}

// relief reports whether ballast is to be given up for what lacks room: not all of it at once, since whoever filled the
// disk may be about to fill it again, and none for what finds room by itself.
func (w *Watch) relief(lacks error) bool {
	now := w.Clock.Now()
	switch {
	case lacks == nil:
		w.lacking = time.Time{}
	case w.lacking.IsZero():
		w.lacking = now
	case now.Sub(w.lacking) >= reliefInterval:
		w.lacking = now
		return true
	}
	return false
}

const notRaised = "NOSPACE cannot be raised, and has to be"

// raise raises the alarm for what was seen since began, or tells it anew when it is time.
func (w *Watch) raise(ctx context.Context, began time.Time, trouble string) {
	select {
	case w.short <- struct{}{}:
	default:
	}
	now := w.Clock.Now()
	left := raiseTimeout - now.Sub(began)
	raised, last := w.Raised(), now.Sub(w.told)
	fresh := !raised && (w.seen || w.told.IsZero())
	w.seen = w.seen || raised
	if raised && last < tellInterval || !w.seen && last < unseenInterval {
		return
	}
	if left <= 0 {
		if w.late && !raised { // once is what a process sees that stood still
			w.complain(notRaised, fmt.Errorf("%s: to see that takes more than %v each time", trouble, raiseTimeout))
		}
		w.late = true
		return
	}
	w.late = false
	ctx, cancel := context.WithTimeout(ctx, left)
	defer cancel()
	if err := w.Raise(ctx); err != nil {
		w.complain(notRaised, fmt.Errorf("%s: %w", trouble, err))
		return
	}
	w.complain(notRaised, nil)
	w.told, w.seen = now, raised
	if fresh {
		w.Logger.Error("NOSPACE is raised: " + trouble + "; the fleet takes no writes but deletes until there is " +
			"room and the alarm is disarmed")
	}
}

// complain tells the log of a matter once, until it is over or its cause is another.
func (w *Watch) complain(matter string, err error) {
	if err == nil {
		delete(w.complaints, matter)
		return
	}
	if text := err.Error(); w.complaints[matter] != text {
		w.complaints[matter] = text
		w.Logger.Warn(matter, "err", err)
	}
}
