package transfer

import (
	"context"
	"errors"

	"github.com/mimir-kv/mimir/replication/internal/checkpoint"
)

// Sound returns why the copy here with this identity is of no use, nil if it is what came (T8). What this process
// received it has looked at; of anything else nothing is known but how long the files are, so that all of it is read.
// What is not what came is removed. Who fetched it may not have come to sync its name, so that this is done here (T2).
// progress may be nil.
func (s *Staging) Sound(ctx context.Context, id string, progress func(checkpoint.Progress)) error {
	if _, err := s.Dir(id); err != nil {
		return err
	}
	if s.knownSound(id) {
		return nil
	}
	select {
	case s.fetching <- struct{}{}: // it reads as much as a fetch writes
		defer func() { <-s.fetching }()
	case <-ctx.Done():
		return context.Cause(ctx)
	}
	if s.knownSound(id) { // somebody else has looked meanwhile
		return nil
	}
	err := checkpoint.Verify(ctx, s.config.FS, s.dir(id), s.config.Look, progress)
	if err == nil {
		err = s.config.FS.SyncDir(s.config.Dir)
	}
	switch {
	case err == nil:
		s.isSound(id, true)
	case errors.Is(err, checkpoint.ErrCorrupt):
		s.config.Logger.Warn("a staged copy is not what came, and is removed", "copy", id, "err", err)
		s.Discard(id)
	}
	return err
}

func (s *Staging) knownSound(id string) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.sound[id]
}

// isSound notes whether a copy is known to be what came.
func (s *Staging) isSound(id string, is bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if is {
		s.sound[id] = true
	} else {
		delete(s.sound, id)
	}
}

// mostUnread is how often a copy is passed on in vain because it cannot be read here.
const mostUnread = 3

// doubts takes what came of passing a copy on. One of which something else arrived than lies here is looked through,
// and one that cannot be read again and again is removed: else it would be offered for ever.
func (s *Staging) doubts(id string, err error) error {
	if errors.Is(err, checkpoint.ErrUnread) {
		s.mu.Lock()
		s.unread[id]++
		often := s.unread[id]
		s.mu.Unlock()
		if often >= mostUnread {
			s.config.Logger.Warn("a staged copy cannot be read, and is removed", "copy", id, "err", err)
			s.Discard(id)
		}
	}
	if errors.Is(err, checkpoint.ErrDoubted) {
		s.isSound(id, false)
		s.config.Life.Try(func(life context.Context) {
			if err := s.Sound(life, id, nil); err != nil && life.Err() == nil {
				s.config.Logger.Info("looked through what did not arrive as it is", "copy", id, "err", err)
			}
		})
	}
	return err
}
