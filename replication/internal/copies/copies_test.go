package copies

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"sync"
	"testing"

	"github.com/cockroachdb/pebble/v2/vfs"
	"github.com/cockroachdb/pebble/v2/vfs/errorfs"

	"github.com/mimir-kv/mimir/replication/clock/virtual"
	"github.com/mimir-kv/mimir/replication/contract"
	"github.com/mimir-kv/mimir/replication/durable"
	"github.com/mimir-kv/mimir/replication/durable/pebblefs"
	"github.com/mimir-kv/mimir/replication/internal/enginetest"
)

func put(t *testing.T, e *enginetest.Engine, values ...string) *contract.Metadata {
	t.Helper()
	n := len(e.Content().Commands)
	b := &contract.Batch{First: contract.Position(n + 1)}
	for _, v := range values {
		b.Commands = append(b.Commands, contract.Command{Data: []byte(v)})
	}
	n += len(values)
	b.Metadata = &contract.Metadata{AppliedIndex: uint64(n), Position: contract.Position(n), Record: []byte("record")}
	if _, err := e.Apply(b); err != nil {
		t.Fatal(err)
	}
	return b.Metadata
}

func TestACopyIsWhatItWasBegunWith(t *testing.T) {
	for _, files := range []bool{false, true} {
		t.Run(fmt.Sprintf("files %t", files), func(t *testing.T) {
			disk := vfs.NewCrashableMem()
			open := func(path string) (*enginetest.Engine, *Maker) {
				e, err := enginetest.Open(pebblefs.New(disk), path)
				if err != nil {
					t.Fatal(err)
				}
				if files {
					return e, NewMaker(pebblefs.New(disk), enginetest.Files{Engine: e})
				}
				return e, NewMaker(pebblefs.New(disk), e)
			}
			e, m := open("/engine")
			meta := put(t, e, "a", "b")
			p, err := m.Begin("/copies/one", meta)
			if err != nil {
				t.Fatal(err)
			}
			put(t, e, "later")
			if _, err := m.Metadata("/copies/one"); err == nil {
				t.Error("a part passes for a copy")
			}
			if err := p.Write(); err != nil {
				t.Fatal(err)
			}
			disk = disk.CrashClone(vfs.CrashCloneCfg{})
			other, m := open("/other")
			read, err := m.Metadata("/copies/one")
			if err != nil || read.AppliedIndex != 2 || string(read.Record) != "record" {
				t.Fatalf("metadata %+v, %v", read, err)
			}
			read.AppliedIndex = 7
			if err := m.Restore("/copies/one", read); err != nil {
				t.Fatal(err)
			}
			if c := other.Content(); !slices.Equal(c.Commands, []string{"a", "b"}) || c.Meta.AppliedIndex != 7 {
				t.Errorf("restored %q at entry %d", c.Commands, c.Meta.AppliedIndex)
			}
		})
	}
}

// TestACopyWithoutContentsIsDamaged: who takes it takes another one, instead of asking for this one at each start.
func TestACopyWithoutContentsIsDamaged(t *testing.T) {
	for _, files := range []bool{false, true} {
		for _, lost := range []string{Contents("/copy"), "/copy/contents/" + StreamFile} {
			if files && lost != Contents("/copy") {
				continue // what it has lost is for the storage to say
			}
			for _, another := range []bool{false, true} {
				fs, e := pebblefs.New(vfs.NewCrashableMem()), enginetest.Volatile()
				var storage contract.Storage = e
				if files {
					var err error
					if e, err = enginetest.Open(fs, "/engine"); err != nil {
						t.Fatal(err)
					}
					storage = enginetest.Files{Engine: e}
				}
				meta, m := put(t, e, "a"), NewMaker(fs, storage)
				p, err := m.Begin("/copy", meta)
				if err == nil {
					err = errors.Join(p.Write(), fs.RemoveAll(lost))
				}
				if err == nil && another && lost == Contents("/copy") {
					err = writeWhole(fs, lost, []byte("a file"))
				} else if err == nil && another {
					err = durable.MakeDir(fs, lost)
				}
				if err != nil {
					t.Fatal(err)
				}
				if err := m.Restore("/copy", meta); !errors.Is(err, contract.ErrDamaged) {
					t.Errorf("files %t, without %s, another in its place %t: %v", files, lost, another, err)
				}
			}
		}
	}
}

// TestADamagedStreamIsNotPutBack (C5), whatever bit of it or of its sum changed, and the storage has what it had.
func TestADamagedStreamIsNotPutBack(t *testing.T) {
	const stream, sum = "/copy/contents/" + StreamFile, "/copy/" + sumFile
	disk, e := vfs.NewCrashableMem(), enginetest.Volatile()
	fs := pebblefs.New(disk)
	meta := put(t, e, "a", "b")
	p, err := NewMaker(fs, e).Begin("/copy", meta)
	if err == nil {
		err = p.Write()
	}
	if err != nil {
		t.Fatal(err)
	}
	restore := func() error {
		other := enginetest.Volatile()
		put(t, other, "had")
		err := NewMaker(fs, other).Restore("/copy", meta)
		if c := other.Content().Commands; err != nil && !slices.Equal(c, []string{"had"}) {
			t.Fatalf("after %v the storage holds %q", err, c)
		}
		return err
	}
	change := func(name string, content []byte) {
		if err := writeWhole(fs, name, content); err != nil {
			t.Fatal(err)
		}
	}
	for _, name := range []string{stream, sum} {
		whole, err := durable.ReadFile(fs, name)
		if err != nil {
			t.Fatal(err)
		}
		for i := range whole {
			whole[i] ^= 4
			change(name, whole)
			if err := restore(); !errors.Is(err, contract.ErrDamaged) {
				t.Errorf("byte %d of %s: %v", i, name, err)
			}
			whole[i] ^= 4
		}
		change(name, whole[:len(whole)-1])
		if err := restore(); !errors.Is(err, contract.ErrDamaged) {
			t.Errorf("%s cut: %v", name, err)
		}
		change(name, whole)
	}
	if err := restore(); err != nil {
		t.Errorf("undamaged: %v", err)
	}
	if err := disk.Remove(sum); err != nil {
		t.Fatal(err)
	}
	if err := restore(); err != nil {
		t.Errorf("of a version that wrote no sum: %v", err)
	}
}

// TestACrashLeavesNoPartThatPassesForACopy (C2).
func TestACrashLeavesNoPartThatPassesForACopy(t *testing.T) {
	disk := vfs.NewCrashableMem()
	var clones []*vfs.MemFS
	random := rand.New(rand.NewPCG(1, 2))
	fs := errorfs.Wrap(disk, errorfs.InjectorFunc(func(op errorfs.Op) error {
		if op.Kind.ReadOrWrite() == errorfs.OpIsWrite {
			cfg := vfs.CrashCloneCfg{UnsyncedDataPercent: 50 * (len(clones) % 3), RNG: random}
			clones = append(clones, disk.CrashClone(cfg))
		}
		return nil
	}))
	e := enginetest.Volatile()
	p, err := NewMaker(pebblefs.New(fs), e).Begin("/copy", put(t, e, "a"))
	if err == nil {
		err = p.Write()
	}
	if err != nil {
		t.Fatal(err)
	}
	for i, clone := range clones {
		m := NewMaker(pebblefs.New(clone), enginetest.Volatile())
		meta, err := m.Metadata("/copy")
		if err != nil {
			continue
		}
		if err := m.Restore("/copy", meta); err != nil {
			t.Errorf("crash %d of %d: a copy that cannot be restored: %v", i, len(clones), err)
		}
	}
	if len(clones) < 5 {
		t.Errorf("%d crashes", len(clones))
	}
}

func TestAKeeperHasOneCopyAndOnlyANewerOneTakesItsPlace(t *testing.T) {
	disk, e := vfs.NewCrashableMem(), enginetest.Volatile()
	m := NewMaker(pebblefs.New(disk), e)
	k := NewKeeper(m, "/kept", quiet)
	if dir, err := k.Newest(); dir != "" || err != nil {
		t.Fatalf("%q, %v", dir, err)
	}
	begin := func(values ...string) *Part {
		t.Helper()
		p, err := k.Begin(put(t, e, values...))
		if err != nil {
			t.Fatal(err)
		}
		return p
	}
	older, twin := begin("a"), begin()
	newer, unfinished := begin("b"), begin("c")
	for _, step := range []struct {
		part *Part
		want uint64
	}{{older, 1}, {twin, 1}, {newer, 2}, {begin(), 3}} {
		if index, err := k.Keep(step.part); err != nil || index != step.want || k.Kept() != step.want {
			t.Fatalf("kept %d, %v, want %d", index, err, step.want)
		}
	}
	if err := unfinished.writeContents(); err != nil {
		t.Fatal(err)
	}
	if names, _ := disk.List("/kept"); len(names) != 2 { // the copy and the part
		t.Errorf("on disk: %v", names)
	}
	disk = disk.CrashClone(vfs.CrashCloneCfg{UnsyncedDataPercent: 100, RNG: rand.New(rand.NewPCG(1, 2))})
	k = NewKeeper(NewMaker(pebblefs.New(disk), e), "/kept", quiet)
	if dir, err := k.Newest(); dir != "/kept/3" || err != nil || k.Kept() != 3 {
		t.Errorf("%q, %v", dir, err)
	}
	if names, _ := disk.List("/kept"); len(names) != 1 {
		t.Errorf("on disk: %v", names)
	}
	if index, err := k.Keep(older); index != 3 || err != nil {
		t.Errorf("kept %d, %v", index, err)
	}
}

// TestKeepingFromManySides: whoever keeps what, in whatever order, a crash finds one of the states, and never an older
// one than was reported.
func TestKeepingFromManySides(t *testing.T) {
	disk, e := vfs.NewCrashableMem(), enginetest.Volatile()
	k := NewKeeper(NewMaker(pebblefs.New(disk), e), "/kept", quiet)
	var wg sync.WaitGroup
	for i := range 20 {
		p, err := k.Begin(put(t, e, fmt.Sprint(i)))
		if err != nil {
			t.Fatal(err)
		}
		wg.Go(func() {
			index, err := k.Keep(p)
			if err != nil {
				t.Error(err)
				return
			}
			after := NewKeeper(NewMaker(pebblefs.New(disk.CrashClone(vfs.CrashCloneCfg{})), e), "/kept", quiet)
			if _, err := after.Newest(); err != nil || after.Kept() < index {
				t.Errorf("reported %d, on disk is %d, %v", index, after.Kept(), err)
			}
		})
	}
	wg.Wait()
	if k.Kept() != 20 || e.Views() != 0 {
		t.Errorf("kept %d, %d views open", k.Kept(), e.Views())
	}
}

// TestRestoreWaitsForWhatIsBeingWritten (C3).
func TestRestoreWaitsForWhatIsBeingWritten(t *testing.T) {
	virtual.Test(t, func(t *testing.T) {
		disk, e := vfs.NewCrashableMem(), enginetest.Volatile()
		m := NewMaker(pebblefs.New(disk), e)
		meta := put(t, e, "a")
		p, err := m.Begin("/copy", meta)
		if err == nil {
			err = p.Write()
		}
		if err != nil {
			t.Fatal(err)
		}
		release := make(chan struct{})
		e.Writing = func() { <-release }
		written, begun := make(chan error, 1), [2]*Part{}
		for i := range begun {
			if begun[i], err = m.Begin(fmt.Sprintf("/part%d", i), meta); err != nil {
				t.Fatal(err)
			}
		}
		go func() { written <- begun[0].Write() }()
		restored := make(chan error, 1)
		virtual.Wait()
		go func() { restored <- m.Restore("/copy", meta) }()
		virtual.Wait()
		close(release)
		if err := <-written; !errors.Is(err, ErrReplaced) {
			t.Errorf("written: %v", err)
		}
		virtual.Wait()
		if len(restored) != 0 {
			t.Error("restored while a view was open")
		}
		if err := begun[1].Close(); err != nil {
			t.Error(err)
		}
		if err := <-restored; err != nil {
			t.Error(err)
		}
	})
}

// TestTheEndOfANodeEndsWhatIsBeingWritten, and what is begun behind it; nobody waits for that.
func TestTheEndOfANodeEndsWhatIsBeingWritten(t *testing.T) {
	e := enginetest.Volatile()
	m := NewMaker(pebblefs.New(vfs.NewCrashableMem()), e)
	meta := put(t, e, "a")
	writes, ended := make(chan struct{}), make(chan struct{})
	e.Writing = func() {
		close(writes)
		<-ended
	}
	p, err := m.Begin("/open", meta)
	if err != nil {
		t.Fatal(err)
	}
	written := make(chan error, 1)
	go func() { written <- p.Write() }()
	<-writes
	m.End()
	close(ended)
	if err := <-written; !errors.Is(err, ErrReplaced) {
		t.Errorf("what was being written: %v", err)
	}
	e.Writing = nil
	later, err := m.Begin("/later", meta)
	if err == nil {
		err = later.Write()
	}
	if !errors.Is(err, ErrReplaced) || e.Views() != 0 {
		t.Errorf("what was begun behind the end: %v, %d views are open", err, e.Views())
	}
}

// closing is an engine whose views panic when they are closed.
type closing struct{ *enginetest.Engine }

type closingView struct{ contract.Snapshot }

func (c closing) Snapshot() (contract.Snapshot, error) {
	v, err := c.Engine.Snapshot()
	return closingView{v}, err
}

func (v closingView) Close() error {
	_ = v.Snapshot.Close()
	panic("on fire")
}

// TestAViewThatPanicsIsLetGo: who replaces the content waits for it no longer (C3).
func TestAViewThatPanicsIsLetGo(t *testing.T) {
	for _, where := range []string{"written", "closed"} {
		virtual.Test(t, func(t *testing.T) {
			e := enginetest.Volatile()
			fs := pebblefs.New(vfs.NewCrashableMem())
			meta := put(t, e, "a")
			p, err := NewMaker(fs, e).Begin("/copy", meta)
			if err == nil {
				err = p.Write()
			}
			if err != nil {
				t.Fatal(err)
			}
			m := NewMaker(fs, e)
			if where == "written" {
				e.Writing = func() { panic("on fire") }
			} else {
				m = NewMaker(fs, closing{e})
			}
			if p, err = m.Begin("/other", meta); err != nil {
				t.Fatal(err)
			}
			func() {
				defer func() {
					if recover() == nil {
						t.Errorf("no panic where it is %s", where)
					}
				}()
				_ = p.Write()
			}()
			if err := m.Restore("/copy", meta); err != nil || e.Views() != 0 {
				t.Errorf("%v, %d views are open", err, e.Views())
			}
		})
	}
}
