package transfer

import (
	"errors"

	"github.com/mimir-kv/mimir/replication/internal/checkpoint"
)

// finds tells of a copy that could not be made because what this node holds is not what it wrote (T7). Its tables are
// those of the copy.
func (s *Shelf) finds(err error) error {
	if errors.Is(err, checkpoint.ErrCorrupt) && s.config.Damaged != nil {
		s.config.Damaged(err)
	}
	return err
}

// doubts takes what came of a copy that was given. One of which something else arrived than was summed is given to
// nobody else, and with the next one everything is read again: if a disk changed what is here, that is found then.
func (s *Shelf) doubts(c *shelved, err error) error {
	if errors.Is(err, checkpoint.ErrDoubted) {
		s.config.Logger.Warn("what arrived of a copy is not what was summed here; reads all of the next one",
			"copy", c.id, "err", err)
		s.doubted.Store(true)
		s.mu.Lock()
		c.doubted = true
		s.mu.Unlock()
	}
	return err
}
