package checkpoint_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"testing"

	"github.com/cockroachdb/pebble/v2/vfs"

	"github.com/mimir-kv/mimir/replication/clock"
	"github.com/mimir-kv/mimir/replication/durable/pebblefs"
	"github.com/mimir-kv/mimir/replication/internal/checkpoint"
	"github.com/mimir-kv/mimir/replication/transport"
	"github.com/mimir-kv/mimir/replication/transport/memory"
)

// errRotten is what a storage says of a file that is not what it wrote.
var errRotten = fmt.Errorf("%w: a block", checkpoint.ErrCorrupt)

// looking notes at what it looks, and finds what it is told to.
type looking struct {
	files []string
	whole int
	bad   string // the name of the file that is errRotten, "." for the whole
}

func (l *looking) look() checkpoint.Look {
	return checkpoint.Look{
		File: func(_, name string) error {
			l.files = append(l.files, name)
			if name == l.bad {
				return errRotten
			}
			return nil
		},
		Whole: func(string) error {
			l.whole++
			if l.bad == "." {
				return errRotten
			}
			return nil
		},
	}
}

// take receives what is in "source" of from into "target" of to, and returns what either side came to.
func take(
	t *testing.T, from, to vfs.FS, m *checkpoint.Manifest, known *checkpoint.Memory, l *looking,
) (err, sent error) {
	t.Helper()
	a, b, end := twoNodes(t)
	defer end()
	told := make(chan error, 1)
	b.Serve(map[string]transport.Handler{service: func(ctx context.Context, s transport.Stream) error {
		err := checkpoint.Send(ctx, line(s), pebblefs.New(from), "source", m)
		told <- err
		return err
	}})
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	s, err := a.Open(ctx, "b", service)
	if err != nil {
		t.Fatal(err)
	}
	terms := checkpoint.Terms{Look: l.look()}
	_, err = checkpoint.ReceiveOn(t.Context(), line(s), pebblefs.New(to), "target", known, terms, nil)
	return err, <-told
}

// twoNodes returns two nodes of a network.
func twoNodes(t *testing.T) (a, b transport.Transport, end func()) {
	t.Helper()
	n := memory.NewNetwork(clock.Real, 1)
	x, y := n.Node("a"), n.Node("b")
	return x, y, func() {
		x.Close()
		y.Close()
	}
}

// TestWhatIsNotWhatWasWrittenIsNotReceived: the sums are those of what the sender had, and they agree. What is wrong
// goes, the rest stays, nothing is looked at twice, and the sender hears that it may be his disk.
func TestWhatIsNotWhatWasWrittenIsNotReceived(t *testing.T) {
	from, m := source(t)
	for _, bad := range []string{"000013.sst", "."} {
		to, known, l := vfs.NewMem(), new(checkpoint.Memory), &looking{bad: bad}
		err, sent := take(t, from, to, m, known, l)
		if !errors.Is(err, checkpoint.ErrCorrupt) || !errors.Is(sent, checkpoint.ErrDoubted) ||
			!errors.Is(sent, checkpoint.ErrReceiver) {
			t.Fatalf("%s: received %v, sent %v", bad, err, sent)
		}
		if _, err := checkpoint.Load(pebblefs.New(to), "target"); !errors.Is(err, checkpoint.ErrIncomplete) {
			t.Errorf("%s: it is there: %v", bad, err)
		}
		if _, err := to.Stat("target/000013.sst"); err == nil {
			t.Errorf("%s: the wrong file is there", bad)
		}
		if _, err := to.Stat("target/000012.sst"); (err == nil) != (bad != ".") {
			t.Errorf("%s: another file: %v", bad, err)
		}
		before := len(l.files)
		l.bad = ""
		if err, sent := take(t, from, to, m, known, l); err != nil || sent != nil {
			t.Fatalf("%s: again: received %v, sent %v", bad, err, sent)
		}
		again := len(l.files) - before
		if want := len(m.Files) - before + 1; bad != "." && again != want {
			t.Errorf("%s: looked at %d files again, want %d", bad, again, want)
		}
		checkComplete(t, to, "target", m)
	}
}

// TestWhatIsNotWhatWasWrittenIsNotDescribed, and a file whose sum is known is not looked at again before it is doubted.
func TestWhatIsNotWhatWasWrittenIsNotDescribed(t *testing.T) {
	from, m := source(t)
	for _, bad := range []string{"000013.sst", "."} {
		l := &looking{bad: bad}
		sums := &checkpoint.Sums{Look: l.look()}
		_, err := sums.Describe(t.Context(), pebblefs.New(from), "source", m.ID, nil, nil)
		if !errors.Is(err, checkpoint.ErrCorrupt) {
			t.Errorf("%s: %v", bad, err)
		}
		l.bad = ""
		if _, err := sums.Describe(t.Context(), pebblefs.New(from), "source", m.ID, nil, nil); err != nil {
			t.Errorf("%s mended: %v", bad, err)
		}
	}
}

// TestWhatCameIsToldFromWhatADiskMadeOfIt, with every file of it read.
func TestWhatCameIsToldFromWhatADiskMadeOfIt(t *testing.T) {
	from, m := source(t)
	to, l := vfs.NewMem(), &looking{}
	if err, sent := take(t, from, to, m, nil, l); err != nil || sent != nil {
		t.Fatal(err, sent)
	}
	var last checkpoint.Progress
	verify := func() error {
		return checkpoint.Verify(t.Context(), pebblefs.New(to), "target", l.look(),
			func(p checkpoint.Progress) { last = p })
	}
	if err := verify(); err != nil || last.DoneBytes != m.Bytes() || last.TotalBytes != m.Bytes() {
		t.Errorf("%v, after %+v", err, last)
	}
	for _, l.bad = range []string{"CURRENT", "."} {
		if err := verify(); !errors.Is(err, checkpoint.ErrCorrupt) {
			t.Errorf("%s: %v", l.bad, err)
		}
	}
	l.bad = ""
	spoiled := bytes.Clone(contents["log/000.seg"])
	spoiled[len(spoiled)-1] ^= 1
	write(t, to, "target/log/000.seg", spoiled)
	if err := verify(); !errors.Is(err, checkpoint.ErrCorrupt) {
		t.Errorf("a bit of it: %v", err)
	}
	if err := to.Remove("target/log/000.seg"); err != nil {
		t.Fatal(err)
	}
	if err := verify(); !errors.Is(err, checkpoint.ErrCorrupt) {
		t.Errorf("a file is gone: %v", err)
	}
}
