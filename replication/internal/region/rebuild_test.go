package region

import (
	"context"
	"errors"
	"io"
	"runtime"
	"slices"
	"strings"
	"testing"

	"github.com/cockroachdb/pebble/v2/vfs"

	"github.com/mimir-kv/mimir/replication/clock/virtual"
	"github.com/mimir-kv/mimir/replication/contract"
	"github.com/mimir-kv/mimir/replication/durable"
	"github.com/mimir-kv/mimir/replication/durable/pebblefs"
	"github.com/mimir-kv/mimir/replication/internal/copies"
	"github.com/mimir-kv/mimir/replication/internal/enginetest"
	"github.com/mimir-kv/mimir/replication/timeline"
)

// byOrder is one more way to another state. It waits for no room: what cannot be kept is told, and nothing changed.
var byOrder = way{
	name:    "the state of a sibling, by order",
	prepare: func(t *testing.T, s *script, fs durable.FS) { s.ownCopy(t, fs, "/staging/own") },
	equip: func(p *place) {
		p.staged["own"] = "/staging/own"
		p.give = func(uint64) (string, error) { return "own", nil }
	},
	enter: func(p *place, _ *script) error { return p.Rebuild(p.t.Context(), "/aside/1", mayBe) },
	want:  later, base: timeline.Base{Index: 6, Position: 5},
}

func mayBe() error { return nil }

// A node that is rebuilt keeps what it had.
func TestARebuildKeepsWhatWasHere(t *testing.T) {
	for _, kind := range kinds {
		s, disk := newScript(t), vfs.NewCrashableMem()
		w := byOrder
		p := running(t, s, disk, pebblefs.New(disk), w, kind.open)
		index := p.index
		if err := w.enter(p, s); err != nil {
			t.Fatal(err)
		}
		meta, err := copies.ReadMetadata(p.fs, "/aside/1")
		if err != nil || meta.AppliedIndex != index || p.index <= index {
			t.Errorf("%s: kept %+v, %v; now at entry %d, before at %d", kind.name, meta, err, p.index, index)
		}
	}
}

// Where no sibling gives its state nothing changes, and nothing is kept.
func TestARebuildThatCannotBe(t *testing.T) {
	for _, kind := range kinds {
		s, disk := newScript(t), vfs.NewCrashableMem()
		p := running(t, s, disk, pebblefs.New(disk), byOrder, kind.open)
		before := p.commands()
		for what, give := range map[string]func(uint64) (string, error){
			"no other node": newPlace(t, "us", p.fs, p.engine, p.engine).give,
			"no such copy":  func(uint64) (string, error) { return "none", nil },
		} {
			p.give = give
			err := p.Rebuild(t.Context(), "/aside/1", mayBe)
			if err == nil || !strings.Contains(err.Error(), what) || !slices.Equal(p.commands(), before) {
				t.Errorf("%v, holds %q", err, p.commands())
			}
			if _, err := copies.ReadMetadata(p.fs, "/aside/1"); err == nil {
				t.Errorf("%s: what is here is kept, and nothing took its place", what)
			}
			p.check()
		}
	}
}

// failing is a storage that cannot do what it is told that it cannot.
type failing struct {
	contract.Storage
	sync, copy error
}

func (f *failing) Sync() error {
	if f.sync != nil {
		return f.sync
	}
	return f.Storage.Sync()
}

func (f *failing) Snapshot() (contract.Snapshot, error) {
	v, err := f.Storage.Snapshot()
	if f.copy != nil {
		return failingView{v, f.copy}, err
	}
	return v, err
}

type failingView struct {
	contract.Snapshot
	err error
}

func (v failingView) WriteTo(w io.Writer) (int64, error) {
	n, _ := w.Write([]byte("the beginning"))
	return int64(n), v.err
}

func runningFailing(t *testing.T) (*place, *failing) {
	f := &failing{}
	s, disk := newScript(t), vfs.NewCrashableMem()
	p := running(t, s, disk, pebblefs.New(disk), byOrder,
		func(fs durable.FS) (*enginetest.Engine, contract.Storage, error) {
			e, err := enginetest.Open(fs, dataDir+"/engine")
			f.Storage = e
			return e, f, err
		})
	return p, f
}

// Where it is not known which state the storage has, nothing is applied or copied any more, and what was here is kept.
func TestARebuildThatEndsHalfWay(t *testing.T) {
	p, f := runningFailing(t)
	f.sync = errors.New("no sync")
	if err := p.Rebuild(t.Context(), "/aside/1", mayBe); !errors.Is(err, ErrTorn) || !errors.Is(err, f.sync) {
		t.Errorf("%v", err)
	}
	if _, err := copies.ReadMetadata(p.fs, "/aside/1"); err != nil {
		t.Errorf("what was here is not kept: %v", err)
	}
	if !p.ends.by(ErrTorn) {
		t.Errorf("ended by %v", p.ends.told)
	}
	f.sync = nil
	_, held := p.Hold("/held")
	_, _, _, installed := p.Install("/staging/own")
	for what, err := range map[string]error{
		"apply": p.Apply(nil), "install": installed, "hold": held, "rebuild": p.Rebuild(t.Context(), "/aside/2", mayBe),
	} {
		if !errors.Is(err, ErrTorn) {
			t.Errorf("%s goes on: %v", what, err)
		}
	}
}

// endless is a storage whose views are written until that is ended.
type endless struct {
	contract.Storage
	begun func()
}

type endlessView struct {
	contract.Snapshot
	begun func()
}

func (e *endless) Snapshot() (contract.Snapshot, error) {
	v, err := e.Storage.Snapshot()
	if e.begun == nil {
		return v, err
	}
	return endlessView{v, e.begun}, err
}

func (v endlessView) WriteTo(w io.Writer) (n int64, err error) {
	for range 1 << 26 { // one that nobody ends comes to its end
		if _, err = w.Write(nil); err != nil {
			break
		}
		v.begun()
	}
	return n, err
}

// A copy of what is here is as long to write as the state is: it ends with who wants it, or with the node. So does that
// of what the history here has alone, where the log does not reach back so far.
func TestARebuildEndsWhileItKeepsWhatIsHere(t *testing.T) {
	for _, what := range []string{"keep what is here", "take the state of another node"} {
		ctx, cancel := context.WithCancel(t.Context())
		f := &endless{}
		s, disk := newScript(t), vfs.NewCrashableMem()
		p := running(t, s, disk, pebblefs.New(disk), byOrder,
			func(fs durable.FS) (*enginetest.Engine, contract.Storage, error) {
				e, err := enginetest.Open(fs, dataDir+"/engine")
				f.Storage = e
				return e, f, err
			})
		begun := func() {
			cancel()
			runtime.Gosched() // what waits for the end of ctx has a goroutine of its own
		}
		give := p.give
		p.give = func(least uint64) (string, error) { // what is here is kept by then
			f.begun = begun
			return give(least)
		}
		if what == "keep what is here" {
			f.begun = begun
		}
		before := p.commands()
		err := p.Rebuild(ctx, "/aside/1", mayBe)
		if !errors.Is(err, context.Canceled) || !strings.Contains(err.Error(), what) {
			t.Errorf("%s: %v", what, err)
		}
		if left, _ := p.fs.List("/aside"); len(left) > 0 || !slices.Equal(p.commands(), before) {
			t.Errorf("%s: left %q, holds %q", what, left, p.commands())
		}
		p.check()
	}
}

// What cannot be kept whole is not left over, and nothing takes the place of what is here.
func TestARebuildThatCannotKeepWhatIsHere(t *testing.T) {
	p, f := runningFailing(t)
	f.copy = errors.New("no copy")
	before := p.commands()
	err := p.Rebuild(t.Context(), "/aside/1", mayBe)
	if left, _ := p.fs.List("/aside"); !errors.Is(err, f.copy) || len(left) > 0 || !slices.Equal(p.commands(), before) {
		t.Errorf("%v; left over %q, holds %q", err, left, p.commands())
	}
	p.check()
}

// A region that shows its history late is told so at once: nothing is held up, and no sibling is asked.
func TestARebuildOfALateRegion(t *testing.T) {
	p, _ := runningFailing(t)
	late := *p.seen.View()
	late.State.Delay = &timeline.Delay{}
	p.seen.Publish(&late)
	if err := p.Rebuild(t.Context(), "/aside/1", mayBe); !errors.Is(err, contract.ErrArgument) {
		t.Errorf("%v", err)
	}
}

// Where the turn is not to be had nobody waits for it for long, nor when he leaves: as long as it waits, the node is
// not elected.
func TestARebuildWaitsForItsTurnForAWhile(t *testing.T) {
	virtual.Test(t, func(t *testing.T) {
		p, _ := runningFailing(t)
		p.mu.Lock()
		if err := p.Rebuild(t.Context(), "/aside/1", mayBe); !errors.Is(err, contract.ErrNotReady) {
			t.Errorf("behind another state that comes: %v", err)
		}
		left, leave := context.WithCancel(t.Context())
		leave()
		if err := p.Rebuild(left, "/aside/1", mayBe); !errors.Is(err, context.Canceled) {
			t.Errorf("who leaves: %v", err)
		}
		p.mu.Unlock()
		p.check()
	})
}

// What says that it must not be is asked when nothing is applied any more.
func TestARebuildThatMustNotBe(t *testing.T) {
	p, _ := runningFailing(t)
	leads := errors.New("it leads")
	err := p.Rebuild(t.Context(), "/aside/1", func() error {
		select {
		case p.mu <- struct{}{}:
			t.Error("something may be applied")
		default:
		}
		return leads
	})
	if left, _ := p.fs.List("/aside"); !errors.Is(err, leads) || len(left) > 0 {
		t.Errorf("%v, left over %q", err, left)
	}
	p.check()
}

// TestARebuildForgetsWhatWasCopied of the state that was here: before another one takes its place, and while nothing
// can be applied or copied. What cannot be forgotten keeps it from being.
func TestARebuildForgetsWhatWasCopied(t *testing.T) {
	for _, want := range []error{nil, errors.New("it is there still")} {
		s, disk := newScript(t), vfs.NewCrashableMem()
		p := running(t, s, disk, pebblefs.New(disk), byOrder, kinds[2].open)
		was, forgot := p.commands(), 0
		p.forgot = func() error {
			select {
			case p.mu <- struct{}{}:
				t.Error("something may be applied")
			default:
			}
			if forgot++; !slices.Equal(p.commands(), was) {
				t.Errorf("another state was here already: %q", p.commands())
			}
			return want
		}
		err := p.Rebuild(t.Context(), "/aside/1", mayBe)
		if !errors.Is(err, want) || forgot != 1 || slices.Equal(p.commands(), was) != (want != nil) {
			t.Errorf("%v, forgot %d times, holds %q", err, forgot, p.commands())
		}
		p.check()
	}
}

// TestARebuildBehindWhatIsKept: the copy that stands for a volatile storage after a crash is replaced by none that is
// no newer, so that the state that takes the place of what is here has to be.
func TestARebuildBehindWhatIsKept(t *testing.T) {
	s, disk := newScript(t), vfs.NewCrashableMem()
	p := running(t, s, disk, pebblefs.New(disk), byOrder, kinds[0].open)
	kept, err := p.keep()
	if err != nil || kept != p.index {
		t.Fatalf("kept up to %d of %d, %v", kept, p.index, err)
	}
	if err := byOrder.enter(p, s); err != nil || !slices.Equal(p.asked, []uint64{kept + 1}) {
		t.Errorf("asked for %d, %v; what is kept is of %d", p.asked, err, kept)
	}
}
