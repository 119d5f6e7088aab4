package kv

import (
	"errors"
	"fmt"
	"log/slog"

	"github.com/cockroachdb/pebble/v2"
	"github.com/cockroachdb/pebble/v2/bloom"

	"github.com/mimir-kv/mimir/kv/mvcc"
)

func pebbleOptions(o *Options, cache *pebble.Cache) *pebble.Options {
	p := &pebble.Options{
		FS:                          o.FS,
		Comparer:                    mvcc.Comparer,
		Cache:                       cache,
		DisableWAL:                  true,
		FormatMajorVersion:          pebble.FormatNewest,
		MemTableSize:                o.MemTableBytes,
		MemTableStopWritesThreshold: 4,
		L0CompactionThreshold:       4,
		L0StopWritesThreshold:       64,
		MaxOpenFiles:                o.OpenTables,
		Logger:                      pebbleLogger{o.Logger},
		CompactionConcurrencyRange:  func() (int, int) { return 1, 2 },
	}
	if failed := o.OnFailure; failed != nil {
		p.EventListener = &pebble.EventListener{BackgroundError: func(err error) {
			if !errors.Is(err, pebble.ErrClosed) {
				go failed(fmt.Errorf("kv: write in the background: %w", err))
			}
		}}
	}
	for i := range p.Levels {
		p.Levels[i].FilterPolicy = bloom.FilterPolicy(10)
	}
	return p
}

// pebbleLogger passes on what Pebble complains about, and drops what it merely tells.
type pebbleLogger struct{ l *slog.Logger }

func (p pebbleLogger) Infof(string, ...any) {}

func (p pebbleLogger) Errorf(format string, args ...any) {
	p.l.Error("pebble", "err", fmt.Sprintf(format, args...))
}

func (p pebbleLogger) Fatalf(format string, args ...any) {
	message := fmt.Sprintf(format, args...)
	p.l.Error("pebble cannot go on", "err", message)
	panic("kv: pebble: " + message)
}
