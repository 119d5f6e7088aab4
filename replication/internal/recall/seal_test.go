package recall

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/mimir-kv/mimir/replication/clock"
	"github.com/mimir-kv/mimir/replication/contract"
	"github.com/mimir-kv/mimir/replication/durable"
	"github.com/mimir-kv/mimir/replication/internal/peer"
	"github.com/mimir-kv/mimir/replication/transport"
	"github.com/mimir-kv/mimir/replication/transport/memory"
)

// disk is a directory's identity in a test, and asked returns what a node that remembers m has a start on it end with.
type disk struct {
	t    *testing.T
	path string
}

func newDisk(t *testing.T) disk { return disk{t, filepath.Join(t.TempDir(), "DISK")} }

func (d disk) start() Own {
	d.t.Helper()
	o, err := Start(durable.OS, d.path)
	if err != nil {
		d.t.Fatal(err)
	}
	return o
}

func (d disk) copied() (back func()) {
	d.t.Helper()
	was, err := os.ReadFile(d.path)
	if err != nil {
		d.t.Fatal(err)
	}
	return func() { d.written(was) }
}

func (d disk) written(text []byte) {
	d.t.Helper()
	if err := os.WriteFile(d.path, text, 0o600); err != nil {
		d.t.Fatal(err)
	}
}

func (o Own) says(index uint64) Said { return Said{o.Disk, index, o.Seal(index)} }

func asked(t *testing.T, m *Memory, o Own, last uint64) error {
	t.Helper()
	network := memory.NewNetwork(clock.Real, 1)
	knows, asks := network.Node("us-1"), network.Node("us-2")
	defer func() {
		if err := errors.Join(knows.Close(), asks.Close()); err != nil {
			t.Error(err)
		}
	}()
	questions := peer.NewRegistry(func() error { return nil }, nil)
	Register(questions, "us", "us-1", m, func(uint64, uint64) (uint64, Log) { return 0, Log{} },
		func(context.Context, Question) Part { return Part{} })
	if err := knows.Serve(map[string]transport.Handler{peer.Service: questions.Serve}); err != nil {
		t.Fatal(err)
	}
	c := NewCheck(Config{ID: 5, Node: "us-2", Region: "us", Disk: o, Last: last,
		Siblings: func() []string { return []string{"us-1"} },
		Agreed:   new(Agreed), Timeout: 10 * time.Second, Clock: clock.Real, Client: peer.NewClient(asks)})
	err := c.Ask(t.Context())
	if len(c.left) > 0 {
		t.Error("us-1 did not answer")
	}
	return err
}

// TestWhatOthersMadeUpEndsNobody: who knows the disk of a node, which stands in every report, may say in its name what
// he likes. What the node said itself still counts, whatever is said beside it.
func TestWhatOthersMadeUpEndsNobody(t *testing.T) {
	d, m := newDisk(t), NewMemory()
	first := d.start()
	m.Note(5, first.says(9))
	back := d.copied()
	made := func(s Said) { m.NoteTold(5, s) }
	made(Said{Disk{first.ID, 1 << 60, "made up"}, 9, ""})
	made(Said{Disk{first.ID, 1 << 60, "made up"}, 9, first.Seal(9)})
	made(Said{Disk{first.ID, 1, "made up too"}, 1 << 60, first.Seal(9)})
	made(Said{Disk{first.ID, 1, first.Boot}, 1 << 60, first.Seal(9)})
	if err := asked(t, m, d.start(), 9); err != nil {
		t.Errorf("ended by what others made up: %v", err)
	}
	made(Said{Disk{"made up", 1, "x"}, 1, ""}) // that forgets nothing either
	for i := range uint64(2 * maxStarts) {
		made(Said{Disk{first.ID, 1<<60 + i, fmt.Sprint(i)}, 1 << 60, "made up"})
	}
	if err := asked(t, m, d.start(), 8); !errors.Is(err, contract.ErrDiskLost) {
		t.Errorf("a log that ends before entry 9: %v", err)
	}
	fourth := d.start()
	m.Note(5, fourth.says(12))
	back()
	if err := asked(t, m, d.start(), 20); !errors.Is(err, contract.ErrDiskLost) {
		t.Errorf("an older copy that knows of one start: %v", err)
	}
}

// TestADirectoryOfAVersionBeforeBeginsToSeal: at the start at which it does, what is not sealed counts as ever, and a
// copy of before as well; later only what is sealed does.
func TestADirectoryOfAVersionBeforeBeginsToSeal(t *testing.T) {
	const before = `{"version":1,"disk":"a","starts":3}`
	for _, sealed := range []bool{false, true} {
		d, m := newDisk(t), NewMemory()
		d.written([]byte(before))
		if sealed {
			m.Note(5, d.start().says(9))
		} else {
			m.Note(5, Said{Disk{"a", 4, "x"}, 9, ""})
		}
		d.written([]byte(before))
		if err := asked(t, m, d.start(), 20); !errors.Is(err, contract.ErrDiskLost) {
			t.Errorf("sealed %t: a copy of before start 4: %v", sealed, err)
		}
		if err := asked(t, m, d.start(), 20); err != nil {
			t.Errorf("sealed %t: it seals, and was not sealed by this key: %v", sealed, err)
		}
	}
}

// TestWhatIsSealedIsBounded, and the longest log is remembered, however often the node was started since.
func TestWhatIsSealedIsBounded(t *testing.T) {
	var words []Word
	for i := range uint64(3 * maxStarts) {
		index := i
		if i == 1 {
			index = 99
		}
		words = kept(words, Said{Disk{"a", i + 1, fmt.Sprint(i)}, index, "s"})
	}
	if len(words) != maxStarts || words[0].Starts != 3*maxStarts || words[maxStarts-1].Index != 99 {
		t.Errorf("%+v", words)
	}
	if again := kept(words, Said{Disk{"a", 3 * maxStarts, words[0].Boot}, 100, "t"}); len(again) != maxStarts ||
		again[0].Index != 100 || words[0].Index == 100 {
		t.Errorf("%+v after %+v", again, words)
	}
}
