package transfer

import (
	"maps"
	"slices"

	"github.com/mimir-kv/mimir/replication/internal/checkpoint"
)

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
		s.remove(c)
	}
}

func (s *Shelf) remove(c *shelved) {
	if err := s.removeDir(c.dir); err != nil {
		s.config.Logger.Warn("copy not removed; it is tried again", "dir", c.dir, "err", err)
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
