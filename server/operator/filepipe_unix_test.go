//go:build unix

package operator

import (
	"errors"
	"io"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"
)

// An audit log that hangs, here a pipe that nobody reads, keeps an operator for a moment, once: its lines go to the
// log, and where it is required the call is refused. It is used again when it goes on.
func TestAnAuditLogThatHangs(t *testing.T) {
	path := filepath.Join(t.TempDir(), "pipe")
	if err := syscall.Mkfifo(path, 0o600); err != nil {
		t.Skip("no pipes with names here: ", err)
	}
	reader, err := os.OpenFile(path, os.O_RDONLY|syscall.O_NONBLOCK, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer reader.Close()
	var log strings.Builder
	a, err := OpenAudit(AuditOptions{File: path, Logger: slog.New(slog.NewTextHandler(&log, nil))})
	if err != nil {
		t.Fatal(err)
	}
	const most = 1000 // a pipe has room for fewer
	line := func() slog.Record {
		return slog.NewRecord(time.Now(), slog.LevelInfo, strings.Repeat("x", 1<<10), 0)
	}
	for n := 0; err == nil; n++ {
		if err = a.write(line()); n == most {
			t.Fatal("the pipe is never full")
		}
	}
	if !errors.Is(err, errHangs) || !strings.Contains(log.String(), "the audit log cannot be written") ||
		!strings.Contains(a.Figures().Problem, path) {
		t.Errorf("%v, figures %+v, log %.300s", err, a.Figures(), log.String())
	}
	began := time.Now()
	for range 20 {
		if err := a.write(line()); !errors.Is(err, errHangs) {
			t.Errorf("got %v", err)
		}
	}
	if took := time.Since(began); took > 10*fileTime {
		t.Errorf("20 further lines took %v", took)
	}
	if err := a.Reopen(); !errors.Is(err, errHangs) {
		t.Errorf("opened anew: %v", err)
	}
	go io.Copy(io.Discard, reader) //nolint:errcheck // until it is closed
	for until := time.Now().Add(30 * time.Second); a.write(line()) != nil; time.Sleep(time.Millisecond) {
		if time.Now().After(until) {
			t.Fatal("it is not used again")
		}
	}
	if err := a.Close(); err != nil {
		t.Error(err)
	}
}
