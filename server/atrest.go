package server

import (
	"cmp"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"

	"github.com/cockroachdb/pebble/v2/vfs"

	"github.com/mimir-kv/mimir/replication"
	"github.com/mimir-kv/mimir/replication/durable"
	"github.com/mimir-kv/mimir/replication/durable/atrest"
	"github.com/mimir-kv/mimir/replication/durable/pebblefs"
)

const (
	// encryptedFile lies in a data directory in which something may be encrypted. It is plain itself: whoever starts
	// without keys knows by it that they are missing, and whoever has none need not look at every file.
	encryptedFile = "ENCRYPTED"
	// storeDir is that of the store.
	storeDir = "kv"
	// logDir is that of the library's log.
	logDir = "wal"
	// lockFile is held while a process uses the directory. Those that keep it make it too.
	lockFile = "LOCK"
	// ballastFile takes room on the disk and holds nothing.
	ballastFile = "ballast"
)

// disk is a data directory as the node reads and writes it. The zero value is a plain one: the machine's filesystem
// with nothing above it.
type disk struct {
	dir   string
	store bool        // there is to be one in it
	held  bool        // this process keeps others out already
	apart bool        // the directories of other fleets in it are not its business
	keys  atrest.Keys // as they were read; of a node that runs see known
	fs    *atrest.FS  // nil: plain

	keysOn durable.FS // where the file of keys is; nil: on the machine
}

// known are the keys that are at hand now.
func (d *disk) known() atrest.Keys {
	if d.fs == nil {
		return d.keys
	}
	return d.fs.Keys()
}

// storeFS is the filesystem for the store; nil for the machine's.
func (d *disk) storeFS() vfs.FS {
	if d.fs == nil {
		return nil
	}
	return d.fs
}

// libraryFS is the filesystem for the library; nil for the machine's.
func (d *disk) libraryFS() durable.FS {
	if d.fs == nil {
		return nil
	}
	return lockedBySystem{pebblefs.New(d.fs)}
}

// lockedBySystem takes locks as nodes without encryption do, so that they keep each other out.
type lockedBySystem struct{ durable.FS }

// Lock implements durable.FS.
func (lockedBySystem) Lock(name string) (io.Closer, error) { return durable.OS.Lock(name) }

// open makes a data directory ready: every key that a file in it needs is at hand, what is written in place is under
// the first one, and the file of keys was durable before. What it returns in held keeps others out meanwhile; it is nil
// where there is no file of keys.
func (d *disk) open(keyFile string, logger *slog.Logger) (held io.Closer, err error) {
	if keyFile == "" {
		return nil, d.withoutKeys()
	}
	if d.keys, err = settledKeys(cmp.Or(d.keysOn, durable.OS), keyFile); err != nil {
		return nil, err
	}
	if held, err = d.hold(); err != nil {
		return nil, err
	}
	d.fs = atrest.New(d.below(), d.keys)
	if err = d.prepare(logger); err != nil {
		return nil, errors.Join(err, held.Close())
	}
	return held, nil
}

// hold makes the directory and locks it.
func (d *disk) hold() (io.Closer, error) {
	if d.held {
		return io.NopCloser(nil), nil
	}
	if err := durable.MakeDir(durable.OS, d.dir); err != nil {
		return nil, err
	}
	return durable.OS.Lock(filepath.Join(d.dir, lockFile))
}

// withoutKeys refuses a directory that needs some.
func (d *disk) withoutKeys() error {
	if _, err := os.Stat(filepath.Join(d.dir, encryptedFile)); errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err := d.check(); err != nil {
		return err
	}
	return d.unmark()
}

// check refuses a file of which the key is missing.
func (d *disk) check() error {
	return d.survey(func(f atrest.Found) error {
		if f.Encrypted && !d.known().Has(f.Key) {
			return &fs.PathError{Op: "open", Path: f.Path, Err: fmt.Errorf("%w: %s", atrest.ErrKey, f.Key)}
		}
		return nil
	})
}

// survey goes over the files that hold something.
func (d *disk) survey(each func(atrest.Found) error) error {
	err := atrest.Survey(d.below(), d.dir, func(f atrest.Found) error {
		switch f.Path {
		case filepath.Join(d.dir, ballastFile), filepath.Join(d.dir, encryptedFile):
			return nil
		}
		return each(f)
	})
	if errors.Is(err, atrest.ErrHeader) {
		return fmt.Errorf("%w: %w", replication.ErrDamaged, err)
	}
	return err
}

// prepare makes sure of the keys, and writes anew what is not under the first and is no table of the store: tables are
// many, are never written in place, and go with time.
func (d *disk) prepare(logger *slog.Logger) error {
	if err := d.check(); err != nil {
		return err
	}
	if err := d.mark(); err != nil {
		return err
	}
	files, bytes, err := d.renew(func(f atrest.Found) bool { return !atrest.Table(f.Path) })
	if err != nil {
		return err
	}
	if files > 0 {
		logger.Info("files are under another key now", "key", d.active(), "files", files, "bytes", bytes)
	}
	return nil
}

// plain stands for the key of files without one.
const plain = "plain"

// active names the key of new files.
func (d *disk) active() string {
	if id, ok := d.known().Active(); ok {
		return id.String()
	}
	return plain
}

func (d *disk) renew(wanted func(atrest.Found) bool) (files int, bytes int64, err error) {
	own := map[string]bool{
		filepath.Join(d.dir, ballastFile): true, filepath.Join(d.dir, encryptedFile): true,
	}
	return d.fs.RenewAll(d.dir, func(f atrest.Found) bool { return !own[f.Path] && wanted(f) })
}

// mark makes it known that something here may be encrypted, before anything is: to nodes of this version, and to those
// of before.
func (d *disk) mark() error {
	err := durable.WriteFile(durable.OS, filepath.Join(d.dir, encryptedFile), func(w io.Writer) error {
		_, err := io.WriteString(w,
			"Files in this directory may be encrypted. mimir needs encryption-key-file to read them.\n")
		return err
	})
	if err != nil || !d.store {
		return err
	}
	store := filepath.Join(d.dir, storeDir)
	if err := durable.MakeDir(durable.OS, store); err != nil {
		return err
	}
	f, err := durable.OS.Create(filepath.Join(store, atrest.Refusal))
	if err != nil {
		return err
	}
	return errors.Join(f.Close(), durable.OS.SyncDir(store))
}

// unmark is for a directory in which nothing is encrypted any more.
func (d *disk) unmark() error {
	refusal := filepath.Join(d.dir, storeDir, atrest.Refusal)
	if err := os.Remove(refusal); err == nil {
		err = durable.OS.SyncDir(filepath.Dir(refusal))
		if err != nil {
			return err
		}
	} else if !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	if err := os.Remove(filepath.Join(d.dir, encryptedFile)); err != nil {
		return err
	}
	return durable.OS.SyncDir(d.dir)
}
