package server

import (
	"cmp"
	"context"
	"fmt"
	"io"
	"log/slog"
	"strings"
	"sync"
	"sync/atomic"

	"github.com/mimir-kv/mimir/server/tracing"
)

// logs is how the log is written: one event a line, at a level and in a format that may be set while it is. It is safe
// for concurrent use.
type logs struct {
	level slog.LevelVar
	json  atomic.Bool
}

// newLogger returns the logger of a validated configuration, and how it writes.
func newLogger(c *Config, w io.Writer) (*slog.Logger, *logs) {
	l := &logs{}
	l.set(c.LogLevel, c.LogFormat)
	w = &oneAtATime{w: w}
	options := &slog.HandlerOptions{Level: &l.level}
	var h slog.Handler = &inFormat{l, slog.NewTextHandler(w, options), slog.NewJSONHandler(w, options)}
	if c.Tracing.Endpoint != "" {
		h = tracing.Handler(h)
	}
	return slog.New(h), l
}

// set changes level and format; what is empty stays. Nothing changes with an error.
func (l *logs) set(level, format string) error {
	now, how := l.now()
	level, format = cmp.Or(level, now), cmp.Or(format, how)
	if err := validateLog(level, format); err != nil {
		return fmt.Errorf("%w: %w", ErrConfig, err)
	}
	var to slog.Level
	to.UnmarshalText([]byte(level))
	l.level.Set(to)
	l.json.Store(format == "json")
	return nil
}

// now returns how the log is written.
func (l *logs) now() (level, format string) {
	level, format = strings.ToLower(l.level.Level().String()), "text"
	if l.json.Load() {
		format = "json"
	}
	return level, format
}

// inFormat writes in the format that is set.
type inFormat struct {
	logs           *logs
	inText, inJSON slog.Handler
}

// Enabled implements slog.Handler.
func (h *inFormat) Enabled(_ context.Context, level slog.Level) bool {
	return level >= h.logs.level.Level()
}

// Handle implements slog.Handler.
func (h *inFormat) Handle(ctx context.Context, r slog.Record) error {
	if h.logs.json.Load() {
		return h.inJSON.Handle(ctx, r)
	}
	return h.inText.Handle(ctx, r)
}

// WithAttrs implements slog.Handler.
func (h *inFormat) WithAttrs(attrs []slog.Attr) slog.Handler {
	return &inFormat{h.logs, h.inText.WithAttrs(attrs), h.inJSON.WithAttrs(attrs)}
}

// WithGroup implements slog.Handler.
func (h *inFormat) WithGroup(name string) slog.Handler {
	return &inFormat{h.logs, h.inText.WithGroup(name), h.inJSON.WithGroup(name)}
}

// oneAtATime keeps lines of both formats apart.
type oneAtATime struct {
	mu sync.Mutex
	w  io.Writer
}

// Write implements io.Writer.
func (o *oneAtATime) Write(p []byte) (int, error) {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.w.Write(p)
}
