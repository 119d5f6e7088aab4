package server

import (
	"cmp"
	"encoding/json"
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
	"github.com/mimir-kv/mimir/replication/durable"
)

// ClusterID is what clients and snapshots call the fleet of this name: the same on all of its nodes.
func ClusterID(fleet string) uint64 { return clusterID(fleet) }

// snapshotNote says whose a snapshot is.
func (s *server) snapshotNote() []byte { return noteOf(s, 0, nil) }

// noteOf is that of a content which has everything up to a position of the history, and is at a place.
func noteOf(s *server, p replication.Position, place json.RawMessage) []byte {
	c := &s.config.Replication
	return snapshot.Note{
		Fleet: c.FleetID, Region: c.RegionID, Node: c.NodeID, ClusterID: clusterID(c.FleetID), Version: s.version,
		Created: time.Now().UTC().Truncate(time.Second), Position: uint64(p), Place: place,
	}.Encode()
}

// Content is what a new fleet begins with, instead of with nothing.
type Content interface {
	// Put makes the content that of the store with the options o, which is empty, durably. It describes it, and puts
	// what it gets in the place of the metadata that the content had.
	Put(o kv.Options, describe func(replication.Seed) (*replication.Metadata, error)) error
}

// Sow makes the data directory of c, which has to be empty or missing, that of a node whose region begins with a
// content: encrypted, if c says so. It keeps every other process out meanwhile. What it wrote before an error is
// removed; what a crash leaves, no node starts on.
func Sow(c *Config, content Content, logTo io.Writer) error {
	keepPrivate()
	dir := c.Replication.DataDir
	if err := checkPlace(dir); err != nil {
		return err
	}
	if err := checkEmpty(dir); err != nil { // nothing is written where something else is
		return err
	}
	logger, _ := newLogger(c, logTo)
	d := &disk{dir: dir, store: true}
	held, err := d.hold()
	if err == nil {
		d.held = true
		err = errors.Join(sowHeld(c, d, content, logger), held.Close())
	}
	if err != nil && !errors.Is(err, ErrConfig) {
		return inDirectory(dir, err)
	}
	return err
}

// identityFile says whose a data directory is, and whether it is whole: it goes last.
const identityFile = "IDENTITY"

// sowHeld is Sow while the directory is held: whatever is in it came of this.
func sowHeld(c *Config, d *disk, content Content, logger *slog.Logger) error {
	if err := checkEmpty(d.dir); err != nil {
		return err
	}
	err := sow(c, d, content, logger)
	if err == nil {
		return nil
	}
	for _, name := range []string{logDir, storeDir, identityFile} {
		gone := os.RemoveAll(filepath.Join(d.dir, name))
		if err = errors.Join(err, gone); gone != nil {
			break
		}
	}
	return err
}

func sow(c *Config, d *disk, content Content, logger *slog.Logger) error {
	if _, err := d.open(c.EncryptionKeyFile, logger); err != nil {
		return err
	}
	store := c.Store
	store.Dir, store.FS, store.Logger = filepath.Join(d.dir, storeDir), d.storeFS(), logger
	store.CountBytes = -1
	r := c.Replication
	r.FS, r.Logger = heldFS{cmp.Or(d.libraryFS(), durable.OS)}, logger
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
