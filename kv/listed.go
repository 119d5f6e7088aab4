package kv

import (
	"errors"
	"fmt"
	"strings"

	"github.com/cockroachdb/pebble/v2"

	"github.com/mimir-kv/mimir/kv/mvcc"
	"github.com/mimir-kv/mimir/kv/snapshot"
)

// linkCheckpoint makes the new directory path begin as the checkpoint in dir, if that is one, and returns the paths
// that are not durable yet.
func linkCheckpoint(o *Options, dir, path string) (fresh []string, err error) {
	if err := isCheckpoint(o.FS, dir); err != nil {
		return nil, err
	}
	if fresh, err = snapshot.Link(o.FS, dir, path); err != nil {
		return nil, err
	}
	return fresh, checkListed(o, path)
}

// checkListed refuses a database that begins as a checkpoint, and was not opened yet, if it has a table that is not in
// its list, or more files of values than that: a checkpoint has no other ones, so the list ends early, behind a whole
// record, and Pebble would go on with an older content, or with none. It leaves the files as they are.
func checkListed(of *Options, path string) error {
	there, err := of.FS.List(path)
	if err != nil {
		return err
	}
	o := Options{ // nobody is told of a failure: what is found is found again as it is opened to be used
		FS: of.FS, Dir: path, CacheBytes: branchCacheBytes, MemTableBytes: of.MemTableBytes,
		OpenTables: min(of.OpenTables, branchTables), SpareBytes: of.SpareBytes, Clock: of.Clock, Logger: of.Logger,
		still: true,
	}
	cache := pebble.NewCache(o.CacheBytes)
	defer cache.Unref()
	db, room, err := openPebble(path, &o, cache, true)
	if err != nil {
		return fmt.Errorf("kv: open %s: %w", path, err)
	}
	listed, err := listedTables(db)
	blobs := db.Metrics().BlobFiles.LiveCount
	room.end()
	if err = errors.Join(err, db.Close()); err != nil {
		return fmt.Errorf("kv: look at %s: %w", path, err)
	}
	if found := blobsAmong(there); uint64(len(found)) > blobs {
		return fmt.Errorf("%w: %s has the files of values %v, and the list of tables, which lacks its end, has %d",
			mvcc.ErrCorrupt, path, found, blobs)
	}
	for _, name := range there {
		if snapshot.IsTable(name) && !listed[name] {
			return fmt.Errorf("%w: %s is not in the list of tables, which lacks its end", mvcc.ErrCorrupt,
				of.FS.PathJoin(path, name))
		}
	}
	return nil
}

// listedTables returns the names of the files with the tables of a database.
func listedTables(db *pebble.DB) (map[string]bool, error) {
	levels, err := db.SSTables()
	if err != nil {
		return nil, err
	}
	names := map[string]bool{}
	for _, tables := range levels {
		for i := range tables {
			names[snapshot.TableName(uint64(tables[i].BackingSSTNum))] = true
		}
	}
	return names, nil
}

// blobsAmong returns the names of files with values that lie apart from their tables. This version writes none; the
// format of the store has them, so a later one may.
func blobsAmong(names []string) []string {
	var blobs []string
	for _, name := range names {
		if strings.HasSuffix(name, ".blob") {
			blobs = append(blobs, name)
		}
	}
	return blobs
}
