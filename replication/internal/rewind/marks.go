package rewind

import (
	"cmp"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strconv"

	"go.etcd.io/raft/v3"

	"github.com/mimir-kv/mimir/replication/contract"
	"github.com/mimir-kv/mimir/replication/durable"
	"github.com/mimir-kv/mimir/replication/internal/copies"
	"github.com/mimir-kv/mimir/replication/internal/region"
	"github.com/mimir-kv/mimir/replication/timeline"
)

const (
	maxMarks   = 3         // at a time
	partSuffix = ".tmp"    // ends the names of directories that are not whole, or are being removed
	pinName    = "rewinds" // of the log that is kept
)

// mark is a checkpoint of this node, a copy in the directory that its index names.
type mark struct {
	index    uint64
	position contract.Position
	epoch    timeline.Epoch // that had begun
}

func (r *Rewinds) dirOf(m mark) string {
	return filepath.Join(r.config.marksDir(), strconv.FormatUint(m.index, 10))
}

// findMarks takes the marks that are there, and removes what was never finished: later, if it cannot be now. The caller
// holds mu.
func (r *Rewinds) findMarks() error {
	fs := r.config.FS
	names, err := fs.List(r.config.marksDir())
	if err != nil && !errors.Is(err, os.ErrNotExist) {
		return fmt.Errorf("find marks: %w", err)
	}
	for _, name := range names {
		path := filepath.Join(r.config.marksDir(), name)
		index, err := strconv.ParseUint(name, 10, 64)
		var meta *contract.Metadata
		if err == nil {
			if meta, err = copies.Look(fs, path); err != nil {
				r.config.Logger.Warn("a checkpoint of this node cannot be read; it is tried again", "err", err)
				r.unread = append(r.unread, index)
				continue
			}
		}
		if meta != nil {
			r.marks = append(r.marks, mark{index, meta.Position, meta.Epoch})
		} else if err := fs.RemoveAll(path); err != nil {
			r.remains.add(path)
		}
	}
	sortMarks(r.marks)
	return nil
}

// sortMarks sorts by index.
func sortMarks(marks []mark) {
	slices.SortFunc(marks, func(a, b mark) int { return cmp.Compare(a.index, b.index) })
}

// reread takes the marks that could not be read before, as soon as they can be.
func (r *Rewinds) reread() {
	r.mu.Lock()
	unread := slices.Clone(r.unread)
	r.mu.Unlock()
	for _, index := range unread {
		dir := r.dirOf(mark{index: index})
		meta, err := copies.Look(r.config.FS, dir)
		if err != nil {
			continue
		}
		r.mu.Lock()
		if i := slices.Index(r.unread, index); i >= 0 { // it is not forgotten meanwhile
			r.unread = slices.Delete(r.unread, i, i+1)
			if meta == nil {
				r.remains.add(dir)
			} else {
				r.marks = append(r.marks, mark{index, meta.Position, meta.Epoch})
				sortMarks(r.marks)
				r.pin(0)
			}
		}
		r.mu.Unlock()
	}
}

// leaveUnread has marks go that could not be read, all if those is nil, and returns their directories. The caller holds
// mu.
func (r *Rewinds) leaveUnread(those []uint64) (dirs []string) {
	r.unread = slices.DeleteFunc(r.unread, func(index uint64) bool {
		gone := those == nil || slices.Contains(those, index)
		if gone {
			dir := r.dirOf(mark{index: index})
			r.remains.add(dir)
			dirs = append(dirs, dir)
		}
		return gone
	})
	return dirs
}

// look makes a mark if one is due, and removes those that are of no use. While the region gives way none is made, and
// none removed but for want of room: what there is may be what it goes back to, and what it takes else needs the room.
func (r *Rewinds) look() {
	v := r.config.Applied.View()
	s := &v.State
	r.sweep(v)
	if !r.config.wanted() {
		return
	}
	if r.config.Unfit() {
		r.keepNone() // what they are of is no better
		return
	}
	r.reread()
	if r.crowded() || s.Diverged != nil || timeline.Supersedes(s.HighestClaim(), timeline.Latest(s.Reigns)) {
		return
	}
	err := r.makeDue(v)
	r.thin(s.Base.Index)
	r.tell(err)
}

// crowded reports whether there is no room for marks, and removes them then.
func (r *Rewinds) crowded() bool {
	free, err := r.config.FS.FreeBytes(filepath.Dir(r.config.Dir))
	if err != nil || free >= r.config.SpareBytes {
		return false
	}
	r.tell(fmt.Errorf("%d bytes are free on the disk, and checkpoints leave %d", free, r.config.SpareBytes))
	r.keepNone()
	return true
}

// makeDue makes a mark if much was written since the last one, or there is none.
func (r *Rewinds) makeDue(v *region.View) error {
	r.mu.Lock()
	if err := r.remains.unremoved(); err != nil { // each may hold as much as a mark, and have the name of the next one
		r.mu.Unlock()
		return err
	}
	last := mark{}
	if n := len(r.marks); n > 0 && r.marks[n-1].index >= v.State.Base.Index {
		last = r.marks[n-1]
	}
	next := v.Index + 1
	written := r.config.Log.BytesFrom(last.index + 1)
	if v.State.Delay != nil { // a mark is of what the storage has
		next = v.ShownIndex + 1
		written -= r.config.Log.BytesFrom(next)
	}
	due := v.Shows().Position > last.position && (last.index == 0 || written >= r.config.EveryBytes)
	if slices.Contains(r.unread, next-1) {
		due = false // it may be there
	}
	if due {
		r.pin(next)
	}
	forgot := r.forgot
	r.mu.Unlock()
	if !due {
		return nil
	}
	if err := r.make(forgot); err != nil {
		return fmt.Errorf("make a checkpoint: %w", err)
	}
	return nil
}

// make makes a mark, unless what was here is forgotten meanwhile: forgot is how often that was before.
func (r *Rewinds) make(forgot int) error {
	c := &r.config
	if err := durable.MakeDir(c.FS, r.config.marksDir()); err != nil {
		return err
	}
	if _, err := c.Source.Sync(); err != nil { // so that taking hold is quick
		return err
	}
	part := filepath.Join(r.config.marksDir(), "new"+partSuffix)
	if err := c.FS.RemoveAll(part); err != nil {
		return err
	}
	held, err := c.Source.Hold(part)
	if err == nil {
		err = held.Write()
	}
	if err == nil {
		meta := held.Metadata()
		err = r.place(part, mark{meta.AppliedIndex, meta.Position, meta.Epoch}, forgot)
	}
	if err != nil {
		return errors.Join(err, r.remains.remove(part))
	}
	return c.FS.SyncDir(r.config.marksDir())
}

// place makes what is complete in part the mark m.
func (r *Rewinds) place(part string, m mark, forgot int) error {
	r.placing.Lock()
	defer r.placing.Unlock()
	if r.forgot != forgot {
		return errForgotten
	}
	r.mu.Lock()
	taken := slices.Contains(r.unread, m.index)
	r.mu.Unlock()
	if taken {
		return fmt.Errorf("%s is there and cannot be read", r.dirOf(m))
	}
	if err := r.config.FS.Rename(part, r.dirOf(m)); err != nil {
		return err
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	r.marks = append(r.marks, m)
	return nil
}

// thin keeps the newest mark that every other region is known to have got past, whichever of them takes over, and the
// newest ones behind it. What is older than base is of another history (W2), also what cannot be read.
func (r *Rewinds) thin(base uint64) {
	least := r.config.Least()
	r.mu.Lock()
	marks, unread := slices.Clone(r.marks), slices.Clone(r.unread)
	r.mu.Unlock()
	useless := []uint64{}
	for _, index := range unread {
		if index < base || r.released(index+1) {
			useless = append(useless, index)
		}
	}
	r.mu.Lock()
	gone := r.leaveUnread(useless)
	most := max(2, maxMarks-len(r.unread)) // with one alone the newest would go as it comes
	r.mu.Unlock()
	for _, dir := range gone {
		_ = r.remains.remove(dir) // it is tried again
	}
	kept := slices.DeleteFunc(marks, func(m mark) bool {
		_, err := r.config.Log.Seek(m.position)
		return m.index < base || err != nil // no log leads on from it
	})
	r.keep(choose(kept, least, most))
}

// released reports whether the log has an entry no more.
func (r *Rewinds) released(index uint64) bool {
	if index > r.config.Log.LastIndex() {
		return false
	}
	_, err := r.config.Log.Entries(index, index+1, 1)
	return errors.Is(err, raft.ErrCompacted)
}

// choose returns the marks that are kept of these, at most so many. Who has as much as a mark may lack the reign that
// had begun there.
func choose(marks []mark, least contract.Position, most int) []mark {
	passed := func(i int) bool {
		m := marks[i]
		return m.position < least || m.position == least && m.epoch == marks[i-1].epoch
	}
	for len(marks) > 1 && passed(1) {
		marks = marks[1:]
	}
	for len(marks) > most {
		marks = slices.Delete(marks, 1, 2)
	}
	return marks
}

// keepNone removes all marks, those first that could not be read.
func (r *Rewinds) keepNone() {
	r.mu.Lock()
	gone := r.leaveUnread(nil)
	r.mu.Unlock()
	for _, dir := range gone {
		_ = r.remains.remove(dir) // it is tried again
	}
	r.keep(nil)
}

// keep removes all other marks, and keeps the log from these on. What was forgotten meanwhile stays so.
func (r *Rewinds) keep(marks []mark) {
	r.mu.Lock()
	var kept, gone []mark
	for _, m := range r.marks {
		if slices.Contains(marks, m) {
			kept = append(kept, m)
		} else {
			gone = append(gone, m)
		}
	}
	r.marks = kept
	r.pin(0)
	r.mu.Unlock()
	for _, m := range gone {
		_ = r.remains.remove(r.dirOf(m)) // it is tried again
	}
}

// pin keeps the log from the oldest mark on, and from the entry next on, if it is not zero. The caller holds mu.
func (r *Rewinds) pin(next uint64) {
	if len(r.marks) > 0 {
		next = r.marks[0].index + 1
	}
	if next == 0 {
		r.config.Log.Unpin(pinName)
		return
	}
	r.config.Log.Pin(pinName, next)
}

// tell logs what hinders, once as long as it is that.
func (r *Rewinds) tell(err error) {
	what := ""
	if err != nil {
		what = err.Error()
	}
	r.mu.Lock()
	told := r.told == what
	r.told = what
	r.mu.Unlock()
	if err != nil && !told {
		r.config.Logger.Warn("keeps no new checkpoint to go back to: a region whose history forks takes a whole copy "+
			"of the state instead", "err", err)
	}
}
