package main

import (
	"os"
	"path/filepath"
	"time"

	"github.com/mimir-kv/mimir/bench"
)

const (
	syncBlock = 4 << 10
	syncFile  = 1 << 20
	syncs     = 100
	syncsLast = 500 * time.Millisecond // at most, but for the first ones
	syncsMin  = 10
)

// syncTime is the median of what it takes to write 4 KiB over what a file has, and to sync them.
func syncTime(dir string) (time.Duration, error) {
	f, err := os.Create(filepath.Join(dir, "synced"))
	if err != nil {
		return 0, err
	}
	defer os.Remove(f.Name())
	defer f.Close()
	if _, err := f.Write(make([]byte, syncFile)); err != nil {
		return 0, err
	}
	if err := f.Sync(); err != nil {
		return 0, err
	}
	var took bench.Histogram
	block := make([]byte, syncBlock)
	began := time.Now()
	for n := range syncs {
		block[0] = byte(n)
		start := time.Now()
		if _, err := f.WriteAt(block, int64(n*syncBlock%syncFile)); err != nil {
			return 0, err
		}
		if err := syncData(f); err != nil {
			return 0, err
		}
		took.Add(time.Since(start))
		if n >= syncsMin && time.Since(began) > syncsLast {
			break
		}
	}
	return took.Quantile(0.5), nil
}
