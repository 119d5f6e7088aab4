package storagetest

import (
	"bytes"
	"errors"
	"io"
	"testing"
	"time"

	"github.com/mimir-kv/mimir/replication/contract"
)

// patience is how long the suite waits for an Apply beside a snapshot before it calls that a deadlock.
const patience = time.Minute

func view(t testing.TB, r *replica) contract.Snapshot {
	t.Helper()
	v, err := r.Storage().Snapshot()
	if err != nil {
		t.Fatalf("Snapshot: %v", err)
	}
	return v
}

// written writes a view out and closes it.
func written(t testing.TB, v contract.Snapshot) []byte {
	t.Helper()
	var b bytes.Buffer
	n, err := v.WriteTo(&b)
	if err = errors.Join(err, v.Close()); err != nil {
		t.Fatalf("write snapshot: %v", err)
	}
	if n != int64(b.Len()) {
		t.Errorf("WriteTo wrote %d bytes and says %d", b.Len(), n)
	}
	return b.Bytes()
}

// beside applies events up to the place to beside an open view, which must not hold up a command.
func (r *replica) beside(what string, to int) {
	r.t.Helper()
	applied := make(chan struct{})
	defer close(applied)
	go func() {
		select {
		case <-applied:
		case <-time.After(patience):
			panic("storagetest: " + what + " no command is applied: the view holds what Apply or Begin needs")
		}
	}()
	r.apply(to, 7)
}

// A view shows the position at which it was taken, whatever was applied before it is written out.
func snapshot(t *testing.T, s Suite) {
	h := newHistory(s, length)
	r := h.replica(t)
	third := len(h.events) / 3
	r.apply(third, 7)
	first := view(t, r)
	r.beside("with a view open", 2*third)
	second := view(t, r)
	r.beside("with two views open", len(h.events))
	for at, v := range map[int]contract.Snapshot{third: first, 2 * third: second} {
		other := h.replica(t)
		if err := other.Storage().Restore(bytes.NewReader(written(t, v)), nil); err != nil {
			t.Fatalf("Restore: %v", err)
		}
		other.at = at
		other.check("restored from a view")
		other.apply(len(h.events), 7)
		other.check("restored, and applied further")
	}
	r.check("after its snapshots")
}

// stalled is a writer that says when it is first written to, and goes on only when told.
type stalled struct {
	bytes.Buffer
	reached, goOn chan struct{}
	once          bool
}

func (w *stalled) Write(p []byte) (int, error) {
	if !w.once {
		w.once = true
		close(w.reached)
		<-w.goOn
	}
	return w.Buffer.Write(p)
}

// While a view is written out, commands apply.
func snapshotWhileApplying(t *testing.T, s Suite) {
	h := newHistory(s, length)
	r := h.replica(t)
	half := len(h.events) / 2
	r.apply(half, 7)
	v := view(t, r)
	w := &stalled{reached: make(chan struct{}), goOn: make(chan struct{})}
	finished := make(chan error, 1)
	go func() {
		_, err := v.WriteTo(w)
		finished <- errors.Join(err, v.Close())
	}()
	<-w.reached
	r.beside("while a view is written out", len(h.events))
	close(w.goOn)
	if err := <-finished; err != nil {
		t.Fatalf("write snapshot: %v", err)
	}
	other := h.replica(t)
	if err := other.Storage().Restore(&w.Buffer, nil); err != nil {
		t.Fatalf("Restore: %v", err)
	}
	other.at = half
	other.check("restored from a view that was written while commands were applied")
}

// A view that nobody wants is closed unwritten, and one whose writing fails says so.
func snapshotUnused(t *testing.T, s Suite) {
	h := newHistory(s, length)
	r := h.replica(t)
	r.apply(len(h.events)/2, 7)
	if err := view(t, r).Close(); err != nil {
		t.Errorf("Close of a view that was not written: %v", err)
	}
	v := view(t, r)
	full := errors.New("no room")
	if _, err := v.WriteTo(failing{full}); !errors.Is(err, full) {
		t.Errorf("WriteTo: %v, want the writer's error", err)
	}
	if err := v.Close(); err != nil {
		t.Errorf("Close of a view that could not be written: %v", err)
	}
	r.apply(len(h.events), 7)
	r.check("after views that came to nothing")
}

type failing struct{ err error }

func (f failing) Write([]byte) (int, error)  { return 0, f.err }
func (f failing) Read(p []byte) (int, error) { return 0, f.err }

var _ io.Reader = failing{}
