package rewind

import (
	"bytes"
	"errors"
	"log/slog"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"

	"github.com/cockroachdb/pebble/v2/vfs"

	"github.com/mimir-kv/mimir/replication/durable/pebblefs"
)

// TestAPartThatStaysHindersNoStart: it goes later.
func TestAPartThatStaysHindersNoStart(t *testing.T) {
	p := newPlace(t)
	for _, part := range []string{"new.tmp", "7"} {
		if err := p.fs.MkdirAll(filepath.Join(p.config.marksDir(), part, "contents")); err != nil {
			t.Fatal(err)
		}
	}
	whole := p.fs
	p.fails("remove", syscall.EIO)
	p.fs = p.config.FS
	p.reopen()
	p.writes(8)
	p.look()
	if got := p.positions(); len(got) != 0 {
		t.Errorf("marks %v", got)
	}
	p.fs = whole
	p.heals()
	p.look()
	if got := p.in(p.config.marksDir()); !slices.Equal(got, []string{"9"}) {
		t.Errorf("on the disk %v", got)
	}
}

// TestWhatIsForgottenBesideWhatRemainsStaysSo (W6): the directory of all marks has not its name any more, and may have
// it again after a power cut.
func TestWhatIsForgottenBesideWhatRemainsStaysSo(t *testing.T) {
	p := newPlace(t)
	p.writes(8)
	p.look()
	whole := p.fs
	p.fails("sync", syscall.EIO)
	p.fs, p.every = p.config.FS, 0
	p.reopen()
	p.fs = whole
	if got := p.in("/rewind"); !slices.Equal(got, []string{"marks.tmp"}) {
		t.Fatalf("on the disk %v", got)
	}
	if err := p.Forget(t.Context()); !errors.Is(err, syscall.EIO) {
		t.Errorf("forgotten: %v", err)
	}
	p.heals()
	if err := p.Forget(t.Context()); err != nil {
		t.Fatal(err)
	}
	p.disk = p.disk.CrashClone(vfs.CrashCloneCfg{})
	p.fs, p.every = pebblefs.New(p.disk), 5
	p.reopen()
	p.empty()
}

// TestNobodyWaitsForMarksThatAreRemoved who forgets what is here: he says that he waits for a state that is made.
func TestNobodyWaitsForMarksThatAreRemoved(t *testing.T) {
	p := newPlace(t)
	p.writes(8)
	p.look()
	p.remains.dirs[p.dirOf(p.marks[0])], p.marks = nil, nil
	removes := 0
	p.config.FS = faulty{p.fs, func(call, _ string) error {
		if call == "remove" {
			removes++
			if len(p.preparing) > 0 {
				t.Error("he would wait")
			}
		}
		return nil
	}}
	p.sweep(p.config.Applied.View())
	if removes == 0 || len(p.remains.dirs) != 0 {
		t.Errorf("%d removes, to be removed %v", removes, p.remains.dirs)
	}
}

// TestWhyNoCheckpointIsMadeIsTold: which directory hinders, and how; and that it is gone.
func TestWhyNoCheckpointIsMadeIsTold(t *testing.T) {
	p := newPlace(t)
	out := new(bytes.Buffer)
	p.config.Logger = slog.New(slog.NewTextHandler(out, nil))
	p.writes(8)
	p.look()
	p.writes(16)
	p.look()
	p.least = 16
	p.fails("rename", syscall.EIO)
	for range 2 {
		p.look()
	}
	got := out.String()
	for _, line := range []string{"checkpoint not removed", "keeps no new checkpoint"} {
		if strings.Count(got, line) != 1 {
			t.Errorf("%q is not there once in\n%s", line, got)
		}
	}
	err := p.makeDue(p.config.Applied.View())
	if !errors.Is(err, syscall.EIO) || !strings.Contains(err.Error(), p.config.marksDir()+"/9 ") {
		t.Errorf("made: %v", err)
	}
	p.heals()
	for range 2 {
		p.look()
	}
	if got := out.String(); strings.Count(got, "checkpoint removed that could not be before") != 1 {
		t.Errorf("it is not told that it is gone:\n%s", got)
	}
}
