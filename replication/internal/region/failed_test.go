package region

import (
	"errors"
	"io"
	"syscall"
	"testing"

	"github.com/cockroachdb/pebble/v2/vfs"
	"go.etcd.io/raft/v3/raftpb"

	"github.com/mimir-kv/mimir/replication/contract"
	"github.com/mimir-kv/mimir/replication/durable"
	"github.com/mimir-kv/mimir/replication/durable/pebblefs"
	"github.com/mimir-kv/mimir/replication/internal/enginetest"
	"github.com/mimir-kv/mimir/replication/timeline"
)

// refusing is a storage that takes no batch while it says why.
type refusing struct {
	contract.Storage
	why error
}

func (r *refusing) Apply(b *contract.Batch) ([][]byte, error) {
	if r.why != nil {
		return nil, r.why
	}
	return r.Storage.Apply(b)
}

// Whatever keeps an entry from being applied: what was decided before it and is not in the storage is told to nobody,
// not to the storage either, and a node that starts again where it can go on comes to what the others have.
func TestWhatCouldNotBeAppliedIsNotSaved(t *testing.T) {
	noRoom := errors.New("no room")
	for what, test := range map[string]struct {
		entry func(a *author) []byte
		why   error // of the storage
		want  error
	}{
		"an entry of a later level": {
			entry: func(a *author) []byte {
				placed := timeline.Reign{Epoch: 2, First: 4, Primary: "eu", Lossy: true, Place: 1}
				placed.Previous = a.machine.Cursor().Chain
				return timeline.AppendReign(nil, placed)
			},
			want: timeline.ErrVersion,
		},
		"damage":               {entry: func(*author) []byte { return []byte("?") }, want: timeline.ErrFormat},
		"a storage that fails": {entry: func(a *author) []byte { return a.frame("d") }, why: noRoom, want: noRoom},
	} {
		for _, kind := range kinds {
			t.Run(what+"/"+kind.name, func(t *testing.T) {
				fs := pebblefs.New(vfs.NewCrashableMem())
				if err := durable.MakeDir(fs, dataDir); err != nil {
					t.Fatal(err)
				}
				e, s, err := kind.open(fs)
				if err != nil {
					t.Fatal(err)
				}
				storage := &refusing{Storage: s}
				p, a := newPlace(t, "us", fs, e, storage).load(), newAuthor(t, "us")
				p.config.Level = timeline.LevelFirst
				p.apply(a.begin(1, "us"), a.frame("a"))
				storage.why = test.why
				entries := p.enter(1, a.frame("b", "c"), test.entry(a))
				if err := p.Apply(entries); !errors.Is(err, test.want) {
					t.Fatalf("applied: %v", err)
				}
				storage.why = nil
				if !p.ends.by(test.want) {
					t.Errorf("ended by %v", p.ends.told)
				}
				p.goesOn(test.want)
				c := p.engine.Content()
				if len(c.Commands) != 1 || c.Meta.Position != 1 || c.Meta.AppliedIndex != 2 {
					t.Errorf("the storage has %q, and says %+v", c.Commands, c.Meta)
				}
				if kept := p.config.Keeper.Kept(); kept > 2 {
					t.Errorf("entry %d is kept", kept)
				}
				again := newPlace(t, "us", fs, e, s).load() // of today, and on a storage that works
				err = again.Apply(entries)
				if got := again.commands(); test.want != timeline.ErrFormat && (err != nil || len(got) < 3) {
					t.Errorf("started again: %q, %v", got, err)
				}
			})
		}
	}
}

// What a storage did not take is not tried again, whoever wanted it saved.
func TestAStorageThatDidNotTakeItsPlaceIsLeftAlone(t *testing.T) {
	e := enginetest.Volatile()
	storage := &refusing{Storage: e}
	p, a := newPlace(t, "us", memory(), e, storage).load(), newAuthor(t, "us")
	p.apply(a.begin(1, "us"), nil)
	storage.why = errors.New("no room")
	if _, err := p.Hold("/first"); !errors.Is(err, storage.why) {
		t.Fatalf("held: %v", err)
	}
	want := storage.why
	storage.why = nil
	if !p.ends.by(want) {
		t.Errorf("it goes on until the next entry, and whoever holds the state is told alone: %v", p.ends.told)
	}
	p.goesOn(want)
}

// goesOn tells what is done after the failure want.
func (p *place) goesOn(want error) {
	p.t.Helper()
	next := p.enter(1, nil)
	index, synced := p.Sync()
	if synced == nil && index <= 2 {
		synced = want // of a storage that keeps itself what it has
	}
	_, held := p.Hold("/held")
	_, checkpoint := p.Checkpoint("/checkpoint")
	_, _, _, installed := p.Install("/staging/own")
	for what, err := range map[string]error{
		"apply": p.Apply(next), "configure": p.ApplyConf(next[0], &raftpb.ConfChangeV2{}, &raftpb.ConfState{}),
		"sync": synced, "hold": held, "checkpoint": checkpoint, "install": installed,
		"rebuild": p.Rebuild(p.t.Context(), "/aside", mayBe),
	} {
		if !errors.Is(err, want) {
			p.t.Errorf("%s goes on: %v", what, err)
		}
	}
}

// What another node's state was about to replace is left alone where it is unknown which of the two the storage has.
func TestAnInstallThatEndsHalfWay(t *testing.T) {
	p, f := runningFailing(t)
	f.sync = errors.New("no sync")
	if _, _, _, err := p.Install("/staging/own"); !errors.Is(err, ErrTorn) || !errors.Is(err, f.sync) {
		t.Fatalf("installed: %v", err)
	}
	if !p.ends.by(ErrTorn) {
		t.Errorf("ended by %v", p.ends.told)
	}
	f.sync = nil
	_, held := p.Hold("/held")
	_, checkpoint := p.Checkpoint("/checkpoint")
	for what, err := range map[string]error{"apply": p.Apply(nil), "hold": held, "checkpoint": checkpoint} {
		if !errors.Is(err, ErrTorn) {
			t.Errorf("%s goes on: %v", what, err)
		}
	}
}

// refusingCopies is a storage to which no state is given while it says why.
type refusingCopies struct {
	contract.Storage
	why error
}

func (r *refusingCopies) Restore(from io.Reader, meta *contract.Metadata) error {
	if r.why != nil {
		return r.why
	}
	return r.Storage.Restore(from, meta)
}

// makesRoom does something in the place of waiting.
type makesRoom func()

func (m makesRoom) Await(error) bool { m(); return true }

func (makesRoom) Found() {}

// Where the first attempt left it unknown, and the second one is told that the copy is damaged, it is unknown still.
func TestAnAttemptThatIsRepeatedMayHaveChangedTheState(t *testing.T) {
	p, f := runningFailing(t)
	copies := &refusingCopies{Storage: f.Storage}
	f.Storage, f.sync = copies, syscall.ENOSPC
	p.patient.room = makesRoom(func() { f.sync, copies.why = nil, contract.ErrDamaged })
	err := p.Rebuild(t.Context(), "/aside/1", mayBe)
	if !errors.Is(err, ErrTorn) || errors.Is(err, contract.ErrDamaged) {
		t.Errorf("rebuilt: %v", err)
	}
	if err := p.Apply(nil); !errors.Is(err, ErrTorn) {
		t.Errorf("goes on: %v", err)
	}
}
