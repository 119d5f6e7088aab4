package server

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"time"
)

const (
	// rekeyPace is how many bytes a second are written anew, beside what clients write.
	rekeyPace = 32 << 20
	// rekeyAgain is when it is looked again for what was in use.
	rekeyAgain = 20 * time.Second
)

// rekeying takes the keys of a data directory anew while its node runs, and writes anew what is under those of before.
type rekeying struct {
	disk   *disk
	file   string // of the keys
	logger *slog.Logger
	begun  chan struct{}
}

func newRekeying(d *disk, file string, logger *slog.Logger) *rekeying {
	return &rekeying{d, file, logger, make(chan struct{}, 1)}
}

// read takes the keys that are in their file now. With keys that cannot be used all stay as they are.
func (r *rekeying) read() {
	if r.disk.fs == nil {
		return
	}
	before := r.disk.active()
	next, err := readKeys(r.file)
	if err == nil {
		err = r.disk.fs.Change(r.disk.dir, next)
	}
	switch {
	case errors.Is(err, fs.ErrNotExist):
		r.logger.Warn("encryption-key-file is not there: the keys stay as they were", "file", r.file)
		return
	case err != nil:
		r.logger.Error("encryption-key-file not read anew: the keys stay as they were", "err", err)
		return
	}
	if now := r.disk.active(); now != before {
		r.logger.Info("new files are under another key now", "key", now, "before", before)
	}
	select {
	case r.begun <- struct{}{}:
	default:
	}
}

// run writes files anew whenever keys were read, until none is under a key of before or ctx ends.
func (r *rekeying) run(ctx context.Context) {
	var again <-chan time.Time
	total := 0
	for {
		select {
		case <-ctx.Done():
			return
		case <-r.begun:
		case <-again:
		}
		files, left, err := r.disk.fs.RenewBeside(r.disk.dir, func(bytes int64) error { return rest(ctx, bytes) })
		total += files
		switch {
		case ctx.Err() != nil:
			return
		case err != nil:
			r.logger.Error("files are not all under the key of new ones", "err", err, "written", total)
			total = 0
		case left == 0 && total > 0:
			r.logger.Info("no file is under a key of before", "written", total)
			total = 0
		}
		again = nil
		if left > 0 || err != nil {
			again = time.After(rekeyAgain)
		}
	}
}

// rest leaves the disk to others for as long as so many bytes take.
func rest(ctx context.Context, bytes int64) error {
	select {
	case <-ctx.Done():
		return fmt.Errorf("stopped: %w", ctx.Err())
	case <-time.After(time.Duration(bytes) * time.Second / rekeyPace):
		return nil
	}
}
