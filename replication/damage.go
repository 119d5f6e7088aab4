package replication

import (
	"errors"
	"fmt"
	"log/slog"
	"strings"

	"github.com/mimir-kv/mimir/replication/durable"
	"github.com/mimir-kv/mimir/replication/internal/checkpoint"
	"github.com/mimir-kv/mimir/replication/internal/copies"
	"github.com/mimir-kv/mimir/replication/internal/life"
	"github.com/mimir-kv/mimir/replication/internal/raftgroup"
	"github.com/mimir-kv/mimir/replication/internal/wal"
	"github.com/mimir-kv/mimir/replication/timeline"
)

// beyondLog is in what raft says when others count on entries that the log does not hold.
const beyondLog = "is out of range [lastIndex("

// fellBehind reports whether raft stopped because others count on entries that the log does not hold.
func fellBehind(err error) bool {
	return errors.Is(err, raftgroup.ErrInvariant) && strings.Contains(err.Error(), beyondLog)
}

// damaged returns what is told of a node of which it turned out, as its state was copied for another, that its disk
// does not hold what was written.
func damaged(n *node) func(error) {
	return func(err error) { showsDamage(n.life, n.logger, n.group.Voters(), err) }
}

// showsDamage ends a node whose state is damaged where nobody has read it yet, as it ends where that is read. Not so
// the only voter of its region: nobody else has what it holds, and what is damaged it shows to nobody either way.
func showsDamage(l *life.Life, logger *slog.Logger, voters []uint64, err error) {
	err = asDamage(err)
	if !errors.Is(err, ErrDamaged) || len(voters) != 1 {
		l.Fail(err)
		return
	}
	logger.Error("the state of this node is damaged, and no other node of its region has it: no copy of it is given "+
		"to anybody. Move the primary to a region that is whole, or restore a backup, and replace this node",
		"err", err)
}

// lookOf returns what tells whether the files of copies of a storage are what was written.
func lookOf(fs durable.FS, s Storage) checkpoint.Look {
	corrupt := func(err error) error {
		if errors.Is(err, ErrDamaged) {
			return fmt.Errorf("%w: %w", checkpoint.ErrCorrupt, err)
		}
		return err
	}
	return checkpoint.Look{
		File:  func(dir, name string) error { return corrupt(copies.VerifyFile(s, dir, name)) },
		Whole: func(dir string) error { return corrupt(copies.Verify(fs, s, dir)) },
	}
}

// asDamage wraps in ErrDamaged what says that a data directory is not what it was, in words that do not need the source
// code beside them, and in ErrNewer what says that a newer version wrote it. Everything else it returns as it is.
func asDamage(err error) error {
	switch {
	case err == nil, errors.Is(err, ErrDamaged), errors.Is(err, ErrDiskLost), errors.Is(err, ErrNewer):
		return err
	case errors.Is(err, timeline.ErrVersion), errors.Is(err, wal.ErrVersion), errors.Is(err, checkpoint.ErrVersion):
		return fmt.Errorf("%w: %w", ErrNewer, err)
	case errors.Is(err, raftgroup.ErrLogLost):
		return fmt.Errorf("%w: the log, directory wal, is gone and the store is not: %w", ErrDamaged, err)
	case errors.Is(err, raftgroup.ErrStateLost):
		return fmt.Errorf("%w: the store, directory kv or that of the engine, is older than the log that is "+
			"kept, or gone: %w", ErrDamaged, err)
	case errors.Is(err, raftgroup.ErrAcknowledgedLost):
		return fmt.Errorf("%w: %w", ErrDiskLost, err)
	case fellBehind(err):
		return fmt.Errorf("%w: the region agreed on entries with this node which its log does not hold any more: the "+
			"newest part of the log is lost, or an old copy of the directory was put back: %w", ErrDamaged, err)
	case errors.Is(err, wal.ErrCorrupt), errors.Is(err, ErrMetadata), errors.Is(err, checkpoint.ErrCorrupt):
		return fmt.Errorf("%w: %w", ErrDamaged, err)
	default:
		return err
	}
}
