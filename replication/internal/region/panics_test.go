package region

import (
	"errors"
	"io"
	"runtime"
	"slices"
	"testing"

	"github.com/cockroachdb/pebble/v2/vfs"

	"github.com/mimir-kv/mimir/replication/clock/virtual"
	"github.com/mimir-kv/mimir/replication/contract"
	"github.com/mimir-kv/mimir/replication/durable"
	"github.com/mimir-kv/mimir/replication/durable/pebblefs"
	"github.com/mimir-kv/mimir/replication/internal/enginetest"
)

// panicking is a storage that panics in one call of the method that it is told.
type panicking struct {
	contract.Storage
	in string
}

func (p *panicking) enter(method string) {
	if p.in == method {
		p.in = ""
		panic("on fire")
	}
}

func (p *panicking) Apply(b *contract.Batch) ([][]byte, error) {
	p.enter("Apply")
	return p.Storage.Apply(b)
}

func (p *panicking) Sync() error {
	p.enter("Sync")
	return p.Storage.Sync()
}

func (p *panicking) Snapshot() (contract.Snapshot, error) {
	p.enter("Snapshot")
	return p.Storage.Snapshot()
}

func (p *panicking) Restore(r io.Reader, m *contract.Metadata) error {
	p.enter("Restore")
	return p.Storage.Restore(r, m)
}

// panics expects a panic of f.
func panics(t *testing.T, f func()) {
	t.Helper()
	defer func() {
		if recover() == nil {
			t.Error("no panic")
		}
	}()
	f()
}

// What was decided and given to a storage that panicked is not saved as if it had been taken: a node that starts again
// is given it again.
func TestWhatAPanicLeftIsNotSaved(t *testing.T) {
	for _, kind := range kinds[:2] {
		fs := pebblefs.New(vfs.NewCrashableMem())
		if err := durable.MakeDir(fs, dataDir); err != nil {
			t.Fatal(err)
		}
		e, s, err := kind.open(fs)
		if err != nil {
			t.Fatal(err)
		}
		storage := &panicking{Storage: s}
		p, a := newPlace(t, "us", fs, e, storage).load(), newAuthor(t, "us")
		p.apply(a.begin(1, "us"), a.frame("a"))
		entries := p.enter(1, a.frame("b", "c"), nil)
		storage.in = "Apply"
		panics(t, func() { _ = p.Apply(entries) })
		p.goesOn(errUnfinished)
		c := p.engine.Content()
		if len(c.Commands) != 1 || c.Meta.Position != 1 || c.Meta.AppliedIndex != 2 || p.config.Keeper.Kept() > 2 {
			t.Errorf("%s: the storage has %q, and says %+v; entry %d is kept", kind.name, c.Commands, c.Meta,
				p.config.Keeper.Kept())
		}
		again := newPlace(t, "us", fs, e, s).load()
		err = again.Apply(entries)
		if got := again.commands(); err != nil || !slices.Equal(got, []string{"a", "b", "c"}) {
			t.Errorf("%s: started again: %q, %v", kind.name, got, err)
		}
	}
}

// Nothing is done either behind a panic of whoever put another state in place, or took hold of the one here.
func TestNothingIsDoneBehindAPanic(t *testing.T) {
	install := func(p *place) { _, _, _, _ = p.Install("/staging/own") }
	rebuild := func(p *place) { _ = p.Rebuild(p.t.Context(), "/aside/1", mayBe) }
	hold := func(p *place) { _, _ = p.Hold("/copy") }
	for _, test := range []struct {
		in string
		by func(p *place)
	}{
		{"Restore", install}, {"Sync", install}, {"Restore", rebuild}, {"Sync", rebuild}, {"Snapshot", rebuild},
		{"Snapshot", hold},
	} {
		storage := &panicking{}
		s, disk := newScript(t), vfs.NewCrashableMem()
		p := running(t, s, disk, pebblefs.New(disk), byOrder,
			func(fs durable.FS) (*enginetest.Engine, contract.Storage, error) {
				e, err := enginetest.Open(fs, dataDir+"/engine")
				storage.Storage = e
				return e, storage, err
			})
		storage.in = test.in
		panics(t, func() { test.by(p) })
		_, held := p.Hold("/held")
		_, checkpoint := p.Checkpoint("/checkpoint")
		_, _, _, installed := p.Install("/staging/own")
		for what, err := range map[string]error{
			"apply": p.Apply(nil), "hold": held, "checkpoint": checkpoint, "install": installed,
			"rebuild": p.Rebuild(t.Context(), "/aside/2", mayBe),
		} {
			if !errors.Is(err, errUnfinished) {
				t.Errorf("behind a panic in %s: %s goes on: %v", test.in, what, err)
			}
		}
	}
}

// exiting is a storage whose Apply and Sync end their goroutine.
type exiting struct{ contract.Storage }

func (exiting) Apply(*contract.Batch) ([][]byte, error) {
	runtime.Goexit()
	return nil, nil
}

func (exiting) Sync() error {
	runtime.Goexit()
	return nil
}

// A step whose goroutine ended is not done either, and ends the node.
func TestNothingIsDoneBehindAGoexit(t *testing.T) {
	e := enginetest.Volatile()
	p, a := newPlace(t, "us", memory(), e, exiting{e}).load(), newAuthor(t, "us")
	entries := p.enter(1, a.begin(1, "us"), a.frame("a"))
	for _, step := range []func(){func() { _ = p.Apply(entries) }, func() { _, _ = p.Sync() }} {
		done := make(chan struct{})
		go func() {
			defer close(done)
			step()
		}()
		<-done
	}
	if err := p.Apply(nil); !errors.Is(err, errUnfinished) || !p.ends.by(errUnfinished) {
		t.Errorf("%v, ended by %v", err, p.ends.told)
	}
	if _, err := p.Sync(); !errors.Is(err, errUnfinished) {
		t.Errorf("the sync behind it: %v", err)
	}
}

// burning is a storage whose second Sync panics. Each takes until the test lets it.
type burning struct {
	contract.Storage
	began, ends chan struct{}
	calls       int
}

func (b *burning) Sync() error {
	b.calls++
	b.began <- struct{}{}
	<-b.ends
	if b.calls == 2 {
		panic("on fire")
	}
	return nil
}

// Who waits for a Sync that panics is told, and so is everybody behind it: a node that ends waits for them.
func TestAPanicOfASyncHoldsNobodyUp(t *testing.T) {
	virtual.Test(t, func(t *testing.T) {
		e, panicked := enginetest.Volatile(), errors.New("panicked")
		storage := &burning{Storage: e, began: make(chan struct{}), ends: make(chan struct{})}
		p := newPlace(t, "us", memory(), e, storage).load()
		done := make(chan error, 3)
		sync := func() {
			go func() {
				var err error
				defer func() {
					if recover() != nil {
						err = panicked
					}
					done <- err
				}()
				_, err = p.Sync()
			}()
		}
		sync()
		<-storage.began
		sync() // these two share the next one
		sync()
		virtual.Wait()
		storage.ends <- struct{}{}
		<-storage.began
		virtual.Wait()
		storage.ends <- struct{}{}
		counts := map[error]int{}
		for range 3 {
			err := <-done
			if errors.Is(err, errUnfinished) {
				err = errUnfinished
			}
			counts[err]++
		}
		if counts[nil] != 1 || counts[panicked] != 1 || counts[errUnfinished] != 1 {
			t.Errorf("ended as %v", counts)
		}
		if _, err := p.Sync(); !errors.Is(err, errUnfinished) || storage.calls != 2 {
			t.Errorf("behind it: %v, after %d calls", err, storage.calls)
		}
	})
}
