package region

import (
	"context"
	"errors"
	"log/slog"
	"slices"
	"sync"
	"testing"

	"go.etcd.io/raft/v3/raftpb"

	"github.com/cockroachdb/pebble/v2/vfs"

	"github.com/mimir-kv/mimir/replication/contract"
	"github.com/mimir-kv/mimir/replication/durable"
	"github.com/mimir-kv/mimir/replication/durable/pebblefs"
	"github.com/mimir-kv/mimir/replication/internal/copies"
	"github.com/mimir-kv/mimir/replication/internal/enginetest"
	"github.com/mimir-kv/mimir/replication/timeline"
)

// place is an applier with everything around it made for tests. Every step is followed by a check of the invariants.
type place struct {
	t       *testing.T
	name    string // of the region
	fs      durable.FS
	engine  *enginetest.Engine
	log     *fakeLog
	staged  map[string]string // identity to directory
	asked   []uint64          // for states of the own region, by least index
	spoiled []string          // copies that turned out to be damaged
	give    func(minIndex uint64) (id string, err error)
	saved   []timeline.Divergence
	full    error           // of saving a tail
	remake  func(id string) // makes a copy here; nil: none can be made
	told    []Outcome
	wants   bool         // results
	passed  int          // how often entries were passed over
	forgot  func() error // what was copied of the state; nil: there is nothing
	ends    endings

	*Applier
	seen *Applied
}

// endings are why a node was told to end.
type endings struct {
	mu   sync.Mutex
	told []error
}

func (e *endings) add(err error) {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.told = append(e.told, err)
}

// by reports whether it was told to end for this reason; nil: it was not told.
func (e *endings) by(want error) bool {
	e.mu.Lock()
	defer e.mu.Unlock()
	if want == nil {
		return len(e.told) == 0
	}
	return slices.ContainsFunc(e.told, func(err error) bool { return errors.Is(err, want) })
}

const dataDir = "/data"

// memory returns an empty filesystem.
func memory() durable.FS { return pebblefs.New(vfs.NewCrashableMem()) }

// newPlace returns an applier of the region that keeps its state with storage, an engine or what is around one.
func newPlace(t *testing.T, name string, fs durable.FS, engine *enginetest.Engine, storage contract.Storage) *place {
	p := &place{t: t, name: name, fs: fs, engine: engine, staged: map[string]string{}}
	p.log = &fakeLog{terms: map[uint64]uint64{}}
	p.give = func(uint64) (string, error) { return "", errors.New("there is no other node") }
	p.seen = NewApplied(&View{State: timeline.State{Region: name}}, forever{})
	maker := copies.NewMaker(fs, storage)
	p.Applier = NewApplier(Config{
		Region: name, Storage: storage, Maker: maker,
		Keeper: copies.NewKeeper(maker, dataDir+"/snapshots", slog.New(slog.DiscardHandler)),
		Log:    p.log, Staging: p, Tails: p, Proposers: p, Forget: p.forget, Level: timeline.LevelNow,
		Logger: slog.New(slog.DiscardHandler), Fatal: p.ends.add,
	}, p.seen)
	return p
}

// load begins with what is there.
func (p *place) load() *place {
	p.t.Helper()
	if _, err := p.Load(&timeline.State{Region: p.name}); err != nil {
		p.t.Fatalf("load: %v", err)
	}
	p.check()
	return p
}

func (p *place) check() {
	p.t.Helper()
	if err := p.valid(); err != nil {
		p.t.Fatal(err)
	}
}

// enter puts payloads into the log, as a leader of term would, and returns the entries.
func (p *place) enter(term uint64, payloads ...[]byte) []*raftpb.Entry {
	var entries []*raftpb.Entry
	for _, data := range payloads {
		p.log.last++
		p.log.terms[p.log.last] = term
		entries = append(entries, &raftpb.Entry{Index: new(p.log.last), Term: new(term), Data: data})
	}
	p.log.entries = append(p.log.entries, entries...)
	return entries
}

// apply applies payloads as entries of term 1.
func (p *place) apply(payloads ...[]byte) {
	p.t.Helper()
	if err := p.Apply(p.enter(1, payloads...)); err != nil {
		p.t.Fatal(err)
	}
	p.check()
}

// copyHere makes a copy of the state in dir on the filesystem of the place.
func (p *place) copyHere(dir string) *Held {
	p.t.Helper()
	h, err := p.Hold(dir)
	if err == nil {
		err = h.Write()
	}
	if err != nil {
		p.t.Fatal(err)
	}
	return h
}

func (p *place) commands() []string { return p.engine.Content().Commands }

// Dir implements Staging.
func (p *place) Dir(id string) (string, error) {
	if dir := p.staged[id]; dir != "" {
		if _, err := p.fs.Stat(dir); err == nil {
			return dir, nil
		}
	}
	return "", errors.New("no such copy")
}

// FetchOwn implements Staging.
func (p *place) FetchOwn(minIndex uint64) (string, error) {
	p.asked = append(p.asked, minIndex)
	return p.give(minIndex)
}

// FetchSibling implements Staging.
func (p *place) FetchSibling(_ context.Context, minIndex uint64) (string, error) {
	return p.FetchOwn(minIndex)
}

// Remake implements Staging.
func (p *place) Remake(_ *timeline.State, _ uint64, id string, _ *timeline.Origin) {
	if p.remake != nil {
		p.remake(id)
	}
}

// Discard implements Staging.
func (p *place) Discard(id string) {
	if err := p.fs.RemoveAll(p.staged[id]); err != nil {
		p.t.Error(err)
	}
	delete(p.staged, id)
}

// Spoiled implements Staging.
func (p *place) Spoiled(id string) {
	p.spoiled = append(p.spoiled, id)
	p.Discard(id)
}

// Save implements Tails.
func (p *place) Save(d timeline.Divergence, _ *timeline.State, _ uint64, whole func(string) error) error {
	p.saved = append(p.saved, d)
	if p.full != nil {
		return p.full
	}
	dir := dataDir + "/whole"
	if err := p.fs.RemoveAll(dir); err != nil {
		return err
	}
	return whole(dir)
}

// forget implements Config.Forget.
func (p *place) forget(context.Context) error {
	if p.forgot == nil {
		return nil
	}
	return p.forgot()
}

func (p *place) Waiting() bool       { return p.wants }
func (p *place) Resolve(t []Outcome) { p.told = append(p.told, slices.Clone(t)...) }
func (p *place) Overtaken()          { p.passed++ }

// forever is a node that does not end.
type forever struct{}

func (forever) Stopped() <-chan struct{} { return nil }
func (forever) Failure() error           { return context.Canceled }

// fakeLog knows terms, and where it was told that history begins.
type fakeLog struct {
	last  uint64
	terms map[uint64]uint64
	bases []timeline.Base // as told
	based bool

	entries []*raftpb.Entry // that were put in, from the first one on
}

func (l *fakeLog) Entries(lo, hi, _ uint64) ([]*raftpb.Entry, error) {
	if hi > uint64(len(l.entries))+1 {
		return nil, errors.New("not in the log")
	}
	return l.entries[lo-1 : min(lo+1, hi-1)], nil // two at a time, at most
}

func (l *fakeLog) Term(index uint64) (uint64, error) {
	if term, ok := l.terms[index]; ok {
		return term, nil
	}
	return 0, errors.New("not in the log")
}

// FirstPosition is known once an entry was put in, or a base was told.
func (l *fakeLog) FirstPosition() (contract.Position, bool) { return 0, l.last > 0 || l.based }

func (l *fakeLog) Rebase(index uint64, p contract.Position) {
	l.bases = append(l.bases, timeline.Base{Index: index, Position: p})
	l.based = l.based || index > 0
}

// base returns where the log was told last that the history begins.
func (l *fakeLog) base() timeline.Base {
	if len(l.bases) == 0 {
		return timeline.Base{}
	}
	return slices.MaxFunc(l.bases, func(a, b timeline.Base) int { return int(a.Index) - int(b.Index) })
}

// author writes payloads that continue a history.
type author struct {
	t       *testing.T
	machine *timeline.Machine
}

func newAuthor(t *testing.T, region string) *author {
	return &author{t, timeline.NewMachine(&timeline.State{Region: region})}
}

func (a *author) frame(values ...string) []byte {
	c := a.machine.Cursor()
	f := timeline.Frame{Epoch: c.Epoch, First: c.Position + 1, Previous: c.Chain}
	for _, v := range values {
		f.Commands = append(f.Commands, timeline.Command{Data: []byte(v)})
	}
	a.must(a.machine.Frame(&f))
	return timeline.AppendFrame(nil, &f)
}

func (a *author) begin(epoch timeline.Epoch, primary string) []byte {
	c := a.machine.Cursor()
	r := timeline.Reign{Epoch: epoch, First: c.Position + 1, Primary: primary, Previous: c.Chain}
	r.Nonce[0] = byte(epoch)
	a.must(a.machine.Reign(r))
	return timeline.AppendReign(nil, r)
}

func (a *author) control(c *timeline.Control) []byte {
	a.must(a.machine.Control(c))
	p, err := timeline.EncodeControl(c)
	if err != nil {
		a.t.Fatal(err)
	}
	return p
}

func (a *author) must(outcome timeline.Outcome, why string, err error) {
	a.t.Helper()
	if outcome != timeline.Applied || err != nil {
		a.t.Fatalf("%s: %s, %v", outcome, why, err)
	}
}
