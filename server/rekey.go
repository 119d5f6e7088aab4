package server

import (
	"cmp"
	"errors"
	"io/fs"
	"log/slog"
	"time"

	"github.com/mimir-kv/mimir/etcdapi/reread"
	"github.com/mimir-kv/mimir/replication/durable"
)

// newKeysTurn returns whose turn it is to read the file of keys.
func newKeysTurn(file string, logger *slog.Logger) *reread.Turn {
	return &reread.Turn{Hung: func() {
		logger.Error("encryption-key-file is not read, its disk may hang: the keys stay as they were until it is",
			"file", file)
	}}
}

// rekeyInTime is rekey by one caller at a time. Where the disk of the file hangs it goes on by itself: what else is
// read anew does not wait for it, and the file is not read again before.
func (d *disk) rekeyInTime(turn *reread.Turn, file string, logger *slog.Logger) {
	turn.Look(time.Now(), 0, func() { d.rekey(file, logger) })
}

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
