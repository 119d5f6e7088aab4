package kv

import (
	"errors"
	"fmt"
	iofs "io/fs"
	"strings"

	"github.com/cockroachdb/pebble/v2"
	"github.com/cockroachdb/pebble/v2/vfs"

	"github.com/mimir-kv/mimir/kv/mvcc"
	"github.com/mimir-kv/mimir/kv/snapshot"
	"github.com/mimir-kv/mimir/replication"
)

var _ replication.Verifier = (*Store)(nil)

// manifestPrefix begins the names of Pebble's lists of tables.
const manifestPrefix = "MANIFEST-"

// inspector looks at checkpoints beside a store, which it leaves alone. It is safe for concurrent use.
type inspector struct {
	options Options          // of the store
	fresh   func() string    // names a new directory
	drop    func(dir string) // removes it, now or later
}

// VerifyFile implements replication.Verifier: it reads a table with the checksums of its blocks, and a list of tables
// with those of its records. Of other files nothing is known before the checkpoint is opened.
func (i *inspector) VerifyFile(dir, name string) (err error) {
	fs := i.options.FS
	switch path := fs.PathJoin(dir, name); {
	case snapshot.IsTable(name):
		err = snapshot.VerifyTable(fs, path)
	case strings.HasPrefix(name, manifestPrefix):
		err = checkWhole(fs, path)
	}
	if err != nil {
		return fmt.Errorf("kv: verify: %w", asDamage(err))
	}
	return nil
}

// Verify implements replication.Verifier: the checkpoint is opened as Install opens one, by links to its tables, and
// what is loaded then is read.
func (i *inspector) Verify(dir string) error {
	of := &i.options
	o := Options{
		FS: of.FS, Dir: i.fresh(), CacheBytes: min(of.CacheBytes, branchCacheBytes),
		MemTableBytes: of.MemTableBytes, CountBytes: -1, OpenTables: min(of.OpenTables, branchTables),
		SpareBytes: of.SpareBytes, Clock: of.Clock, Logger: of.Logger, OnFailure: unlessDamaged(of.OnFailure),
		still: true,
	}
	defer i.drop(o.Dir)
	if err := asDamage(verify(&o, dir)); err != nil {
		return fmt.Errorf("kv: verify %s: %w", dir, err)
	}
	return nil
}

// unlessDamaged returns what tells of a failure that is no damage: that of a checkpoint is none of the store. Nil if
// nobody is told of any.
func unlessDamaged(tell func(error)) func(error) {
	if tell == nil {
		return nil
	}
	return func(err error) {
		if !errors.Is(err, replication.ErrDamaged) {
			tell(err)
		}
	}
}

// verify opens the checkpoint in dir in the new directory o.Dir, which is left to the caller.
func verify(o *Options, dir string) error {
	if _, err := linkCheckpoint(o, dir, o.Dir); err != nil {
		return err
	}
	cache := pebble.NewCache(o.CacheBytes)
	defer cache.Unref()
	g, err := openGeneration(o, cache, o.Dir)
	if err != nil {
		return err
	}
	return g.close()
}

var errNoDirectory = errors.New("not a directory")

// isCheckpoint returns nil if there is a checkpoint in dir, as far as names and its list of tables tell.
func isCheckpoint(fs vfs.FS, dir string) error {
	if info, err := fs.Stat(dir); err != nil {
		return err
	} else if !info.IsDir() {
		return errNoDirectory
	}
	desc, err := pebble.Peek(dir, fs)
	if err != nil && !errors.Is(err, iofs.ErrNotExist) {
		return fmt.Errorf("look at checkpoint %s: %w", dir, asNewer(err))
	} else if err != nil || !desc.Exists {
		return fmt.Errorf("%w: %s is not a checkpoint", mvcc.ErrCorrupt, dir)
	}
	return checkWhole(fs, desc.ManifestFilename)
}
