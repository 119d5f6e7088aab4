package kv

import (
	"fmt"
	"log/slog"
	"sync"
	"syscall"
	"time"

	"github.com/cockroachdb/pebble/v2"
	"github.com/cockroachdb/pebble/v2/vfs"

	"github.com/mimir-kv/mimir/replication/clock"
	"github.com/mimir-kv/mimir/replication/durable"
)

// purpose is what a file is written for.
type purpose int

const (
	others     purpose = iota // whoever writes it is told that there is no room
	compacting                // is given up, with what it has written, and tried again
	flushing                  // is tried again until there is room; in memory it is meanwhile
	noting                    // waits until there is room: Pebble has no way back from a failure
)

// purposes of what is written in the background are those by which it can lack room.
var purposes = map[vfs.DiskWriteCategory]purpose{
	"pebble-compaction": compacting, "pebble-memtable-flush": flushing, "pebble-manifest": noting,
}

func (p purpose) String() string {
	return map[purpose]string{compacting: "compaction", flushing: "flush", noting: "MANIFEST"}[p]
}

const (
	// flushShare is how much of what compactions leave free flushes leave.
	flushShare = 8
	// lookBytes is how much is written between two looks at what is free.
	lookBytes = 64 << 10
	// Pauses before what found no room is tried again, unless there is more of it before.
	firstRoomPause, longestRoomPause = 100 * time.Millisecond, 10 * time.Second
)

// room is what one database knows of the room on its disk. That there is none for what Pebble does in the background
// is no reason to end: nothing is lost, the log holds what is not flushed, and it goes on as soon as there is room. It
// is safe for concurrent use.
type room struct {
	fs     vfs.FS
	dir    string
	spare  uint64 // compactions leave so much free
	clock  clock.Clock
	logger *slog.Logger

	once    sync.Once // of stop
	over    sync.Once // of end
	mu      sync.Mutex
	open    bool          // before, whoever opens is told
	closing chan struct{} // closed when no note waits for room any more
	gone    chan struct{} // closed when nothing is tried again any more
	lacks   map[purpose]*lack
	flushes chan struct{}    // closed when a flush lacks room, and made anew
	without bool             // Pebble believes of a note that it was written
	failed  error            // why no note will be written any more
	copying map[string]error // why the directories of the checkpoints under way are not durable
}

// lack is that the last attempt found no room, or failed otherwise.
type lack struct {
	err   error
	begun uint64 // what was free when it began
	known bool
	pause time.Duration
}

func newRoom(o *Options, dir string) *room {
	return &room{
		fs: o.FS, dir: dir, spare: uint64(max(0, o.SpareBytes)), clock: o.Clock, logger: o.Logger,
		closing: make(chan struct{}), gone: make(chan struct{}), flushes: make(chan struct{}),
		lacks: map[purpose]*lack{}, copying: map[string]error{},
	}
}

// free returns what the disk has left; ok is false if nobody can tell.
func (r *room) free() (bytes uint64, ok bool) {
	usage, err := r.fs.GetDiskUsage(r.dir)
	return usage.AvailBytes, err == nil
}

// admit says why nothing may be written for a purpose, so that something is left for what matters more: for the notes
// of what was flushed, and for the log.
func (r *room) admit(p purpose) error {
	leave := map[purpose]uint64{compacting: r.spare, flushing: r.spare / flushShare}[p]
	free, ok := r.free()
	if leave == 0 || !ok || free >= leave {
		return nil
	}
	return fmt.Errorf("%d bytes are free at %s, and a %s leaves %d: %w", free, r.dir, p, leave, syscall.ENOSPC)
}

// begin is called before a file is written. What lacked room the last time waits a little.
func (r *room) begin(p purpose) error {
	var before lack
	r.mu.Lock()
	if l := r.lacks[p]; l != nil {
		before = *l
	}
	r.mu.Unlock()
	r.rest(p, before)
	return r.note(p, r.admit(p))
}

// rest waits until there is more room than there was, or for as long as it is time to try nevertheless.
func (r *room) rest(p purpose, l lack) {
	for waited := time.Duration(0); waited < l.pause; waited += firstRoomPause {
		if free, ok := r.free(); ok && l.known && free > l.begun || !r.wait(p) {
			return
		}
	}
}

// wait waits for a moment, and reports whether it makes sense to wait on. Who waits to note something holds what a
// reader may wait for; the others pause for as long as readers hold the database, or they would try without a pause.
func (r *room) wait(p purpose) bool {
	over := r.gone
	if p == noting {
		over = r.closing
	}
	timer := r.clock.NewTimer(firstRoomPause)
	defer timer.Stop()
	select {
	case <-timer.C():
		return true
	case <-over:
		return false
	}
}

// note notes an error of what is done for a purpose. If it says something else than that there is no room, a note is
// not written again, and what waits for a flush is told.
func (r *room) note(p purpose, err error) error {
	full := durable.Full(err)
	if err == nil || p == others || p == noting && !full {
		return err
	}
	free, ok := r.free()
	ok = ok && full // nothing else is over when there is more room
	r.mu.Lock()
	defer r.mu.Unlock()
	l := r.lacks[p]
	if l == nil {
		l = &lack{pause: firstRoomPause}
		r.lacks[p] = l
	}
	if full && !durable.Full(l.err) {
		r.logger.Warn("the store finds no room on its disk; nothing is lost, and it tries again", "for", p.String(),
			"err", err)
	}
	if l.err != nil {
		l.pause = min(2*l.pause, longestRoomPause)
	}
	l.err, l.begun, l.known = err, free, ok
	if p != compacting {
		close(r.flushes)
		r.flushes = make(chan struct{})
	}
	return err
}

// ended is told how an attempt ended. What failed, whatever for, has found no room: why was noted where it did.
func (r *room) ended(p purpose, err error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	l := r.lacks[p]
	if l == nil || err != nil {
		return
	}
	delete(r.lacks, p)
	if durable.Full(l.err) {
		r.logger.Info("the store has found room again", "for", p.String())
	}
}

func (r *room) flushEnded(i pebble.FlushInfo)           { r.ended(flushing, i.Err) }
func (r *room) compactionEnded(i pebble.CompactionInfo) { r.ended(compacting, i.Err) }

// lacking returns what found no room, and has not found any since.
func (r *room) lacking() error {
	if err := r.unflushed(); durable.Full(err) {
		return err
	}
	free, ok := r.free()
	r.mu.Lock()
	defer r.mu.Unlock()
	l := r.lacks[compacting]
	if l != nil && durable.Full(l.err) && !(ok && l.known && free > l.begun) { // else it is about to be tried
		return l.err
	}
	return nil
}

// unflushed returns why nothing can be made durable.
func (r *room) unflushed() error {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.unflushedHeld()
}

func (r *room) unflushedHeld() error {
	if r.failed != nil {
		return r.failed
	}
	for _, p := range []purpose{flushing, noting} {
		if l := r.lacks[p]; l != nil {
			return l.err
		}
	}
	return nil
}

// stop ends the waits of notes for room, once and for all.
func (r *room) stop() { r.once.Do(func() { close(r.closing) }) }

// end ends all waits, once and for all: the database is being closed.
func (r *room) end() {
	r.stop()
	r.over.Do(func() { close(r.gone) })
}

// unnoted reports whether Pebble believes of a note that it was written, and it was not: what it calls durable since
// then is not, nor obsolete.
func (r *room) unnoted() bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.without
}

// believes has Pebble believe that notes are written from now on, and nothing is removed by them.
func (r *room) believes() {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.without = true
}

// fails says that no note will be written any more, to whoever waits for one.
func (r *room) fails(err error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.failed = err
	close(r.flushes)
	r.flushes = make(chan struct{})
}

// copies reports whether a checkpoint is made in dir.
func (r *room) copies(dir string) bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	_, is := r.copying[dir]
	return is
}

// copyFails says that the directory of a checkpoint could not be synced.
func (r *room) copyFails(dir string, err error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.copying[dir] = err
}

// copied ends the checkpoint in dir, and returns why it is not durable.
func (r *room) copied(dir string) error {
	r.mu.Lock()
	defer r.mu.Unlock()
	defer delete(r.copying, dir)
	return r.copying[dir]
}

// opened says that from now on nobody is told that there is no room.
func (r *room) opened() {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.open = true
}

// again reports whether a note that found no room is to be written again, when it is time for that.
func (r *room) again(p purpose, err error) bool {
	if p != noting || !durable.Full(err) {
		return false
	}
	r.mu.Lock()
	open := r.open
	r.mu.Unlock()
	if !open {
		return false
	}
	_ = r.note(p, err)
	return r.wait(p)
}

// flush makes durable what a database holds, or says that there is no room for it: then it becomes durable later.
func (g *generation) flush() error {
	r := g.room
	r.mu.Lock()
	lacks := r.flushes
	err := r.unflushedHeld()
	r.mu.Unlock()
	if err != nil {
		return err
	}
	flushed, err := g.db.AsyncFlush()
	if err != nil {
		return err
	}
	for {
		select {
		case <-flushed:
			if r.unnoted() {
				return ErrClosed
			}
			return nil
		case <-lacks:
		}
		r.mu.Lock()
		lacks = r.flushes
		err = r.unflushedHeld()
		r.mu.Unlock()
		if err != nil {
			return err
		}
	}
}

// Lacking says what a store cannot do at present because there is no room on its disk; nil if there is nothing. It
// goes on by itself, and nothing is lost; but what is applied is kept in memory, and Apply waits when that is full.
func Lacking(s *Store) error {
	g, err := s.acquire()
	if err != nil {
		return nil // closed
	}
	defer g.release()
	return g.room.lacking()
}
