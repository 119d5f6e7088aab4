package region

import (
	"errors"
	"io"
	"slices"
	"syscall"
	"testing"

	"github.com/mimir-kv/mimir/replication/contract"
	"github.com/mimir-kv/mimir/replication/durable"
	"github.com/mimir-kv/mimir/replication/internal/copies"
	"github.com/mimir-kv/mimir/replication/internal/enginetest"
	"github.com/mimir-kv/mimir/replication/timeline"
)

// ending is a storage whose node ends while its content is written out.
type ending struct {
	contract.Storage
	end func()
}

func (e *ending) Snapshot() (contract.Snapshot, error) {
	v, err := e.Storage.Snapshot()
	return endingView{v, e.end}, err
}

type endingView struct {
	contract.Snapshot
	end func()
}

func (v endingView) WriteTo(w io.Writer) (int64, error) {
	v.end()
	return v.Snapshot.WriteTo(w)
}

// TestAStateThatANodeLeftInMemoryIsKeptBeforeTheLogBeginsBehindIt: an embedder may start the next node of the process
// with the same storage, and a power cut would leave a log that begins behind everything that is kept.
func TestAStateThatANodeLeftInMemoryIsKeptBeforeTheLogBeginsBehindIt(t *testing.T) {
	fs, sent := memory(), enginetest.Volatile()
	sender, a := newPlace(t, "us", fs, sent, sent).load(), newAuthor(t, "us")
	sender.apply(a.begin(1, "us"), a.frame("a"), a.frame("b"))
	sender.copyHere("/received")

	e := enginetest.Volatile()
	storage := &ending{Storage: e}
	p := newPlace(t, "us", fs, e, storage).load()
	storage.end = p.config.Maker.End
	_, _, _, err := p.Install("/received")
	if !errors.Is(err, copies.ErrReplaced) || p.config.Keeper.Kept() != 0 ||
		!slices.Equal(p.commands(), sender.commands()) {
		t.Fatalf("%v, kept %d, has %q", err, p.config.Keeper.Kept(), p.commands())
	}
	leads := newPlace(t, "us", fs, e, e)
	leads.log.terms[3] = 1
	if leads.load(); leads.config.Keeper.Kept() != 0 {
		t.Errorf("kept %d, where the log leads to the state", leads.config.Keeper.Kept())
	}
	next := newPlace(t, "us", fs, e, e).load()
	if next.index != 3 || next.config.Keeper.Kept() != 3 {
		t.Errorf("the next node is at %d, and kept is %d", next.index, next.config.Keeper.Kept())
	}
	e = enginetest.Volatile()
	if after := newPlace(t, "us", fs, e, e).load(); !slices.Equal(after.commands(), sender.commands()) {
		t.Errorf("another process has %q", after.commands())
	}
}

// So is one that an entry installed: the log holds the entry, and the copy that it names may go.
func TestAStateThatAnEntryLeftInMemoryIsKept(t *testing.T) {
	s, fs, e := newScript(t), memory(), enginetest.Volatile()
	s.sourceCopy(t, fs, "/source")
	storage := &ending{Storage: e, end: func() {}}
	p := newPlace(t, "us", fs, e, storage).load()
	p.staged["copy"] = "/source"
	p.apply(s.old...)
	storage.end = func() {
		if slices.Equal(p.commands(), after) { // and not the tail, which is saved before
			p.config.Maker.End()
		}
	}
	if err := p.Apply(p.enter(1, s.install)); !errors.Is(err, ErrTorn) || p.config.Keeper.Kept() != 0 {
		t.Fatalf("%v, kept %d", err, p.config.Keeper.Kept())
	}
	full := newPlace(t, "us", noRoom{fs}, e, e)
	full.log.terms[p.log.last] = 1
	if _, err := full.Load(&timeline.State{Region: "us"}); !errors.Is(err, syscall.ENOSPC) {
		t.Errorf("only memory has it, and there is no room for it: %v", err)
	}
	next := newPlace(t, "us", fs, e, e)
	next.log.terms[p.log.last] = 1
	if next.load(); next.index != p.log.last || next.config.Keeper.Kept() != next.index {
		t.Errorf("the next node is at %d, and kept is %d", next.index, next.config.Keeper.Kept())
	}
	e = enginetest.Volatile()
	if after := newPlace(t, "us", fs, e, e).load(); !slices.Equal(after.commands(), next.commands()) {
		t.Errorf("another process has %q", after.commands())
	}
}

// noRoom is a disk on which no file can be made.
type noRoom struct{ durable.FS }

func (noRoom) Create(string) (durable.File, error) { return nil, syscall.ENOSPC }

// crowdedSync is a storage that has no room to sync.
type crowdedSync struct{ contract.Storage }

func (crowdedSync) Sync() error { return syscall.ENOSPC }

// A node that has its state by an install starts on a full disk: what makes room is written to a node that runs.
func TestANodeStartsWhereThereIsNoRoomToSettle(t *testing.T) {
	s, fs := newScript(t), memory()
	s.sourceCopy(t, fs, "/source")
	e, err := enginetest.Open(fs, dataDir+"/engine")
	if err != nil {
		t.Fatal(err)
	}
	p := newPlace(t, "us", fs, e, e).load()
	p.staged["copy"] = "/source"
	p.apply(append(slices.Clone(s.old), s.install)...)
	next := newPlace(t, "us", fs, e, crowdedSync{e})
	next.log.terms[p.log.last] = 1
	if next.load(); next.index != p.log.last {
		t.Errorf("it is at %d", next.index)
	}
	lost := newPlace(t, "us", fs, e, crowdedSync{e})
	if _, err := lost.Load(&timeline.State{Region: "us"}); !errors.Is(err, syscall.ENOSPC) {
		t.Errorf("the log would begin behind a state that is not durable: %v", err)
	}
}
