package rewind

import (
	"context"
	"fmt"
	"log/slog"
	"slices"
	"testing"

	"github.com/cockroachdb/pebble/v2/vfs"
	"go.etcd.io/raft/v3"
	"go.etcd.io/raft/v3/raftpb"

	"github.com/mimir-kv/mimir/replication/clock"
	"github.com/mimir-kv/mimir/replication/contract"
	"github.com/mimir-kv/mimir/replication/durable"
	"github.com/mimir-kv/mimir/replication/durable/pebblefs"
	"github.com/mimir-kv/mimir/replication/internal/copies"
	"github.com/mimir-kv/mimir/replication/internal/enginetest"
	"github.com/mimir-kv/mimir/replication/internal/region"
	"github.com/mimir-kv/mimir/replication/timeline"
)

// place is a node of the region us: an engine, a log of which each entry is a reign or a frame of one command, and what
// goes back with them.
type place struct {
	*Rewinds
	t        *testing.T
	disk     *vfs.MemFS
	fs       durable.FS
	engine   enginetest.Files
	maker    *copies.Maker
	machine  *timeline.Machine
	view     *region.Applied
	entries  []*raftpb.Entry // of index 1 and on
	from     timeline.Position
	released uint64 // entries before it are gone
	pinned   uint64
	least    contract.Position
	unfit    bool
	every    int64  // entries between two marks
	held     func() // is called when the state is held, may be nil
	seeks    func() // is called when the log is read, may be nil
}

type forever struct{}

func (forever) Stopped() <-chan struct{} { return nil }
func (forever) Failure() error           { return nil }

func newPlace(t *testing.T) *place {
	disk := vfs.NewCrashableMem()
	fs := pebblefs.New(disk)
	e, err := enginetest.Open(fs, "/engine")
	if err != nil {
		t.Fatal(err)
	}
	p := &place{t: t, disk: disk, fs: fs, engine: enginetest.Files{Engine: e}, every: 5}
	p.maker = copies.NewMaker(fs, p.engine)
	p.machine = timeline.NewMachine(&timeline.State{Region: "us"})
	p.view = region.NewApplied(&region.View{State: p.machine.State()}, forever{})
	p.reopen()
	p.begins(timeline.Reign{Epoch: 1, Primary: "us"})
	return p
}

// reopen is what a new process has of the disk.
func (p *place) reopen() {
	p.t.Helper()
	p.Rewinds = New(Config{
		FS: p.fs, Dir: "/rewind", Brancher: p.engine, Source: p, Applied: p.view, Log: p,
		Least: func() contract.Position { return p.least }, Unfit: func() bool { return p.unfit },
		EveryBytes: p.every, Clock: clock.Real, Logger: slog.New(slog.DiscardHandler),
	})
	if err := p.Begin(); err != nil {
		p.t.Fatal(err)
	}
}

func (p *place) metadata() *contract.Metadata {
	record, err := p.machine.Record()
	if err != nil {
		p.t.Fatal(err)
	}
	c := p.machine.Cursor()
	return &contract.Metadata{
		AppliedIndex: uint64(len(p.entries)), AppliedTerm: 1, Epoch: c.Epoch, Position: c.Position, Chain: c.Chain,
		Record: record,
	}
}

func (p *place) append(payload []byte) {
	i := uint64(len(p.entries) + 1)
	p.entries = append(p.entries, &raftpb.Entry{Index: &i, Data: payload})
	p.view.Publish(&region.View{State: p.machine.State(), Index: i, Term: 1})
}

func (p *place) begins(r timeline.Reign) timeline.Reign {
	c := p.machine.Cursor()
	r.First, r.Previous = c.Position+1, c.Chain
	if outcome, why, err := p.machine.Reign(r); err != nil || outcome != timeline.Applied {
		p.t.Fatal(outcome, why, err)
	}
	p.append(timeline.AppendReign(nil, r))
	if err := p.engine.Begin(r, p.metadata()); err != nil {
		p.t.Fatal(err)
	}
	return r
}

// writes applies commands up to the position to.
func (p *place) writes(to timeline.Position) {
	for c := p.machine.Cursor(); c.Position < to; c = p.machine.Cursor() {
		f := timeline.Frame{Epoch: c.Epoch, First: c.Position + 1, Previous: c.Chain}
		f.Commands = []timeline.Command{{Data: fmt.Appendf(nil, "c%d", f.First)}}
		if outcome, why, err := p.machine.Frame(&f); err != nil || outcome != timeline.Applied {
			p.t.Fatal(outcome, why, err)
		}
		p.append(timeline.AppendFrame(nil, &f))
		b := &contract.Batch{Epoch: f.Epoch, First: f.First, Commands: f.Commands, Metadata: p.metadata()}
		if _, err := p.engine.Apply(b); err != nil {
			p.t.Fatal(err)
		}
	}
}

// diverges gives up what is behind the fork for a reign that begins there, whose history has the chain that is the
// region's at the position like.
func (p *place) diverges(fork, like timeline.Position) Request {
	s := p.machine.State()
	r := timeline.Reign{
		Epoch: s.Cursor.Epoch + 1, Primary: "eu", First: fork + 1, Lossy: true, Previous: p.chain(like),
	}
	c := &timeline.Control{Op: timeline.OpDiverge, Fork: fork, At: s.Cursor.Position, Epoch: s.Cursor.Epoch, Claim: &r}
	if outcome, why, err := p.machine.Control(c); err != nil || outcome != timeline.Applied {
		p.t.Fatal(outcome, why, err)
	}
	p.append(nil)
	return Request{Index: uint64(len(p.entries)), Reigns: []timeline.Reign{s.Reigns[0], r}}
}

func (p *place) chain(at timeline.Position) (c timeline.Chain) {
	s := p.machine.State()
	c = timeline.NewFolder().Reign(c, s.Reigns[0])
	for i := range int(at) {
		c = timeline.NewFolder().Command(c, fmt.Appendf(nil, "c%d", i+1))
	}
	return c
}

func (p *place) Sync() (uint64, error) { return uint64(len(p.entries)), p.engine.Sync() }

func (p *place) Hold(dir string) (*region.Held, error) {
	part, err := p.maker.Begin(dir, p.metadata())
	if p.held != nil {
		p.held()
	}
	return &region.Held{Part: part}, err
}

func (p *place) Seek(at timeline.Position) (uint64, error) {
	if p.seeks != nil {
		p.seeks()
	}
	if at < p.from {
		return 0, raft.ErrCompacted
	}
	return uint64(at) + 1, nil // the first entry is a reign
}
func (p *place) FirstPosition() (timeline.Position, bool) { return p.from, true }
func (p *place) Entries(lo, hi, _ uint64) ([]*raftpb.Entry, error) {
	if lo < p.released {
		return nil, raft.ErrCompacted
	}
	return p.entries[lo-1 : hi-1], nil
}
func (p *place) LastIndex() uint64            { return uint64(len(p.entries)) }
func (p *place) BytesFrom(index uint64) int64 { return int64(len(p.entries)) - int64(index) + 1 }
func (p *place) Pin(_ string, index uint64)   { p.pinned = index }
func (p *place) Unpin(string)                 { p.pinned = 0 }
func (p *place) positions() (at []timeline.Position) {
	for _, m := range p.marks {
		at = append(at, m.position)
	}
	return at
}

// Marks are made as the log grows; the newest that everybody has got past stays, and the log from it on.
func TestMarks(t *testing.T) {
	p := newPlace(t)
	for _, step := range []struct {
		to, least timeline.Position
		want      []timeline.Position
	}{
		{2, 0, []timeline.Position{2}}, {4, 0, []timeline.Position{2}}, {8, 0, []timeline.Position{2, 8}},
		{14, 3, []timeline.Position{2, 8, 14}}, {20, 7, []timeline.Position{2, 14, 20}},
		{26, 14, []timeline.Position{14, 20, 26}}, {27, 27, []timeline.Position{26}},
	} {
		p.writes(step.to)
		p.least = step.least
		p.look()
		if got := p.positions(); !slices.Equal(got, step.want) {
			t.Fatalf("at %d: marks %v, want %v", step.to, got, step.want)
		}
		if want := uint64(step.want[0]) + 2; p.pinned != want {
			t.Fatalf("at %d: log kept from %d, want %d", step.to, p.pinned, want)
		}
	}
	p.reopen()
	if got := p.positions(); !slices.Equal(got, []timeline.Position{26}) || p.pinned != 28 {
		t.Fatalf("opened again: marks %v, log from %d", got, p.pinned)
	}
	if names, err := p.fs.List(p.config.marksDir()); err != nil || !slices.Equal(names, []string{"27"}) {
		t.Fatalf("on the disk: %v, %v", names, err)
	}
	p.from = 27 // the log was released
	p.look()
	if got := p.positions(); len(got) != 0 {
		t.Fatalf("no log leads on from %v", got)
	}
	p.config.SpareBytes = 1 << 62
	p.config.FS = crowded{p.fs}
	p.writes(28)
	p.look()
	if got := p.positions(); len(got) != 0 {
		t.Fatalf("marks on a full disk: %v", got)
	}
}

// TestMarksGiveWay: also while the region gives way where the disk is short, since a copy of the whole state may need
// the room.
func TestMarksGiveWay(t *testing.T) {
	p := newPlace(t)
	p.writes(4)
	p.look()
	p.diverges(2, 2)
	p.look()
	if got := p.positions(); len(got) != 1 {
		t.Fatalf("marks %v of a region that gives way, want the one that it had", got)
	}
	p.config.SpareBytes, p.config.FS = 1<<62, crowded{p.fs}
	if p.look(); len(p.positions()) != 0 || p.pinned != 0 {
		t.Errorf("marks %v on a full disk, log from %d", p.positions(), p.pinned)
	}
}

type crowded struct{ durable.FS }

func (crowded) FreeBytes(string) (uint64, error) { return 1 << 20, nil }

// The state at the fork is the history's up to there, and the reign that begins there (W1), whichever the mark.
func TestTheStateAtTheFork(t *testing.T) {
	for _, fork := range []timeline.Position{8, 9, 13} {
		p := newPlace(t)
		p.writes(8)
		p.look()
		p.writes(16)
		q := p.diverges(fork, fork)
		p.look() // nothing changes meanwhile
		made, err := p.Prepare(t.Context(), q)
		if err != nil {
			t.Fatal(err)
		}
		again, err := p.Prepare(t.Context(), q)
		if err != nil || again.ID != made.ID || again.Origin.Cursor != made.Origin.Cursor {
			t.Fatalf("asked again: %+v, %v; before %+v", again, err, made)
		}
		want := timeline.Cursor{
			Epoch: 2, Position: fork, Chain: timeline.NewFolder().Reign(p.chain(fork), q.Reigns[1]),
		}
		if made.Origin.Cursor != want || !slices.Equal(made.Origin.Reigns, q.Reigns) {
			t.Fatalf("made %+v, want %+v", made.Origin, want)
		}
		dir, ok := p.State(made.ID)
		if !ok {
			t.Fatal("it is not here")
		}
		if err := p.engine.Install(copies.Contents(dir), nil); err != nil {
			t.Fatal(err)
		}
		c := p.engine.Content()
		if len(c.Commands) != int(fork) || !slices.Equal(c.Reigns, q.Reigns) || c.Meta.Position != fork {
			t.Fatalf("holds %d commands, %+v, %+v", len(c.Commands), c.Reigns, c.Meta)
		}
		s, err := timeline.DecodeRecord(c.Meta.Record, made.Origin.Cursor)
		if err != nil || s.Region != "us" {
			t.Fatalf("record %+v, %v", s, err)
		}
		p.reopen() // and after a crash it is here still, until nothing asks for it
		if _, ok := p.State(made.ID); !ok {
			t.Fatal("it is gone")
		}
		p.Discard(made.ID)
		if _, ok := p.State(made.ID); ok {
			t.Fatal("it is here still")
		}
	}
}

// A mark at the fork of a reign that began there and is lost leads nowhere, and is in the way of no older one: not of
// its use, nor of keeping it while another region may not have got past it.
func TestAMarkOfALostReign(t *testing.T) {
	p := newPlace(t)
	p.writes(8)
	p.look()
	p.writes(16)
	p.begins(timeline.Reign{Epoch: 2, Primary: "us"})
	p.least = 16 // of epoch 1
	p.look()
	if got := p.positions(); !slices.Equal(got, []timeline.Position{8, 16}) {
		t.Fatalf("marks %v", got)
	}
	p.writes(18)
	q := p.diverges(16, 16)
	for range 2 {
		made, err := p.Prepare(t.Context(), q)
		if err != nil || made.Origin.Cursor.Position != 16 || !slices.Equal(made.Origin.Reigns, q.Reigns) {
			t.Fatalf("made %+v, %v", made, err)
		}
		p.Discard(made.ID)
		p.reopen()
	}
}

// What would not be the state of that history is not made.
func TestNoOtherState(t *testing.T) {
	for name, c := range map[string]struct {
		fork, like timeline.Position
		before     func(p *place, q *Request)
	}{
		"the other history has another chain at the fork": {9, 10, nil},
		"the fork is before every checkpoint":             {7, 7, nil},
		"the log does not lead on from it":                {10, 10, func(p *place, _ *Request) { p.from = 9 }},
		"the checkpoint is of another history": {10, 10, func(p *place, _ *Request) {
			if err := p.machine.Rebase(12); err != nil {
				p.t.Fatal(err)
			}
			p.append(nil)
		}},
		"another reign of the history begins before the fork": {10, 10, func(_ *place, q *Request) {
			q.Reigns[1].First = 9
		}},
		"nothing is shared": {10, 10, func(_ *place, q *Request) { q.Reigns = q.Reigns[1:] }},
		"processes ended there": {10, 10, func(p *place, _ *Request) {
			if err := p.setTries(p.marks[0], maxTries); err != nil {
				p.t.Fatal(err)
			}
		}},
	} {
		p := newPlace(t)
		p.writes(8)
		p.look()
		p.writes(16)
		q := p.diverges(c.fork, c.like)
		if c.before != nil {
			c.before(p, &q)
		}
		if made, err := p.Prepare(t.Context(), q); err == nil {
			t.Errorf("%s: made %+v", name, made)
		}
		if left, err := p.fs.List(p.config.statesDir()); err == nil && len(left) > 0 {
			t.Errorf("%s: left %v", name, left)
		}
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	p := newPlace(t)
	if _, err := p.Prepare(ctx, Request{Index: 100}); err == nil {
		t.Error("made before the region had diverged")
	}
}

// A state that nothing asks for goes once the region follows again, and not before the log is applied that may ask.
func TestStatesGo(t *testing.T) {
	p := newPlace(t)
	p.writes(8)
	p.look()
	p.writes(12)
	made, err := p.Prepare(t.Context(), p.diverges(10, 10))
	if err != nil {
		t.Fatal(err)
	}
	p.look()
	if _, ok := p.State(made.ID); !ok {
		t.Fatal("gone while the region is diverged")
	}
	earlier := region.View{State: timeline.State{Region: "us"}, Index: 12}
	p.reopen() // and the engine lost what was not synced: it is applied again
	p.sweep(&earlier)
	if _, ok := p.State(made.ID); !ok {
		t.Fatal("gone before the log is applied that may ask for it")
	}
	earlier.Index = p.LastIndex()
	p.sweep(&earlier)
	if _, ok := p.State(made.ID); ok {
		t.Fatal("here still")
	}
}

// TestWhatComesByTheStream: of the history that the region gave way to it takes the reigns that begin at the fork, or
// none where that goes on there in the reign that both have; a node that was away makes the same.
func TestWhatComesByTheStream(t *testing.T) {
	for name, c := range map[string]struct {
		later []timeline.Reign // instead of the one that begins at the fork, if the first is of epoch 2
		want  int              // reigns
		epoch timeline.Epoch
	}{
		"writes, and another reign":           {[]timeline.Reign{{Epoch: 3, Primary: "ap", First: 15}}, 2, 2},
		"the shared reign went on":            {[]timeline.Reign{{Epoch: 2, Primary: "ap", First: 13}}, 1, 1},
		"it went on, and there were two more": {[]timeline.Reign{{Epoch: 2, First: 13}, {Epoch: 3, First: 14}}, 1, 1},
	} {
		p := newPlace(t)
		p.writes(8)
		p.look()
		p.writes(16)
		q := p.diverges(10, 10)
		if c.later[0].Epoch == 2 {
			q.Reigns = q.Reigns[:1]
		}
		q.Reigns = append(q.Reigns, c.later...)
		made, err := p.Prepare(t.Context(), q)
		if at := made.Origin.Cursor; err != nil || at.Position != 10 || at.Epoch != c.epoch ||
			!slices.Equal(made.Origin.Reigns, q.Reigns[:c.want]) {
			t.Errorf("%s: %+v, %v", name, made, err)
			continue
		}
		p.Discard(made.ID)
		s := p.machine.State()
		p.Remake(t.Context(), &s, q.Index+1, made.ID, &made.Origin)
		if _, ok := p.State(made.ID); !ok {
			t.Errorf("%s: a node that was away does not make it", name)
		}
	}
}
