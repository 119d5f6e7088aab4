package rewind

import (
	"context"
	"errors"
	"slices"
	"syscall"
	"testing"

	"github.com/mimir-kv/mimir/replication/timeline"
)

// unread is a place with a mark that could not be read when the process began, and can be now.
func unread(t *testing.T) *place {
	p := newPlace(t)
	p.writes(8)
	p.look()
	whole := p.fs
	p.fails("open", syscall.EIO)
	p.fs = p.config.FS
	p.reopen()
	p.look()
	p.fs = whole
	if got := p.positions(); len(got) != 0 {
		t.Fatalf("marks %v", got)
	}
	p.heals()
	return p
}

// TestAMarkThatCouldNotBeReadIsOneLater, also while the region gives way, which is when it is needed.
func TestAMarkThatCouldNotBeReadIsOneLater(t *testing.T) {
	p := unread(t)
	p.writes(16)
	q := p.diverges(10, 10)
	p.look()
	if got := p.positions(); !slices.Equal(got, []timeline.Position{8}) || p.pinned != 10 {
		t.Errorf("marks %v, log from %d", got, p.pinned)
	}
	if _, err := p.Prepare(t.Context(), q); err != nil {
		t.Error(err)
	}
}

// TestAMarkThatCouldNotBeReadGoesWithTheOthers, where it is forgotten or in the way.
func TestAMarkThatCouldNotBeReadGoesWithTheOthers(t *testing.T) {
	p := unread(t)
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	p.preparing <- struct{}{}
	if err := p.Forget(ctx); !errors.Is(err, context.Canceled) {
		t.Errorf("forgotten while a state is made: %v", err)
	}
	<-p.preparing
	if p.reread(); len(p.positions()) != 0 {
		t.Errorf("marks %v", p.positions())
	}
	if err := p.Forget(t.Context()); err != nil {
		t.Fatal(err)
	}
	p.unfit = true
	p.look()
	p.empty()

	p = unread(t)
	p.fails("open", syscall.EIO)
	p.config.SpareBytes, p.config.FS = 1<<62, crowded{p.config.FS}
	p.look()
	p.heals()
	p.empty()
}

// TestAMarkThatCannotBeReadIsOfNoUse once it is of another history, or the log does not lead on from it; until then it
// has the place of one (W2).
func TestAMarkThatCannotBeReadIsOfNoUse(t *testing.T) {
	for name, c := range map[string]struct{ base, released uint64 }{"base": {base: 10}, "released": {released: 11}} {
		p := unread(t)
		p.writes(16)
		p.fails("open", syscall.EIO)
		if p.thin(9); len(p.unread) != 1 {
			t.Errorf("%s: gone while it may be of use", name)
		}
		p.released = c.released
		p.thin(c.base)
		if names := p.in(p.config.marksDir()); len(p.unread) > 0 || len(names) > 0 {
			t.Errorf("%s: there is still %v of %v", name, p.unread, names)
		}
	}
}

// TestAMarkThatCannotBeReadHasThePlaceOfOne (W2).
func TestAMarkThatCannotBeReadHasThePlaceOfOne(t *testing.T) {
	p := unread(t)
	p.fails("open", syscall.EIO)
	for to := timeline.Position(14); to <= 32; to += 6 {
		p.writes(to)
		p.look()
	}
	if names := p.in(p.config.marksDir()); len(p.unread) != 1 || len(names) != maxMarks {
		t.Errorf("on the disk: %v", names)
	}
}

// TestAStateThatCannotBeReadNowIsNotMadeAnew, and is here if it is known to be whole.
func TestAStateThatCannotBeReadNowIsNotMadeAnew(t *testing.T) {
	p := newPlace(t)
	p.writes(8)
	p.look()
	p.writes(16)
	q := p.diverges(10, 10)
	made, err := p.Prepare(t.Context(), q)
	if err != nil {
		t.Fatal(err)
	}
	here := func(when string, want bool) {
		t.Helper()
		if _, ok := p.State(made.ID); ok != want {
			t.Errorf("%s: it is here: %v", when, ok)
		}
	}
	p.fails("open", syscall.EIO)
	here("while it cannot be read", true)
	if again, err := p.Prepare(t.Context(), q); !errors.Is(err, syscall.EIO) {
		t.Errorf("made %+v, %v", again, err)
	}
	p.reopen()
	p.fails("open", syscall.EIO)
	here("after a start", true)
	whole := p.fs
	p.fs = p.config.FS
	p.reopen()
	here("while nobody could read it", false)
	p.fs = whole
	p.heals()
	here("in the end", true)
	p.Discard(made.ID)
	here("discarded", false)
}
