package rewind

import (
	"context"
	"errors"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"

	"github.com/cockroachdb/pebble/v2/vfs"

	"github.com/mimir-kv/mimir/replication/contract"
	"github.com/mimir-kv/mimir/replication/durable"
	"github.com/mimir-kv/mimir/replication/durable/pebblefs"
	"github.com/mimir-kv/mimir/replication/internal/copies"
	"github.com/mimir-kv/mimir/replication/internal/region"
	"github.com/mimir-kv/mimir/replication/timeline"
)

// faulty is a disk that is asked first whether a call fails.
type faulty struct {
	durable.FS
	fails func(call, name string) error
}

func (f faulty) Open(name string) (file durable.File, err error) {
	err = f.ask("open", name, func() error {
		file, err = f.FS.Open(name)
		return err
	})
	return file, err
}

func (f faulty) Rename(from, to string) error {
	return f.ask("rename", from, func() error { return f.FS.Rename(from, to) })
}

func (f faulty) RemoveAll(name string) error {
	return f.ask("remove", name, func() error { return f.FS.RemoveAll(name) })
}

func (f faulty) SyncDir(dir string) error {
	return f.ask("sync", dir, func() error { return f.FS.SyncDir(dir) })
}

func (f faulty) ask(call, name string, do func() error) error {
	if err := f.fails(call, name); err != nil {
		return err
	}
	return do()
}

// fails has all calls of a kind fail.
func (p *place) fails(call string, with error) {
	p.config.FS = faulty{p.fs, func(c, _ string) error {
		if c == call {
			return with
		}
		return nil
	}}
}

func (p *place) heals() { p.config.FS = p.fs }

// in returns what is in a directory.
func (p *place) in(dir string) []string {
	names, _ := p.fs.List(dir)
	slices.Sort(names)
	return names
}

var removing = []string{"rename", "sync", "remove"}

// TestAMarkThatCouldNotBeRemovedGoesLater, and meanwhile there are no more of them on the disk. Nothing of it is
// removed before it is durable that it has not its name.
func TestAMarkThatCouldNotBeRemovedGoesLater(t *testing.T) {
	for _, call := range removing {
		p := newPlace(t)
		p.writes(8)
		p.look()
		p.writes(16)
		p.look()
		p.least = 16
		p.fails(call, syscall.EIO)
		p.look()
		p.writes(22)
		p.look()
		if got := p.positions(); !slices.Equal(got, []timeline.Position{16}) || p.pinned != 18 {
			t.Errorf("%s: marks %v, log from %d", call, got, p.pinned)
		}
		left := map[string]string{"rename": "9", "sync": "9.tmp", "remove": "9.tmp"}[call]
		if got := p.in(p.config.marksDir()); !slices.Equal(got, []string{"17", left}) {
			t.Errorf("%s: on the disk %v", call, got)
		}
		if _, err := copies.ReadMetadata(p.fs, filepath.Join(p.config.marksDir(), left)); err != nil {
			t.Errorf("%s: of what is there a part is gone: %v", call, err)
		}
		p.heals()
		p.look()
		if got := p.in(p.config.marksDir()); !slices.Equal(got, []string{"17", "23"}) {
			t.Errorf("%s: on the disk in the end %v", call, got)
		}
	}
}

// TestAPartThatCouldNotBeRemovedGoesLater, also if no mark is made any more.
func TestAPartThatCouldNotBeRemovedGoesLater(t *testing.T) {
	p := newPlace(t)
	p.writes(8)
	broken := false
	p.config.FS = faulty{p.fs, func(call, _ string) error {
		if broken = broken || call == "rename"; broken {
			return syscall.EIO
		}
		return nil
	}}
	p.look()
	if got := p.in(p.config.marksDir()); len(got) != 1 {
		t.Fatalf("on the disk %v", got)
	}
	p.config.SpareBytes, p.config.FS = 1<<62, crowded{p.fs}
	p.look()
	if got := p.in(p.config.marksDir()); len(got) != 0 {
		t.Errorf("on the disk %v", got)
	}
}

// TestAStateThatCouldNotBeRemovedGoesLater, and is not here meanwhile: neither is it used, nor taken for the one that
// is to be made.
func TestAStateThatCouldNotBeRemovedGoesLater(t *testing.T) {
	for _, call := range removing {
		p := newPlace(t)
		p.writes(8)
		p.look()
		p.writes(16)
		q := p.diverges(10, 10)
		made, err := p.Prepare(t.Context(), q)
		if err != nil {
			t.Fatal(err)
		}
		p.fails(call, syscall.EIO)
		p.Discard(made.ID)
		if _, ok := p.State(made.ID); ok {
			t.Errorf("%s: it is here still", call)
		}
		if again, err := p.Prepare(t.Context(), q); err == nil {
			t.Errorf("%s: made %+v", call, again)
		}
		p.heals()
		if _, err := p.Prepare(t.Context(), q); err != nil {
			t.Errorf("%s: %v", call, err)
		}
		p.look()
		if _, ok := p.State(made.ID); !ok {
			t.Errorf("%s: what was made anew is gone", call)
		}
		p.fails(call, syscall.EIO)
		follows := region.View{State: timeline.State{Region: "us"}, Index: p.LastIndex() + 1}
		p.sweep(&follows)
		if got := p.in(p.config.statesDir()); len(got) != 1 {
			t.Errorf("%s: on the disk %v", call, got)
		}
		p.heals()
		p.look()
		if got := p.in(p.config.statesDir()); len(got) != 0 {
			t.Errorf("%s: on the disk in the end %v", call, got)
		}
	}
}

// TestWhatCouldNotBeForgottenGoesLater: nobody knows of it any more, and it takes room.
func TestWhatCouldNotBeForgottenGoesLater(t *testing.T) {
	for _, call := range removing {
		p := newPlace(t)
		p.writes(8)
		p.look()
		p.writes(16)
		p.look()
		p.fails(call, syscall.EIO)
		if err := p.Forget(t.Context()); !errors.Is(err, syscall.EIO) {
			t.Errorf("%s: forgotten: %v", call, err)
		}
		p.heals()
		p.unfit = true
		p.look()
		p.empty()
	}
	p := newPlace(t)
	p.writes(8)
	p.look()
	p.preparing <- struct{}{}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if err := p.Forget(ctx); !errors.Is(err, context.Canceled) {
		t.Errorf("forgotten while a state is made: %v", err)
	}
	<-p.preparing
	p.unfit = true
	p.look()
	p.empty()
}

// TestAStateIsMadeOnceAPowerCutLeavesIt: the region counts on it (W3).
func TestAStateIsMadeOnceAPowerCutLeavesIt(t *testing.T) {
	p := newPlace(t)
	p.writes(8)
	p.look()
	p.writes(16)
	q := p.diverges(10, 10)
	left := 2
	p.config.FS = faulty{p.fs, func(call, name string) error {
		_, err := p.fs.Stat(filepath.Join(name, "METADATA"))
		if whole := err == nil && filepath.Dir(name) == p.config.statesDir(); call != "sync" || !whole || left == 0 {
			return nil
		}
		left--
		return syscall.ENOSPC
	}}
	for range 2 {
		if made, err := p.Prepare(t.Context(), q); !durable.Full(err) {
			t.Errorf("made %+v, %v", made, err)
		}
	}
	made, err := p.Prepare(t.Context(), q)
	if err != nil {
		t.Fatal(err)
	}
	after := pebblefs.New(p.disk.CrashClone(vfs.CrashCloneCfg{}))
	if _, err := copies.ReadMetadata(after, filepath.Join(p.config.statesDir(), made.ID)); err != nil {
		t.Errorf("after a power cut: %v", err)
	}
}

// TestWhereNoMarksAreWanted those that are there go, and a state that the log may ask for stays as long as it does.
func TestWhereNoMarksAreWanted(t *testing.T) {
	p := newPlace(t)
	p.writes(8)
	p.look()
	p.writes(16)
	q := p.diverges(10, 10)
	made, err := p.Prepare(t.Context(), q)
	if err != nil {
		t.Fatal(err)
	}
	p.every = 0
	p.reopen()
	p.look()
	if got := p.in("/rewind"); len(p.positions()) != 0 || p.pinned != 0 || !slices.Equal(got, []string{"states"}) {
		t.Errorf("marks %v, log from %d, on the disk %v", p.positions(), p.pinned, got)
	}
	if _, ok := p.State(made.ID); !ok {
		t.Error("the state is not here")
	}
	if again, err := p.Prepare(t.Context(), q); err != nil || again.ID != made.ID {
		t.Errorf("made %+v, %v", again, err)
	}
	follows := region.View{State: timeline.State{Region: "us"}, Index: p.LastIndex() + 1}
	p.sweep(&follows)
	if got := p.in(p.config.statesDir()); len(got) != 0 {
		t.Errorf("on the disk %v", got)
	}
	_, err = p.Prepare(t.Context(), q)
	if !errors.Is(err, contract.ErrNotReady) || !strings.Contains(err.Error(), "keeps no checkpoints") {
		t.Errorf("made another one: %v", err)
	}
}

// TestUnwantedMarksAreTakenForNoneLater, when a removal did not come to its end.
func TestUnwantedMarksAreTakenForNoneLater(t *testing.T) {
	for _, later := range []int64{0, 5} {
		p := newPlace(t)
		p.writes(4)
		p.look()
		whole := p.fs
		p.fs = faulty{whole, func(call, _ string) error {
			if call == "remove" {
				return syscall.EIO
			}
			return nil
		}}
		p.every = 0
		p.reopen()
		if got := p.in("/rewind"); !slices.Equal(got, []string{"marks.tmp"}) {
			t.Fatalf("on the disk %v", got)
		}
		p.fs, p.every = whole, later
		if later == 0 {
			p.heals()
			p.look()
		} else {
			p.reopen()
		}
		if got := p.in("/rewind"); len(p.positions()) != 0 || len(got) != 0 {
			t.Errorf("every %d: marks %v, on the disk %v", later, p.positions(), got)
		}
	}
}

// TestNobodyWaitsForTheDisk who asks for what this node waits, while the log is read or a mark gets its name.
func TestNobodyWaitsForTheDisk(t *testing.T) {
	p := newPlace(t)
	reads, renames := 0, 0
	free := func(what string) {
		if !p.mu.TryLock() {
			t.Errorf("while %s: it is locked", what)
			return
		}
		defer p.mu.Unlock()
		if waits := p.Awaits(); waits != "" {
			t.Errorf("while %s: it %s", what, waits)
		}
	}
	p.seeks = func() { reads++; free("the log is read") }
	p.config.FS = faulty{p.fs, func(call, name string) error {
		if call == "rename" {
			renames++
			free("there is a rename of " + name)
		}
		return nil
	}}
	p.writes(8)
	p.look()
	if reads == 0 || renames == 0 || len(p.positions()) != 1 {
		t.Errorf("%d reads, %d renames, marks %v", reads, renames, p.positions())
	}
}

// TestWhatIsForgottenWhileTheLogIsReadStaysSo (W6): whoever looks which marks are kept brings none of them back.
func TestWhatIsForgottenWhileTheLogIsReadStaysSo(t *testing.T) {
	p := newPlace(t)
	p.writes(8)
	forgets := func() {
		p.seeks = nil
		if err := p.Forget(t.Context()); err != nil {
			t.Error(err)
		}
	}
	p.seeks = forgets
	p.look()
	p.empty()
}
