package replication

import (
	"errors"
	"fmt"
	"io"
	"log/slog"
	"path/filepath"
	"slices"
	"testing"

	"github.com/cockroachdb/pebble/v2/vfs"

	"github.com/mimir-kv/mimir/replication/clock"
	"github.com/mimir-kv/mimir/replication/durable"
	"github.com/mimir-kv/mimir/replication/durable/pebblefs"
	"github.com/mimir-kv/mimir/replication/internal/checkpoint"
	"github.com/mimir-kv/mimir/replication/internal/copies"
	"github.com/mimir-kv/mimir/replication/internal/enginetest"
	"github.com/mimir-kv/mimir/replication/internal/life"
)

// telling is a storage that can tell whether its files are what was written.
type telling struct {
	enginetest.Files
	asked []string
	file  error
	whole error
}

func (s *telling) VerifyFile(dir, name string) error {
	s.asked = append(s.asked, filepath.Join(dir, name))
	return s.file
}

func (s *telling) Verify(dir string) error {
	s.asked = append(s.asked, dir)
	return s.whole
}

// copyIn makes a copy of a storage in /copy.
func copyIn(t *testing.T, fs durable.FS, s Storage) {
	t.Helper()
	b := &Batch{First: 1, Metadata: &Metadata{AppliedIndex: 1, Position: 1}, Commands: []Command{{Data: []byte("a")}}}
	if _, err := s.Apply(b); err != nil {
		t.Fatal(err)
	}
	p, err := copies.NewMaker(fs, s).Begin("/copy", b.Metadata)
	if err == nil {
		err = p.Write()
	}
	if err != nil {
		t.Fatal(err)
	}
}

// A storage is asked about its own files, and what it says of them is what transfers understand; what cannot be read
// now is no damage.
func TestAStorageTellsOfTheFilesOfACopy(t *testing.T) {
	fs := pebblefs.New(vfs.NewMem())
	engine, err := enginetest.Open(fs, "/engine")
	if err != nil {
		t.Fatal(err)
	}
	s := &telling{Files: enginetest.Files{Engine: engine}}
	copyIn(t, fs, s)
	look := lookOf(fs, s)
	undamaged := errors.Join(look.File("/copy", "METADATA"), look.File("/copy", "contents/a.sst"), look.Whole("/copy"))
	if err := undamaged; err != nil {
		t.Errorf("undamaged: %v", err)
	}
	if want := []string{"/copy/contents/a.sst", "/copy/contents"}; !slices.Equal(s.asked, want) {
		t.Errorf("asked about %v, want %v", s.asked, want)
	}
	damage := fmt.Errorf("%w: a block", ErrDamaged)
	for _, found := range []error{damage, errors.New("cannot be read now")} {
		s.file, s.whole = found, found
		for _, err := range []error{look.File("/copy", "contents/a.sst"), look.Whole("/copy")} {
			if errors.Is(err, checkpoint.ErrCorrupt) != errors.Is(found, ErrDamaged) || !errors.Is(err, found) {
				t.Errorf("%v is told as %v", found, err)
			}
		}
	}
	s.whole = damage
	quiet := slog.New(slog.DiscardHandler)
	for _, c := range []struct {
		voters []uint64
		err    error
		want   error // that it ends with; nil: it goes on
	}{
		{[]uint64{1, 2, 3}, look.Whole("/copy"), ErrDamaged},
		{[]uint64{1}, look.Whole("/copy"), nil}, // nobody else has what it holds
		{[]uint64{1}, io.ErrUnexpectedEOF, io.ErrUnexpectedEOF},
	} {
		l := life.New(clock.Real, quiet)
		showsDamage(l, quiet, c.voters, c.err)
		if err := l.Failure(); !errors.Is(err, c.want) || (err == nil) != (c.want == nil) {
			t.Errorf("one of %d voters ends with %v for %v", len(c.voters), err, c.err)
		}
	}
}

// Of a storage that writes one stream the library tells itself, and of metadata as well.
func TestAStreamIsLookedAt(t *testing.T) {
	fs, e := pebblefs.New(vfs.NewMem()), enginetest.Volatile()
	copyIn(t, fs, e)
	look := lookOf(fs, e)
	if err := errors.Join(look.File("/copy", "contents/stream"), look.Whole("/copy")); err != nil {
		t.Errorf("undamaged: %v", err)
	}
	for _, name := range []string{"/copy/contents/stream", "/copy/METADATA"} {
		flip := func() {
			t.Helper()
			f, err := fs.OpenReadWrite(name)
			if err != nil {
				t.Fatal(err)
			}
			b := make([]byte, 1)
			if _, err = f.ReadAt(b, 9); err == nil {
				b[0] ^= 1
				_, err = f.WriteAt(b, 9)
			}
			if err := errors.Join(err, f.Close()); err != nil {
				t.Fatal(err)
			}
		}
		flip()
		if err := look.Whole("/copy"); !errors.Is(err, checkpoint.ErrCorrupt) {
			t.Errorf("%s: %v", name, err)
		}
		flip()
	}
}
