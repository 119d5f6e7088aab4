package server

import (
	"context"
	"fmt"
	"math"

	"github.com/mimir-kv/mimir/backup/archive"
	"github.com/mimir-kv/mimir/backup/schedule"
	"github.com/mimir-kv/mimir/backup/store"
	"github.com/mimir-kv/mimir/kv/snapshot"
	"github.com/mimir-kv/mimir/replication"
)

// bases are the backups of a fleet, from each of which the archived log is to lead on. It is used by one goroutine.
type bases struct {
	place store.Store
	log   store.Store // what is archived
	known map[string]replication.Position
	tell  func(gone int, oldest replication.Position, missing string)
}

// pruning returns what lets go of the archived log that no backup needs which is kept; nil if nothing does.
func pruning(s *server, c *Config, place store.Store) (func(context.Context, []schedule.Backup) error, error) {
	if !c.Archive.Prune {
		return nil, nil
	}
	log, err := c.archivePlace()
	if err != nil {
		return nil, err
	}
	b := &bases{
		place: place, log: archive.Of(log, c.Replication.FleetID), known: map[string]replication.Position{},
		tell: func(gone int, oldest replication.Position, missing string) {
			if missing != "" {
				s.logger.Warn("nothing of the archived log is let go: a backup does not say of which position it is",
					"backup", missing)
			} else if gone > 0 {
				s.logger.Info("segments of the archived log deleted, which no backup needs", "segments", gone,
					"position", oldest)
			}
		},
	}
	return b.prune, nil
}

// prune lets go of what none of these needs. Where one does not say where it is, as those of earlier versions, nothing
// goes.
func (b *bases) prune(ctx context.Context, kept []schedule.Backup) error {
	oldest, known := replication.Position(math.MaxUint64), map[string]replication.Position{}
	for _, one := range kept {
		at, ok := b.known[one.Name]
		if !ok {
			var err error
			if at, err = b.position(ctx, one.Name); err != nil {
				return fmt.Errorf("%s: where it is in the history: %w", one.Name, err)
			}
		}
		if at == 0 {
			b.tell(0, 0, one.Name)
			return nil
		}
		known[one.Name], oldest = at, min(oldest, at)
	}
	b.known = known
	if len(kept) == 0 {
		return nil
	}
	gone, err := archive.Prune(ctx, b.log, oldest)
	b.tell(gone, oldest, "")
	return err
}

func (b *bases) position(ctx context.Context, name string) (replication.Position, error) {
	r, err := b.place.Get(ctx, name)
	if err != nil {
		return 0, err
	}
	defer r.Close()
	text, err := snapshot.ReadNote(r)
	if err != nil {
		return 0, err
	}
	note, err := snapshot.DecodeNote(text)
	return replication.Position(note.Position), err
}
