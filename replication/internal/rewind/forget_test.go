package rewind

import (
	"context"
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/mimir-kv/mimir/replication/clock/virtual"
	"github.com/mimir-kv/mimir/replication/contract"
)

// empty fails the test if anything is left on the disk that a process, this or the next, could go back by.
func (p *place) empty() {
	p.t.Helper()
	for range 2 {
		if got := p.positions(); len(got) != 0 || p.pinned != 0 {
			p.t.Errorf("marks %v, log from %d", got, p.pinned)
		}
		for _, dir := range []string{p.config.marksDir(), p.config.statesDir()} {
			if names, _ := p.fs.List(dir); len(names) != 0 {
				p.t.Errorf("in %s: %v", dir, names)
			}
		}
		p.reopen()
	}
}

// TestWhatWasReplacedDoesNotComeBack (W6): neither a mark nor a state that was made of what was here is used when that
// was wrong, and another took its place.
func TestWhatWasReplacedDoesNotComeBack(t *testing.T) {
	p := newPlace(t)
	p.writes(8)
	p.look()
	p.writes(16)
	q := p.diverges(12, 12)
	made, err := p.Prepare(t.Context(), q)
	if err != nil {
		t.Fatal(err)
	}
	if err := p.Forget(t.Context()); err != nil {
		t.Fatal(err)
	}
	if _, ok := p.State(made.ID); ok {
		t.Error("a state is here still")
	}
	if made, err := p.Prepare(t.Context(), q); !errors.Is(err, contract.ErrNotReady) {
		t.Errorf("made %+v, %v", made, err)
	}
	p.empty()
}

// TestWhatCouldNotBeRemovedIsForgotten (W6): a mark that is on the disk still, although nobody here knows of it.
func TestWhatCouldNotBeRemovedIsForgotten(t *testing.T) {
	p := newPlace(t)
	p.writes(8)
	p.look()
	p.marks = nil
	if err := p.Forget(t.Context()); err != nil {
		t.Fatal(err)
	}
	p.empty()
}

// TestWhatIsMadeMeanwhileIsForgotten as well: a mark of which the state is held, and a state that is replayed.
func TestWhatIsMadeMeanwhileIsForgotten(t *testing.T) {
	p := newPlace(t)
	p.writes(4)
	p.held = func() {
		if err := p.Forget(t.Context()); err != nil {
			t.Error(err)
		}
	}
	p.look()
	p.empty()

	p = newPlace(t)
	p.writes(8)
	p.look()
	p.writes(16)
	q, forgot := p.diverges(16, 16), make(chan error, 1)
	p.config.Brancher = branching{p.config.Brancher, func() {
		go func() { forgot <- p.Forget(t.Context()) }()
		for n := 0; n == 0; {
			p.mu.Lock()
			n = p.forgot
			p.mu.Unlock()
		}
	}}
	if made, err := p.Prepare(t.Context(), q); !errors.Is(err, contract.ErrNotReady) {
		t.Errorf("made %+v, %v", made, err)
	}
	if err := <-forgot; err != nil {
		t.Error(err)
	}
	p.empty()
}

// TestWhoForgetsSaysForWhatHeWaits: an engine that hangs while it makes a state is waited for no longer than whoever is
// silent is, nor than whoever asked waits himself, and people are told meanwhile.
func TestWhoForgetsSaysForWhatHeWaits(t *testing.T) {
	virtual.Test(t, func(t *testing.T) {
		p := newPlace(t)
		p.writes(8)
		p.look()
		p.writes(16)
		q, hangs, goesOn := p.diverges(16, 16), make(chan struct{}), make(chan struct{})
		p.config.Brancher = branching{p.config.Brancher, func() {
			close(hangs)
			<-goesOn
		}}
		made := make(chan error, 1)
		go func() {
			_, err := p.Prepare(t.Context(), q)
			made <- err
		}()
		<-hangs
		if waits := p.Awaits(); waits != "" {
			t.Errorf("before: it %s", waits)
		}
		forgot := make(chan error, 1)
		go func() { forgot <- p.Forget(t.Context()) }()
		time.Sleep(time.Minute)
		if waits := p.Awaits(); !strings.Contains(waits, "for 1m0s") {
			t.Errorf("while it waits: it %q", waits)
		}
		if err := <-forgot; !errors.Is(err, contract.ErrNotReady) || !strings.Contains(err.Error(), "is given up") {
			t.Errorf("forgotten: %v", err)
		}
		ctx, cancel := context.WithTimeoutCause(t.Context(), time.Second, errors.New("he waits no longer"))
		defer cancel()
		if err := p.Forget(ctx); err == nil || !strings.Contains(err.Error(), "he waits no longer") {
			t.Errorf("forgotten: %v", err)
		}
		if waits := p.Awaits(); waits != "" {
			t.Errorf("afterwards: it %s", waits)
		}
		close(goesOn)
		if err := <-made; !errors.Is(err, contract.ErrNotReady) {
			t.Errorf("made: %v", err)
		}
		if err := p.Forget(t.Context()); err != nil {
			t.Error(err)
		}
		p.empty()
	})
}

type branching struct {
	contract.Brancher
	meanwhile func()
}

func (b branching) Branch(dir string) (contract.Branch, error) {
	b.meanwhile()
	return b.Brancher.Branch(dir)
}

// TestAWrongStateHasNoMarks (W6): none is made of it, none stays, and none is gone on from.
func TestAWrongStateHasNoMarks(t *testing.T) {
	p := newPlace(t)
	p.writes(8)
	p.look()
	p.writes(16)
	q := p.diverges(12, 12)
	p.unfit = true
	if made, err := p.Prepare(t.Context(), q); !errors.Is(err, contract.ErrNotReady) {
		t.Errorf("made %+v, %v", made, err)
	}
	p.look()
	p.empty()
	p = newPlace(t)
	p.unfit = true
	p.writes(8)
	p.look()
	p.empty()
}
