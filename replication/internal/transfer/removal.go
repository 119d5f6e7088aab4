package transfer

import (
	"errors"
	"maps"
	"os"
	"path/filepath"
	"slices"

	"github.com/mimir-kv/mimir/replication/internal/checkpoint"
)

// Clean removes what an earlier process left: later, if it cannot be now.
func (s *Shelf) Clean() {
	names, err := s.config.FS.List(s.config.Dir)
	if err != nil && !errors.Is(err, os.ErrNotExist) {
		s.config.Logger.Warn("copies of an earlier process stay until the next start", "dir", s.config.Dir, "err", err)
	}
	for _, name := range names {
		s.discard(filepath.Join(s.config.Dir, name))
	}
}

// Tidy removes copies that nobody came back for, or may, and what could not be removed before.
func (s *Shelf) Tidy() {
	now := s.config.Clock.Now()
	s.removeIdle(func(c *shelved) bool { return now.Sub(c.idle) > lifetime || s.bars(c.region) != nil })
	s.mu.Lock()
	left := slices.Collect(maps.Keys(s.left))
	s.mu.Unlock()
	for _, dir := range left {
		if s.removeDir(dir) == nil {
			s.config.Logger.Info("a copy was removed that could not be before", "dir", dir)
		}
	}
}

// removeIdle removes copies that nobody takes.
func (s *Shelf) removeIdle(those func(*shelved) bool) {
	s.mu.Lock()
	var old []*shelved
	for id, c := range s.copies {
		if c.users == 0 && those(c) {
			old = append(old, c)
			delete(s.copies, id)
		}
	}
	s.mu.Unlock()
	for _, c := range old {
		s.discard(c.dir)
	}
}

// discard is removeDir, and says what it could not do.
func (s *Shelf) discard(dir string) {
	if err := s.removeDir(dir); err != nil {
		s.config.Logger.Warn("copy not removed; it is tried again", "dir", dir, "err", err)
	}
}

// removeDir removes the directory of a copy that is on the shelf no more. If it cannot be removed now Tidy tries again:
// its files keep room of the disk that the state has given up since.
func (s *Shelf) removeDir(dir string) error {
	err := checkpoint.Remove(s.config.FS, dir)
	s.mu.Lock()
	defer s.mu.Unlock()
	if err == nil {
		delete(s.left, dir)
	} else {
		s.left[dir] = true
	}
	return err
}
