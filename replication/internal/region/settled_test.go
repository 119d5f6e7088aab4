package region

import (
	"errors"
	"io"
	"slices"
	"testing"

	"github.com/mimir-kv/mimir/replication/contract"
	"github.com/mimir-kv/mimir/replication/internal/copies"
	"github.com/mimir-kv/mimir/replication/internal/enginetest"
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
	next := newPlace(t, "us", fs, e, e)
	next.log.terms[3] = 1 // the log has the entry that named the state, but not what is in it
	if next.load(); next.index != 3 || next.config.Keeper.Kept() != 3 {
		t.Errorf("the next node is at %d, and kept is %d", next.index, next.config.Keeper.Kept())
	}
	e = enginetest.Volatile()
	if after := newPlace(t, "us", fs, e, e).load(); !slices.Equal(after.commands(), sender.commands()) {
		t.Errorf("another process has %q", after.commands())
	}
}
