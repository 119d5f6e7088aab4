package server

import (
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"path/filepath"
	"slices"
	"time"

	"github.com/mimir-kv/mimir/kv"
	"github.com/mimir-kv/mimir/kv/snapshot"
	"github.com/mimir-kv/mimir/replication"
)

// ClusterID is what clients and snapshots call the fleet of this name: the same on all of its nodes.
func ClusterID(fleet string) uint64 { return clusterID(fleet) }

// snapshotNote says whose a snapshot is.
func (s *server) snapshotNote() []byte {
	c := &s.config.Replication
	return snapshot.Note{
		Fleet: c.FleetID, Region: c.RegionID, Node: c.NodeID, ClusterID: clusterID(c.FleetID), Version: s.version,
		Created: time.Now().UTC().Truncate(time.Second),
	}.Encode()
}

// Content is what a new fleet begins with, instead of with nothing.
type Content interface {
	// Put makes the content that of the store with the options o, which is empty, durably. It describes it, and puts
	// what it gets in the place of the metadata that the content had.
	Put(o kv.Options, describe func(replication.Seed) (*replication.Metadata, error)) error
}

// Sow makes the data directory of c, which has to be empty or missing, that of a node whose region begins with a
// content: encrypted, if c says so. What it wrote before an error is removed; what a crash leaves, no node starts on.
func Sow(c *Config, content Content, logTo io.Writer) error {
	keepPrivate()
	dir := c.Replication.DataDir
	if err := checkPlace(dir); err != nil {
		return err
	}
	if err := checkEmpty(dir); err != nil {
		return err
	}
	err := sow(c, content, newLogger(c, logTo))
	if err == nil {
		return nil
	}
	for _, name := range []string{identityFile, "wal", storeDir} {
		err = errors.Join(err, os.RemoveAll(filepath.Join(dir, name)))
	}
	return inDirectory(dir, err)
}

// identityFile says whose a data directory is, and is written last.
const identityFile = "IDENTITY"

func sow(c *Config, content Content, logger *slog.Logger) error {
	d := &disk{dir: c.Replication.DataDir, store: true}
	held, err := d.open(c.EncryptionKeyFile, logger)
	if err != nil {
		return err
	}
	if held != nil {
		if err := held.Close(); err != nil { // the library takes the lock
			return err
		}
	}
	store := c.Store
	store.Dir, store.FS, store.Logger = filepath.Join(d.dir, storeDir), d.storeFS(), logger
	store.CountedKeys = -1
	r := c.Replication
	r.FS, r.Logger = d.libraryFS(), logger
	return replication.Sow(&r, func(describe func(replication.Seed) (*replication.Metadata, error)) error {
		return content.Put(store, describe)
	})
}

// checkEmpty refuses a directory that holds anything but what a filesystem puts there, or what is no data.
func checkEmpty(dir string) error {
	entries, err := os.ReadDir(dir)
	if err != nil && !errors.Is(err, os.ErrNotExist) {
		return err
	}
	for _, e := range entries {
		if !slices.Contains([]string{lockFile, ballastFile, encryptedFile, "lost+found"}, e.Name()) {
			return fmt.Errorf("%w: %s holds %s: name another data-dir, or take away what is there", ErrConfig, dir,
				e.Name())
		}
	}
	return nil
}
