package region

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"testing"

	"github.com/cockroachdb/pebble/v2/vfs"
	"github.com/cockroachdb/pebble/v2/vfs/errorfs"

	"github.com/mimir-kv/mimir/replication/contract"
	"github.com/mimir-kv/mimir/replication/durable"
	"github.com/mimir-kv/mimir/replication/durable/pebblefs"
	"github.com/mimir-kv/mimir/replication/internal/enginetest"
	"github.com/mimir-kv/mimir/replication/timeline"
)

// opener opens a storage, and the engine in it, with what a filesystem has of it.
type opener func(fs durable.FS) (*enginetest.Engine, contract.Storage, error)

// kinds are the storages with which every way to another state is tried.
var kinds = []struct {
	name string
	open opener
}{
	{"volatile", func(durable.FS) (*enginetest.Engine, contract.Storage, error) {
		e := enginetest.Volatile()
		return e, e, nil
	}},
	{"one file", func(fs durable.FS) (*enginetest.Engine, contract.Storage, error) {
		e, err := enginetest.Open(fs, dataDir+"/engine")
		return e, e, err
	}},
	{"checkpoints", func(fs durable.FS) (*enginetest.Engine, contract.Storage, error) {
		e, err := enginetest.Open(fs, dataDir+"/engine")
		return e, enginetest.Files{Engine: e}, err
	}},
}

// The two states of the tests: what a region had before, with a tail that is lost, and the history that takes its
// place.
var (
	before = []string{"a", "b", "lost"}
	after  = []string{"a", "b", "c", "d"}
	later  = []string{"a", "b", "c", "d", "e"} // of a node that has gone on
)

// script is the log of the region us that loses its tail, and the copy that it installs.
type script struct {
	old     [][]byte // makes the state before, and has it diverge
	install []byte
	on      [][]byte // applied after the install
	origin  timeline.Origin
}

func newScript(t *testing.T) *script {
	us, eu := newAuthor(t, "us"), newAuthor(t, "eu")
	first, shared := us.begin(1, "us"), us.frame("a", "b")
	var r timeline.Frame
	if err := timeline.DecodeFrame(shared, &r); err != nil {
		t.Fatal(err)
	}
	begun, _ := timeline.DecodeReign(first)
	eu.must(eu.machine.Reign(begun))
	eu.must(eu.machine.Frame(&r))
	eu.begin(2, "eu")
	claim := timeline.Latest(eu.machine.State().Reigns)
	eu.frame("c", "d")
	s := &script{old: [][]byte{first, shared, us.frame("lost")}}
	s.old = append(s.old,
		us.control(&timeline.Control{Op: timeline.OpDiverge, Fork: 2, At: 3, Epoch: 1, Claim: &claim}))
	s.origin = timeline.Origin{Cursor: eu.machine.Cursor(), Reigns: eu.machine.State().Reigns}
	s.install = us.control(&timeline.Control{Op: timeline.OpInstall, Checkpoint: "copy", Origin: &s.origin})
	s.on = [][]byte{us.frame("e")}
	return s
}

// sourceCopy puts the state of the region that goes on into dir.
func (s *script) sourceCopy(t *testing.T, fs durable.FS, dir string) {
	e := enginetest.Volatile()
	p := newPlace(t, "eu", fs, e, e).load()
	a := newAuthor(t, "eu")
	p.apply(s.old[0], s.old[1])
	begun, _ := timeline.DecodeReign(s.old[0])
	a.must(a.machine.Reign(begun))
	var f timeline.Frame
	if err := timeline.DecodeFrame(s.old[1], &f); err != nil {
		t.Fatal(err)
	}
	a.must(a.machine.Frame(&f))
	p.apply(a.begin(2, "eu"), a.frame("c", "d"))
	if p.seen.State().Cursor != s.origin.Cursor {
		t.Fatalf("the source is at %+v, the install says %+v", p.seen.State().Cursor, s.origin.Cursor)
	}
	p.copyHere(dir)
}

// ownCopy puts the state of another node of us into dir, which has installed the source's and gone on.
func (s *script) ownCopy(t *testing.T, fs durable.FS, dir string) {
	e := enginetest.Volatile()
	p := newPlace(t, "us", memory(), e, e).load()
	s.sourceCopy(t, p.fs, "/source")
	p.staged["copy"] = "/source"
	p.apply(append(append(slices.Clone(s.old), s.install), s.on...)...)
	q := newPlace(t, "us", fs, e, e)
	q.Applier.machine, q.index, q.term, q.saved = p.machine, p.index, p.term, p.saved
	q.copyHere(dir)
}

// way is a way to another state. prepare makes what it needs on a filesystem that then is as a running node's; enter
// takes the way.
type way struct {
	name    string
	prepare func(t *testing.T, s *script, fs durable.FS)
	equip   func(p *place)
	enter   func(p *place, s *script) error
	want    []string
	base    timeline.Base
}

var ways = []way{
	{
		name:    "a snapshot of Raft",
		prepare: func(t *testing.T, s *script, fs durable.FS) { s.ownCopy(t, fs, "/received") },
		equip:   func(*place) {},
		enter: func(p *place, _ *script) error {
			_, _, _, err := p.Install("/received")
			return err
		},
		want: later, base: timeline.Base{Index: 6, Position: 5},
	},
	{
		name:    "the install of another region's state",
		prepare: func(t *testing.T, s *script, fs durable.FS) { s.sourceCopy(t, fs, "/staging/copy") },
		equip:   func(p *place) { p.staged["copy"] = "/staging/copy" },
		enter:   func(p *place, s *script) error { return p.Apply(p.enter(1, s.install)) },
		want:    after, base: timeline.Base{Index: 5, Position: 4},
	},
	{
		name:    "an install whose copy is not here",
		prepare: func(t *testing.T, s *script, fs durable.FS) { s.ownCopy(t, fs, "/staging/own") },
		equip: func(p *place) {
			p.staged["own"] = "/staging/own"
			p.give = func(minIndex uint64) (string, error) {
				if minIndex != 5 {
					return "", fmt.Errorf("asked for entry %d", minIndex)
				}
				return "own", nil
			}
		},
		enter: func(p *place, s *script) error { return p.Apply(p.enter(1, s.install)) },
		want:  later, base: timeline.Base{Index: 6, Position: 5},
	},
	{
		name:    "an install of what this node makes itself",
		prepare: func(t *testing.T, s *script, fs durable.FS) { s.sourceCopy(t, fs, "/made") },
		equip:   func(p *place) { p.remake = func(id string) { p.staged[id] = "/made" } },
		enter:   func(p *place, s *script) error { return p.Apply(p.enter(1, s.install)) },
		want:    after, base: timeline.Base{Index: 5, Position: 4},
	},
}

// TestEveryWayToAnotherState: it ends in the same: the storage has it, also after a crash right behind; the log begins
// where the state does; who proposed is told; and applying goes on.
func TestEveryWayToAnotherState(t *testing.T) {
	for _, w := range append(slices.Clone(ways), byOrder) {
		for _, kind := range kinds {
			t.Run(w.name+"/"+kind.name, func(t *testing.T) {
				s, disk := newScript(t), vfs.NewCrashableMem()
				p := running(t, s, disk, pebblefs.New(disk), w, kind.open)
				p.passed = 0
				if err := w.enter(p, s); err != nil {
					t.Fatal(err)
				}
				p.check()
				if got := p.commands(); !slices.Equal(got, w.want) || p.passed != 1 {
					t.Errorf("commands %q, passed over %d times", got, p.passed)
				}
				if len(p.staged) != 0 {
					t.Errorf("copies left: %v", p.staged)
				}
				if p.log.base() != w.base {
					t.Errorf("the log begins behind %+v, want %+v", p.log.base(), w.base)
				}
				installed := timeline.Base{Index: 5, Position: 4}
				if st := p.seen.State(); st.Role() != timeline.Secondary || st.Slots != nil || st.Base != installed {
					t.Errorf("state %+v", st)
				}
				q := opened(t, disk.CrashClone(vfs.CrashCloneCfg{}), kind.open)
				if got := q.commands(); !slices.Equal(got, w.want) {
					t.Errorf("after a crash: commands %q", got)
				}
			})
		}
	}
}

// TestNothingIsThrownAwayThatIsNotSaved, on whatever way to another state, and none is gone on if it cannot be saved.
func TestNothingIsThrownAwayThatIsNotSaved(t *testing.T) {
	full := errors.New("no space left on device")
	for _, w := range ways[:2] {
		for _, want := range []error{nil, full} {
			s, disk := newScript(t), vfs.NewCrashableMem()
			w.prepare(t, s, pebblefs.New(disk))
			e := enginetest.Volatile()
			p := newPlace(t, "us", pebblefs.New(disk), e, e).load()
			claim := timeline.Latest(s.origin.Reigns)
			yield, err := timeline.EncodeControl(&timeline.Control{Op: timeline.OpYield, Claim: &claim})
			if err != nil {
				t.Fatal(err)
			}
			p.apply(append(slices.Clone(s.old[:3]), yield)...) // it has not diverged
			w.equip(p)
			p.full = want
			if err := w.enter(p, s); !errors.Is(err, want) {
				t.Fatalf("%s: %v, want %v", w.name, err, want)
			}
			if len(p.saved) != 1 || p.saved[0].Fork != 2 || p.saved[0].At != 3 || p.saved[0].Claim.Primary != "eu" {
				t.Errorf("%s: saved %+v", w.name, p.saved)
			}
			if got := p.commands(); want != nil && !slices.Equal(got, before) {
				t.Errorf("%s: could not save, and has %q", w.name, got)
			}
		}
	}
}

// TestANodeThatWasAwaySavesWhatItsRegionGaveUp: the region found that its history parts before the place that positions
// suggest, diverged, and installed another state; a node that comes back has only positions to compare.
func TestANodeThatWasAwaySavesWhatItsRegionGaveUp(t *testing.T) {
	s, disk, w := newScript(t), vfs.NewCrashableMem(), ways[0]
	claim := timeline.Latest(s.origin.Reigns)
	var err error
	s.old[3], err = timeline.EncodeControl(
		&timeline.Control{Op: timeline.OpDiverge, Fork: 1, At: 3, Epoch: 1, Claim: &claim})
	if err != nil {
		t.Fatal(err)
	}
	w.prepare(t, s, pebblefs.New(disk))
	e := enginetest.Volatile()
	p := newPlace(t, "us", pebblefs.New(disk), e, e).load()
	p.apply(s.old[:2]...)
	w.equip(p)
	if err := w.enter(p, s); err != nil {
		t.Fatal(err)
	}
	if len(p.saved) != 1 || p.saved[0].Fork != 1 || p.saved[0].At != 2 || p.saved[0].Claim != claim {
		t.Errorf("saved %+v", p.saved)
	}
	if g := p.seen.State().GivenUp; g == nil || *g != (timeline.GivenUp{Index: 5, Fork: 1}) {
		t.Errorf("the region gave up %+v", g)
	}
}

// TestANodeThatGotADivergedStateSavesItsTailToo: another node had saved it when it sent the state, and may be lost.
func TestANodeThatGotADivergedStateSavesItsTailToo(t *testing.T) {
	s, disk := newScript(t), vfs.NewCrashableMem()
	fs, e := pebblefs.New(disk), enginetest.Volatile()
	sender := newPlace(t, "us", fs, e, e).load()
	sender.apply(s.old...)
	sender.copyHere("/received")
	s.sourceCopy(t, fs, "/staging/copy")

	e = enginetest.Volatile()
	p := newPlace(t, "us", fs, e, e).load()
	if _, _, _, err := p.Install("/received"); err != nil {
		t.Fatal(err)
	}
	p.log.last = p.index
	if p.staged["copy"] = "/staging/copy"; len(p.saved) != 0 {
		t.Fatalf("saved %+v before anything was given up", p.saved)
	}
	p.full = errors.New("no space left on device")
	if err := p.Apply(p.enter(1, s.install)); !errors.Is(err, p.full) {
		t.Fatalf("%v, want %v", err, p.full)
	}
	want := *sender.seen.State().Diverged
	if len(p.saved) != 1 || p.saved[0] != want || !slices.Equal(p.commands(), before) {
		t.Errorf("saved %+v, want %+v; has %q", p.saved, want, p.commands())
	}
}

// TestAnEarlierForkIsSavedAgain: the history that is installed may part earlier than the one for which the region has
// diverged.
func TestAnEarlierForkIsSavedAgain(t *testing.T) {
	s := newScript(t)
	e := enginetest.Volatile()
	p := newPlace(t, "us", memory(), e, e).load()
	p.apply(s.old...)
	first, err := timeline.DecodeReign(s.old[0])
	if err != nil {
		t.Fatal(err)
	}
	ap := timeline.Reign{Epoch: 3, First: 2, Primary: "ap"}
	p.full = errors.New("no space left on device")
	install, err := timeline.EncodeControl(&timeline.Control{Op: timeline.OpInstall, Checkpoint: "copy",
		Origin: &timeline.Origin{
			Cursor: timeline.Cursor{Epoch: 3, Position: 9}, Reigns: []timeline.Reign{first, ap},
		}})
	if err != nil {
		t.Fatal(err)
	}
	if err := p.Apply(p.enter(1, install)); !errors.Is(err, p.full) {
		t.Fatal(err)
	}
	if n := len(p.saved); n != 2 || p.saved[1].Fork != 1 || p.saved[1].At != 3 || p.saved[1].Claim != ap {
		t.Errorf("saved %+v", p.saved)
	}
}

// TestACrashLeavesTheOldStateOrTheNew, in every step of every way, with every kind of storage; and the way can be taken
// again.
func TestACrashLeavesTheOldStateOrTheNew(t *testing.T) {
	for _, w := range ways {
		for _, kind := range kinds {
			t.Run(w.name+"/"+kind.name, func(t *testing.T) {
				s, disk := newScript(t), vfs.NewCrashableMem()
				var clones []*vfs.MemFS
				watching := false
				random := rand.New(rand.NewPCG(1, 2))
				fs := pebblefs.New(errorfs.Wrap(disk, errorfs.InjectorFunc(func(op errorfs.Op) error {
					if watching && op.Kind.ReadOrWrite() == errorfs.OpIsWrite {
						clones = append(clones, disk.CrashClone(vfs.CrashCloneCfg{}))
						clones = append(clones,
							disk.CrashClone(vfs.CrashCloneCfg{UnsyncedDataPercent: 50, RNG: random}))
					}
					return nil
				})))
				p := running(t, s, disk, fs, w, kind.open)
				watching = true
				if err := w.enter(p, s); err != nil {
					t.Fatal(err)
				}
				watching = false
				old, changed := 0, 0
				for i, clone := range clones {
					q := opened(t, clone, kind.open)
					switch got := q.commands(); {
					case slices.Equal(got, w.want):
						changed++
						continue
					case slices.Equal(got, before):
						old++
					default:
						t.Fatalf("crash %d of %d: commands %q", i, len(clones), got)
					}
					w.equip(q)
					q.log = p.log
					if err := w.again(q, s); err != nil {
						t.Fatalf("crash %d of %d: once more: %v", i, len(clones), err)
					}
					q.check()
					if got := q.commands(); !slices.Equal(got, w.want) {
						t.Fatalf("crash %d of %d: once more: commands %q", i, len(clones), got)
					}
				}
				if old < 2 {
					t.Errorf("%d crashes before the change, %d after: nothing was tried", old, changed)
				}
			})
		}
	}
}

// again takes the way from what a crash left: the log is applied from there.
func (w *way) again(p *place, s *script) error {
	p.log.last = p.index
	return w.enter(p, s)
}

// running returns a node with the state before, durable on disk, and with what the way needs. It works on fs, which is
// disk or around it.
func running(t *testing.T, s *script, disk *vfs.MemFS, fs durable.FS, w way, open opener) *place {
	t.Helper()
	for _, dir := range []string{dataDir, "/staging"} {
		if err := durable.MakeDir(pebblefs.New(disk), dir); err != nil {
			t.Fatal(err)
		}
	}
	w.prepare(t, s, pebblefs.New(disk))
	e, storage, err := open(fs)
	if err != nil {
		t.Fatal(err)
	}
	p := newPlace(t, "us", fs, e, storage).load()
	p.apply(s.old...)
	if len(p.saved) != 1 || p.saved[0].Fork != 2 || p.saved[0].At != 3 {
		t.Fatalf("saved tails %+v", p.saved)
	}
	if index, err := p.Sync(); err != nil || index != 4 {
		t.Fatalf("durable up to %d, %v", index, err)
	}
	w.equip(p)
	return p
}

// opened returns a node that begins with what is on disk.
func opened(t *testing.T, disk *vfs.MemFS, open opener) *place {
	t.Helper()
	fs := pebblefs.New(disk)
	e, storage, err := open(fs)
	if err != nil {
		t.Fatal(err)
	}
	return newPlace(t, "us", fs, e, storage).load()
}

// TestAStartIsAWayToo: the state that the storage or its keeper has is checked and taken as any other, and a crash
// while it is changes nothing.
func TestAStartIsAWayToo(t *testing.T) {
	for _, kind := range kinds {
		t.Run(kind.name, func(t *testing.T) {
			s, disk := newScript(t), vfs.NewCrashableMem()
			w := ways[1]
			p := running(t, s, disk, pebblefs.New(disk), w, kind.open)
			p.apply(s.install)
			if _, err := p.Sync(); err != nil {
				t.Fatal(err)
			}
			disk = disk.CrashClone(vfs.CrashCloneCfg{})
			// One log that leads to the state, and one that was lost in the middle of a snapshot.
			for _, log := range []*fakeLog{p.log, {}} {
				e, storage, err := kind.open(pebblefs.New(disk))
				if err != nil {
					t.Fatal(err)
				}
				q := newPlace(t, "us", pebblefs.New(disk), e, storage)
				q.log.terms, q.log.last = log.terms, log.last
				q.load()
				want := timeline.Base{Index: 5, Position: 4}
				if q.index != 5 || q.log.base() != want || q.passed != 1 {
					t.Errorf("entry %d, the log begins behind %+v, passed over %d times", q.index, q.log.base(),
						q.passed)
				}
			}
			e, storage, err := kind.open(pebblefs.New(disk))
			if err != nil {
				t.Fatal(err)
			}
			eu := newPlace(t, "eu", pebblefs.New(disk), e, storage)
			if _, err := eu.Load(&timeline.State{Region: "eu"}); !errors.Is(err, contract.ErrIdentity) {
				t.Errorf("the state of us at a node of eu: %v", err)
			}
		})
	}
}

// TestALogWithoutPositionsBeginsBehindTheState: after a snapshot of Raft it stands at the state's entry and holds
// nothing.
func TestALogWithoutPositionsBeginsBehindTheState(t *testing.T) {
	fs, e := memory(), enginetest.Volatile()
	p, a := newPlace(t, "us", fs, e, e).load(), newAuthor(t, "us")
	p.apply(a.begin(1, "us"), a.frame("a"))
	p.copyHere("/copy")
	e = enginetest.Volatile()
	q := newPlace(t, "us", fs, e, e).load()
	q.log.terms = map[uint64]uint64{2: 1}
	if _, _, _, err := q.Install("/copy"); err != nil {
		t.Fatal(err)
	}
	if want := (timeline.Base{Index: 2, Position: 1}); q.log.base() != want {
		t.Errorf("the log begins behind %+v, want %+v", q.log.base(), want)
	}
}

func TestANodeBeginsWithTheFirstStateIfThereIsNone(t *testing.T) {
	e := enginetest.Volatile()
	p := newPlace(t, "us", memory(), e, e)
	found, err := p.Load(&timeline.State{Region: "us", Conf: []byte{}})
	p.check()
	if found || err != nil || p.passed != 0 {
		t.Errorf("found %t, %v, passed over %d times", found, err, p.passed)
	}
}

// TestTheRequestForAnInstallIsAnsweredBeforeWorkInFlightEnds: who proposed it learns what became of it.
func TestTheRequestForAnInstallIsAnsweredBeforeWorkInFlightEnds(t *testing.T) {
	s, disk := newScript(t), vfs.NewCrashableMem()
	p := running(t, s, disk, pebblefs.New(disk), ways[1], kinds[0].open)
	told := len(p.told)
	p.apply(s.install)
	if len(p.told) != told+1 || p.told[told].Outcome != timeline.Applied || p.told[told].Index != 5 {
		t.Errorf("told %+v", p.told[told:])
	}
}
