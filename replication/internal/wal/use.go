package wal

import (
	"sync/atomic"

	"github.com/mimir-kv/mimir/replication/durable"
)

// What becomes of a segment that is no longer part of the log, once nobody reads it.
const (
	fateNone int32 = iota
	fateRemove
	fateClose
)

// use counts the readers of a segment, so that its file is neither closed nor reused under them. A reader enters with
// the mutex of the Log held; once a segment is retired nobody enters.
type use struct {
	readers atomic.Int32
	fate    atomic.Int32
	claimed atomic.Bool // someone took it upon itself to carry out the fate
}

// claim reports whether the caller is the one to carry out the fate.
func (u *use) claim() bool {
	return u.readers.Load() == 0 && u.fate.Load() != fateNone && u.claimed.CompareAndSwap(false, true)
}

// enter begins to read the segment.
func (s *segment) enter() { s.use.readers.Add(1) }

// leave ends what enter began.
func (s *segment) leave(fs durable.FS) {
	if s.use.readers.Add(-1) == 0 && s.use.claim() {
		s.bury(fs)
	}
}

// retire ends the use of a segment that is no longer part of the log, now or when the last reader leaves.
func (s *segment) retire(fate int32, fs durable.FS) {
	s.use.fate.Store(fate)
	if s.use.claim() {
		s.bury(fs)
	}
}

// bury carries out the fate. Nothing depends on the outcome: a file that stays behind is found at the next Open.
func (s *segment) bury(fs durable.FS) {
	_ = s.file.Close()
	if s.use.fate.Load() == fateRemove {
		_ = fs.Remove(s.name)
	}
}

// recycle retires a segment and gives its file a new name, unless somebody reads it; it reports whether it did.
func (s *segment) recycle(fs durable.FS, name string) bool {
	s.use.fate.Store(fateRemove)
	if !s.use.claim() {
		return false
	}
	if s.file.Close() != nil || fs.Rename(s.name, name) != nil {
		_ = fs.Remove(s.name)
		return false
	}
	return true
}
