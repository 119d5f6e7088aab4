package kv

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"math/rand/v2"
	"path/filepath"
	"slices"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/cockroachdb/pebble/v2"
	"github.com/cockroachdb/pebble/v2/record"
	"github.com/cockroachdb/pebble/v2/vfs"
	"github.com/cockroachdb/pebble/v2/vfs/errorfs"
	pb "go.etcd.io/etcd/api/v3/etcdserverpb"

	"github.com/mimir-kv/mimir/kv/command"
	"github.com/mimir-kv/mimir/kv/mvcc"
	"github.com/mimir-kv/mimir/replication"
	"github.com/mimir-kv/mimir/replication/clock/virtual"
)

func quiet() *slog.Logger { return slog.New(slog.NewTextHandler(io.Discard, nil)) }

// TestAFullDiskAtOpenIsAnError, whichever write it is that finds no room.
func TestAFullDiskAtOpenIsAnError(t *testing.T) {
	mem := vfs.NewCrashableMem()
	s, err := Open(Options{FS: mem, Dir: "kv", Logger: quiet()})
	if err != nil {
		t.Fatal(err)
	}
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	refused := 0
	for room := int64(0); room < 200; room++ {
		var left atomic.Int64
		left.Store(room)
		all := vfs.CrashCloneCfg{UnsyncedDataPercent: 100, RNG: rand.New(rand.NewPCG(1, 1))}
		full := errorfs.Wrap(mem.CrashClone(all),
			errorfs.InjectorFunc(func(op errorfs.Op) error {
				if op.Kind.ReadOrWrite() == errorfs.OpIsWrite && left.Add(-1) < 0 {
					return syscall.ENOSPC
				}
				return nil
			}))
		s, err := Open(Options{FS: full, Dir: "kv", Logger: quiet()})
		if err == nil {
			left.Store(1 << 40) // closing needs some
			if err := s.Close(); err != nil {
				t.Errorf("with room for %d writes: close: %v", room, err)
			}
			break
		}
		refused++
		if !errors.Is(err, syscall.ENOSPC) || errors.Is(err, replication.ErrDamaged) ||
			strings.Contains(err.Error(), "\n\n") {
			t.Errorf("with room for %d writes: %v", room, err)
		}
	}
	if refused == 0 {
		t.Error("no write was refused")
	}
}

// TestADamagedTableIsNotCompactedForEver: the owner is told, and the database does nothing until it is closed.
func TestADamagedTableIsNotCompactedForEver(t *testing.T) {
	virtual.Test(t, func(t *testing.T) {
		mem := vfs.NewMem()
		o := Options{FS: mem, Dir: "kv", Logger: quiet()}
		if err := o.setDefaults(); err != nil {
			t.Fatal(err)
		}
		cache := pebble.NewCache(1 << 20)
		defer cache.Unref()
		still := pebbleOptions(&o, cache, newFailures(&o, "kv"))
		still.DisableAutomaticCompactions = true
		db, err := pebble.Open("kv", still)
		if err != nil {
			t.Fatal(err)
		}
		tables := func(n int) {
			t.Helper()
			for i := range n {
				value := bytes.Repeat([]byte{byte(i)}, 100)
				if err := errors.Join(db.Set([]byte("Mk\x00"), value, pebble.NoSync), db.Flush()); err != nil {
					t.Fatal(err)
				}
			}
		}
		tables(1)
		if err := db.Close(); err != nil {
			t.Fatal(err)
		}
		flipTables(t, mem, "kv")
		var told atomic.Int64
		o.OnFailure = func(error) { told.Add(1) }
		var space *room
		if db, space, err = openPebble("kv", &o, cache, false); err != nil {
			t.Fatal(err)
		}
		tables(5)               // enough for a compaction
		time.Sleep(time.Minute) // of the bubble: a database that tries on and on lets none pass
		if n := told.Load(); n == 0 || n > 8 {
			t.Errorf("told %d times", n)
		}
		space.stop()
		if err := db.Close(); err != nil {
			t.Error(err)
		}
	})
}

// flipTables flips a bit in the first block of every table.
func flipTables(t *testing.T, fs *vfs.MemFS, dir string) {
	t.Helper()
	names, err := fs.List(dir)
	if err != nil {
		t.Fatal(err)
	}
	for _, name := range names {
		if !strings.HasSuffix(name, ".sst") {
			continue
		}
		f, err := fs.OpenReadWrite(fs.PathJoin(dir, name), vfs.WriteCategoryUnspecified)
		if err != nil {
			t.Fatal(err)
		}
		b := make([]byte, 1)
		if _, err := f.ReadAt(b, 20); err != nil {
			t.Fatal(err)
		}
		b[0] ^= 1
		if _, err := f.WriteAt(b, 20); err != nil {
			t.Fatal(err)
		}
		if err := f.Close(); err != nil {
			t.Fatal(err)
		}
	}
}

// TestADatabaseThatCannotGoOnTellsItsOwner, and whoever asked it to waits instead of seeing a panic.
func TestADatabaseThatCannotGoOnTellsItsOwner(t *testing.T) {
	told := make(chan error, 1)
	a := newFailures(&Options{Logger: quiet(), OnFailure: func(err error) { told <- err }}, "kv")
	a.opened = true
	returned := make(chan struct{})
	go func() {
		defer close(returned)
		a.Fatalf("MANIFEST sync failed: %v", syscall.EIO)
	}()
	if err := <-told; !errors.Is(err, syscall.EIO) {
		t.Errorf("told %v", err)
	}
	select {
	case <-returned:
		t.Error("Fatalf returned")
	case <-time.After(10 * time.Millisecond):
	}
	a.damaged(pebble.DataCorruptionInfo{Path: "kv/gen-000001/000004.sst", Details: errors.New("sum")})
	if err := <-told; !errors.Is(err, replication.ErrDamaged) || !strings.Contains(err.Error(), "000004.sst") {
		t.Errorf("told %v", err)
	}
}

// recordsOf counts the whole records at the beginning of a record file.
func recordsOf(text []byte) (n int) {
	for r := record.NewReader(&consumed{text: text}, 0); ; n++ {
		one, err := r.Next()
		if err == nil {
			_, err = io.Copy(io.Discard, one)
		}
		if err != nil {
			return n
		}
	}
}

// TestAManifestDamagedBeforeItsEndIsNotTakenForATornOne: every byte of every record but the last counts.
func TestAManifestDamagedBeforeItsEndIsNotTakenForATornOne(t *testing.T) {
	fs := vfs.NewMem()
	s, err := Open(Options{FS: fs, Dir: "kv", Logger: quiet()})
	if err != nil {
		t.Fatal(err)
	}
	dir := filepath.Join("kv", generationName(1))
	manifest := func() []byte {
		desc, err := pebble.Peek(dir, fs)
		if err != nil {
			t.Fatal(err)
		}
		return readFile(t, fs, desc.ManifestFilename)
	}
	whole := manifest()
	for i := 0; recordsOf(whole) < 3; i++ { // Pebble begins a new one now and then, with one record
		if i == 100 {
			t.Fatalf("no list of tables with three records: %d bytes", len(whole))
		}
		b := &replication.Batch{Epoch: 1, First: replication.Position(i + 1), Metadata: &replication.Metadata{
			AppliedIndex: uint64(i + 1), AppliedTerm: 1, Epoch: 1, Position: replication.Position(i)}}
		if _, err := s.Apply(b); err != nil {
			t.Fatal(err)
		}
		if err := s.Sync(); err != nil {
			t.Fatal(err)
		}
		whole = manifest()
	}
	write(t, fs, "whole", whole)
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	if err := checkManifest(fs, "whole"); err != nil {
		t.Fatalf("whole: %v", err)
	}
	if err := checkWhole(fs, "whole"); err != nil {
		t.Fatalf("whole, of a checkpoint: %v", err)
	}
	torn := 0
	for cut := range whole { // a crash may leave any part of the last write, and of a file that was just made
		write(t, fs, "cut", whole[:cut])
		if err := checkManifest(fs, "cut"); err != nil {
			t.Errorf("cut at %d of %d: %v", cut, len(whole), err)
		}
		if err := checkWhole(fs, "cut"); errors.Is(err, replication.ErrDamaged) {
			torn++
		} else if err != nil {
			t.Errorf("cut at %d of %d, of a checkpoint: %v", cut, len(whole), err)
		}
	}
	if torn < len(whole)*9/10 { // else it ends behind a record
		t.Errorf("%d of %d cuts of a checkpoint found", torn, len(whole))
	}
	found := 0
	for at := range whole {
		flipped := append([]byte(nil), whole...)
		flipped[at] ^= 0x40
		write(t, fs, "flipped", flipped)
		if err := checkManifest(fs, "flipped"); errors.Is(err, replication.ErrDamaged) {
			found++
		} else if at < len(whole)/2 {
			t.Errorf("flipped at %d of %d: %v", at, len(whole), err)
		}
		if err := checkWhole(fs, "flipped"); !errors.Is(err, replication.ErrDamaged) {
			t.Errorf("flipped at %d of %d, of a checkpoint: %v", at, len(whole), err)
		}
	}
	if found < len(whole)/2 {
		t.Error(fmt.Sprint(found, " of ", len(whole), " flips found"))
	}
}

// TestAManifestThatWasCutIsFoundBeforeAnythingIsWritten: whatever is left of it, the store opens with an older state,
// which the log brings forward, or is refused; what it writes then can be read back after a compaction.
func TestAManifestThatWasCutIsFoundBeforeAnythingIsWritten(t *testing.T) {
	fs := vfs.NewMem()
	put := func(s *Store, i int) {
		t.Helper()
		b := &replication.Batch{Epoch: 1, First: replication.Position(i), Metadata: &replication.Metadata{
			AppliedIndex: uint64(i), AppliedTerm: 1, Epoch: 1, Position: replication.Position(i)}}
		b.Commands = []replication.Command{{Data: command.EncodePut(&pb.PutRequest{Key: []byte("k")})}}
		if _, err := s.Apply(b); err != nil {
			t.Fatal(err)
		}
	}
	open := func(fs vfs.FS) (*Store, error) { return Open(Options{FS: fs, Dir: "kv", Logger: quiet()}) }
	for life := range 3 {
		s, err := open(fs)
		if err != nil {
			t.Fatal(err)
		}
		for i := range 3 {
			put(s, 3*life+i+1)
		}
		if err := errors.Join(s.Sync(), s.Close()); err != nil {
			t.Fatal(err)
		}
	}
	desc, err := pebble.Peek(filepath.Join("kv", generationName(1)), fs)
	if err != nil {
		t.Fatal(err)
	}
	whole, refused := readFile(t, fs, desc.ManifestFilename), 0
	for cut := range whole {
		copied := vfs.NewMem()
		if _, err := vfs.Clone(fs, copied, "kv", "kv"); err != nil {
			t.Fatal(err)
		}
		write(t, copied, desc.ManifestFilename, whole[:cut])
		s, err := open(copied)
		if err != nil {
			if refused++; !errors.Is(err, replication.ErrDamaged) {
				t.Errorf("cut at %d of %d: %v", cut, len(whole), err)
			}
			continue
		}
		m, err := s.Load()
		if err != nil {
			t.Fatal(err)
		}
		for i := int(m.AppliedIndex) + 1; i < 12; i++ {
			put(s, i)
		}
		if err := errors.Join(s.Sync(), s.current.Load().db.Compact(t.Context(), []byte("A"), []byte("z"), false),
			s.Close()); err != nil {
			t.Errorf("cut at %d of %d: %v", cut, len(whole), err)
		}
	}
	if refused == 0 {
		t.Error("no cut was refused")
	}
}

func readFile(t *testing.T, fs vfs.FS, name string) []byte {
	t.Helper()
	f, err := fs.Open(name)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	text, err := io.ReadAll(f)
	if err != nil {
		t.Fatal(err)
	}
	return text
}

func write(t *testing.T, fs vfs.FS, name string, text []byte) {
	t.Helper()
	f, err := fs.Create(name, vfs.WriteCategoryUnspecified)
	if err == nil {
		_, err = f.Write(slices.Clone(text)) // under the race detector Pebble spoils what it was given
	}
	if err = errors.Join(err, f.Close()); err != nil {
		t.Fatal(err)
	}
}

// A checkpoint that cannot be read now is no damaged one: who has fetched it keeps it.
func TestACheckpointThatCannotBeReadNowIsNoDamage(t *testing.T) {
	var fails atomic.Bool
	mem := vfs.NewMem()
	n := openNode(t, errorfs.Wrap(mem, errorfs.InjectorFunc(func(op errorfs.Op) error {
		if fails.Load() && op.Kind == errorfs.OpList && op.Path == "copy" {
			return syscall.EMFILE
		}
		return nil
	})))
	n.apply(put("a", "1"))
	if err := n.Checkpoint("copy"); err != nil {
		t.Fatal(err)
	}
	fails.Store(true)
	err := n.Install("copy", nil)
	if !errors.Is(err, syscall.EMFILE) || errors.Is(err, mvcc.ErrCorrupt) || errors.Is(err, replication.ErrDamaged) {
		t.Errorf("a directory that cannot be listed: %v", err)
	}
	fails.Store(false)
	if err := n.Install("copy", nil); err != nil {
		t.Error(err)
	}
}
