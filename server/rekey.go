package server

import (
	"cmp"
	"errors"
	"io/fs"
	"log/slog"

	"github.com/mimir-kv/mimir/replication/durable"
)

// rekey takes the keys that are in their file now, while the node runs: what it makes from then on is under the first.
// With keys that cannot be used all stay as they are.
func (d *disk) rekey(file string, logger *slog.Logger) {
	if d.fs == nil {
		return
	}
	before := d.active()
	next, err := settledKeys(cmp.Or(d.keysOn, durable.OS), file)
	if err == nil {
		err = d.fs.Change(next)
	}
	switch now := d.active(); {
	case errors.Is(err, fs.ErrNotExist):
		logger.Warn("encryption-key-file is not there: the keys stay as they were", "file", file)
	case err != nil:
		logger.Error("encryption-key-file not read anew: the keys stay as they were", "err", err)
	case now != before:
		logger.Info("new files are under another key now", "key", now, "before", before)
	}
}
