package rescue

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"syscall"
	"testing"

	"github.com/cockroachdb/pebble/v2/vfs"

	"github.com/mimir-kv/mimir/replication/durable"
	"github.com/mimir-kv/mimir/replication/durable/pebblefs"
	"github.com/mimir-kv/mimir/replication/timeline"
)

// tail returns the header of n frames of two commands each, and a next function over them.
func tail(n int) (Header, func() ([]byte, error)) {
	h := Header{Fleet: "f", Region: "us", Node: "us-1", Last: timeline.Position(2 * n)}
	var frames [][]byte
	for i := 1; i <= n; i++ {
		f := timeline.Frame{
			Epoch: 1, First: timeline.Position(2*i - 1), Previous: h.Chain,
			Commands: []timeline.Command{{Data: fmt.Appendf(nil, "a%d", i)}, {Data: []byte("b")}},
		}
		h.Chain = timeline.NewFolder().Frame(&f)
		frames = append(frames, timeline.AppendFrame(nil, &f))
	}
	return h, func() ([]byte, error) {
		if len(frames) == 0 {
			return nil, io.EOF
		}
		p := frames[0]
		frames = frames[1:]
		return p, nil
	}
}

func TestTailSurvivesPowerLossOnceWritten(t *testing.T) {
	disk := vfs.NewCrashableMem()
	header, next := tail(10)
	want, err := Write(pebblefs.New(disk), "/data/rescue", "x", header, next)
	if err != nil || want.Commands != 20 || want.Entries != 10 {
		t.Fatalf("%+v, %v", want, err)
	}
	after := disk.CrashClone(vfs.CrashCloneCfg{})
	seen := 0
	got, h, err := Scan(pebblefs.New(after), "/data/rescue", "x", func([]byte) error { seen++; return nil })
	if err != nil || got != want || h != header || seen != 10 {
		t.Fatalf("%+v, %+v, %d entries, %v", got, h, seen, err)
	}
	names, err := List(pebblefs.New(after), "/data/rescue")
	if err != nil || len(names) != 1 || names[0] != "x" {
		t.Fatalf("%v, %v", names, err)
	}
	again, err := Write(pebblefs.New(after), "/data/rescue", "x", header, func() ([]byte, error) {
		return nil, errors.New("read again")
	})
	if err != nil || again != want {
		t.Fatalf("a complete file was not left alone: %+v, %v", again, err)
	}
}

func TestEntriesThatDoNotLeadToTheEndAreNoTail(t *testing.T) {
	fs := pebblefs.New(vfs.NewMem())
	header, next := tail(3)
	if _, err := next(); err != nil {
		t.Fatal(err)
	}
	if c, err := Write(fs, "/rescue", "later", header, next); err != nil || c.Commands != 4 {
		t.Errorf("one that begins later: %+v, %v", c, err)
	}
	_, next = tail(2)
	if _, err := Write(fs, "/rescue", "short", header, next); !errors.Is(err, ErrContents) {
		t.Errorf("one that ends too early: %v", err)
	}
	_, next = tail(3)
	gap := func() ([]byte, error) { p, err := next(); _, _ = next(); return p, err }
	if _, err := Write(fs, "/rescue", "gap", header, gap); !errors.Is(err, ErrContents) {
		t.Errorf("one with a hole: %v", err)
	}
	if names, err := List(fs, "/rescue"); err != nil || len(names) != 1 {
		t.Errorf("%v, %v", names, err)
	}
}

func TestDamageIsNeverAShorterTail(t *testing.T) {
	var b bytes.Buffer
	header, next := tail(3)
	if _, err := copyEntries(&b, header, next); err != nil {
		t.Fatal(err)
	}
	whole := b.Bytes()
	read := func(p []byte) error {
		d, err := NewDecoder(bytes.NewReader(p))
		for err == nil {
			_, err = d.Next()
		}
		return err
	}
	if err := read(whole); err != io.EOF {
		t.Fatal(err)
	}
	for i := range whole {
		if err := read(whole[:i]); !errors.Is(err, ErrDamaged) {
			t.Fatalf("cut at %d of %d: %v", i, len(whole), err)
		}
		flipped := bytes.Clone(whole)
		flipped[i] ^= 0x40
		if err := read(flipped); !errors.Is(err, ErrDamaged) {
			t.Fatalf("byte %d of %d changed: %v", i, len(whole), err)
		}
	}
}

func TestNamesStayInTheDirectory(t *testing.T) {
	for _, name := range []string{"../x", "a/b", "missing"} {
		if _, _, err := Scan(pebblefs.New(vfs.NewMem()), "/rescue", name, nil); !errors.Is(err, ErrNotFound) {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func FuzzDecoder(f *testing.F) {
	var b bytes.Buffer
	header, next := tail(2)
	if _, err := copyEntries(&b, header, next); err != nil {
		f.Fatal(err)
	}
	f.Add(b.Bytes())
	f.Fuzz(func(t *testing.T, p []byte) {
		d, err := NewDecoder(bytes.NewReader(p))
		for err == nil {
			_, err = d.Next()
		}
		if err != io.EOF && !errors.Is(err, ErrDamaged) {
			t.Fatal(err)
		}
	})
}

// unsynced is a disk on which syncs of directories fail.
type unsynced struct{ durable.FS }

func (unsynced) SyncDir(string) error { return syscall.ENOSPC }

// TestATailWhoseNameWasNotSyncedIsSavedByTheNextAttempt, and not before: who waits for room tries again, and goes on
// when it is told that the tail is there.
func TestATailWhoseNameWasNotSyncedIsSavedByTheNextAttempt(t *testing.T) {
	disk := vfs.NewCrashableMem()
	fs := pebblefs.New(disk)
	if err := durable.MakeDir(fs, "/data/rescue"); err != nil {
		t.Fatal(err)
	}
	for range 2 {
		header, next := tail(3)
		if _, err := Write(unsynced{fs}, "/data/rescue", "x", header, next); !durable.Full(err) {
			t.Errorf("its name is not synced: %v", err)
		}
	}
	header, next := tail(3)
	want, err := Write(fs, "/data/rescue", "x", header, next)
	if err != nil {
		t.Fatal(err)
	}
	after := pebblefs.New(disk.CrashClone(vfs.CrashCloneCfg{}))
	if got, _, err := Verify(after, "/data/rescue", "x"); err != nil || got != want {
		t.Errorf("after a power cut: %+v, %v", got, err)
	}
}

// breaks reads so many bytes, and then ends with an error.
type breaks struct {
	r    io.Reader
	left int
	with error
}

func (b *breaks) Read(p []byte) (int, error) {
	if b.left == 0 {
		return 0, b.with
	}
	n, err := b.r.Read(p[:min(len(p), b.left)])
	b.left -= n
	return n, err
}

// TestWhatCannotBeReadIsNotDamaged: an error of reading says nothing of what the file holds, wherever it comes.
func TestWhatCannotBeReadIsNotDamaged(t *testing.T) {
	disk := pebblefs.New(vfs.NewMem())
	header, next := tail(3)
	if _, err := Write(disk, "/data/rescue", "x", header, next); err != nil {
		t.Fatal(err)
	}
	whole, err := durable.ReadFile(disk, "/data/rescue/x"+suffix)
	if err != nil {
		t.Fatal(err)
	}
	for n := range whole {
		for _, with := range []error{syscall.EIO, io.EOF} {
			d, err := NewDecoder(&breaks{bytes.NewReader(whole), n, with})
			for err == nil {
				_, err = d.Next()
			}
			if errors.Is(err, ErrDamaged) != (with == io.EOF) || with != io.EOF && !errors.Is(err, with) {
				t.Fatalf("%v after %d of %d bytes: %v", with, n, len(whole), err)
			}
		}
	}
}

// blind is a filesystem that cannot tell whether something is there.
type blind struct{ durable.FS }

func (blind) Stat(string) (fs.FileInfo, error) { return nil, syscall.EIO }

// TestNoNameIsFoundWhereNothingCanBeLookedAt: it ends, instead of trying one name after the other.
func TestNoNameIsFoundWhereNothingCanBeLookedAt(t *testing.T) {
	if err := setAside(blind{pebblefs.New(vfs.NewMem())}, "/", "x"); !errors.Is(err, syscall.EIO) {
		t.Error(err)
	}
}
