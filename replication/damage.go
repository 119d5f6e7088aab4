package replication

import (
	"errors"
	"fmt"
	"strings"

	"github.com/mimir-kv/mimir/replication/durable"
	"github.com/mimir-kv/mimir/replication/internal/checkpoint"
	"github.com/mimir-kv/mimir/replication/internal/copies"
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

// damaged returns what ends a node of which it turned out, as its state was copied for another, that its disk does not
// hold what was written: what is copied is what is read.
func damaged(n *node) func(error) { return func(err error) { n.life.Fail(asDamage(err)) } }

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
