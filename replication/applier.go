package replication

import (
	"errors"
	"fmt"
	"log/slog"
	"sync"

	"go.etcd.io/raft/v3/raftpb"
	"google.golang.org/protobuf/proto"

	"github.com/mimir-kv/mimir/replication/internal/life"
	"github.com/mimir-kv/mimir/replication/internal/region"
	"github.com/mimir-kv/mimir/replication/timeline"
)

// Bounds of one atomic batch to the storage.
const (
	maxRunBytes    = 4 << 20
	maxRunCommands = 8192
)

// applier turns committed entries into batches for the storage. It implements raftgroup.Machine. Every decision is timeline's;
// here are only the effects, in order.
type applier struct {
	storage Storage
	states  states
	keeper  keeper
	logger  *slog.Logger
	applied *region.Applied
	region  string
	// effects that need more than the storage
	saveTail func(d timeline.Divergence, upTo uint64) error
	staged   func(id string) (dir string, err error)
	discard  func(id string) // a staged copy that is not needed any more
	fetchOwn func(minIndex uint64) (id, dir string, meta *Metadata, err error)
	rebase   func(index uint64, p Position) // tells the log where its history begins
	// who waits
	waiting   func() bool
	resolve   func([]region.Outcome)
	overtaken func() // entries were passed over

	mu      sync.Mutex // held while the storage is changed or copied
	machine *timeline.Machine
	index   uint64
	term    uint64
	saved   uint64          // index of the last metadata saved
	bytes   uint64          // of history entries applied by this process
	record  []byte          // encoded state, nil if it has to be encoded anew
	frozen  *timeline.State // copy of the state for views, nil if it has to be made anew
	run     run
	told    []region.Outcome
}

// run gathers the commands of consecutive frames until they are handed to the storage as one batch.
type run struct {
	batch  Batch
	bytes  int
	frames []pendingFrame
	frame  timeline.Frame // scratch
}

type pendingFrame struct {
	told  int // place in applier.told
	count int
}

func newApplier(storage Storage, state *timeline.State, index, term uint64, l *life.Life, logger *slog.Logger) *applier {
	a := &applier{
		storage: storage, logger: logger, region: state.Region,
		machine: timeline.NewMachine(state), index: index, term: term, saved: index,
	}
	a.applied = region.NewApplied(a.viewNow(), l)
	return a
}

func (a *applier) viewNow() *region.View {
	s := a.machine.State()
	if a.frozen == nil {
		a.frozen = s.Clone()
	}
	v := &region.View{State: *a.frozen, Index: a.index, Term: a.term, Bytes: a.bytes}
	v.State.Cursor = s.Cursor
	return v
}

// changed says that more than the cursor of the state is new.
func (a *applier) changed() { a.record, a.frozen = nil, nil }

// Apply implements raftgroup.Machine.
func (a *applier) Apply(entries []*raftpb.Entry) error {
	a.mu.Lock()
	defer a.mu.Unlock()
	for _, e := range entries {
		if e.GetIndex() <= a.index {
			continue // a state that was installed contains it
		}
		if err := a.entry(e); err != nil {
			return fmt.Errorf("apply entry %d: %w", e.GetIndex(), err)
		}
	}
	if err := a.flush(); err != nil {
		return fmt.Errorf("apply up to entry %d: %w", a.index, err)
	}
	a.publish()
	return nil
}

// publish makes what was applied visible, first to readers, then to the waiting writers.
func (a *applier) publish() {
	a.applied.Publish(a.viewNow())
	if len(a.told) > 0 {
		a.resolve(a.told)
		a.told = nil
	}
}

func (a *applier) entry(e *raftpb.Entry) error {
	kind, err := timeline.KindOf(e.GetData())
	if err != nil {
		return err
	}
	switch kind {
	case timeline.KindFrame:
		return a.frame(e)
	case timeline.KindReign:
		return a.reign(e)
	case timeline.KindControl:
		return a.control(e)
	default: // a leader's first entry
		a.advance(e)
		a.tell(region.Outcome{Term: a.term, Index: a.index})
		return nil
	}
}

func (a *applier) advance(e *raftpb.Entry) { a.index, a.term = e.GetIndex(), e.GetTerm() }

func (a *applier) tell(t region.Outcome) { a.told = append(a.told, t) }

func (a *applier) frame(e *raftpb.Entry) error {
	f := &a.run.frame
	if err := timeline.DecodeFrame(e.GetData(), f); err != nil {
		return err
	}
	outcome, why, err := a.machine.Frame(f)
	if err != nil {
		return err
	}
	a.advance(e)
	a.tell(region.Outcome{Term: a.term, Index: a.index, Outcome: outcome, Why: why, Epoch: f.Epoch, First: f.First})
	if outcome != timeline.Applied {
		if outcome == timeline.Refused {
			a.logger.Info("refused frame", "index", a.index, "epoch", f.Epoch, "first", f.First, "why", why)
		}
		return nil
	}
	r := &a.run
	if len(r.frames) == 0 {
		r.batch.Epoch, r.batch.First = f.Epoch, f.First
	}
	a.bytes += uint64(len(e.GetData()))
	r.batch.Commands = append(r.batch.Commands, f.Commands...)
	r.frames = append(r.frames, pendingFrame{told: len(a.told) - 1, count: len(f.Commands)})
	r.bytes += len(e.GetData())
	if r.bytes >= maxRunBytes || len(r.batch.Commands) >= maxRunCommands {
		return a.flush()
	}
	return nil
}

// flush hands the gathered commands to the storage, with the metadata that goes with them (invariant 5).
func (a *applier) flush() error {
	r := &a.run
	if len(r.frames) == 0 {
		return nil
	}
	meta, err := a.metadata()
	if err != nil {
		return err
	}
	r.batch.Metadata, r.batch.WantResults = meta, a.waiting()
	results, err := a.storage.Apply(&r.batch)
	if err != nil {
		return fmt.Errorf("storage: apply %d commands at position %d: %w", len(r.batch.Commands), r.batch.First, err)
	}
	if r.batch.WantResults && len(results) != len(r.batch.Commands) {
		return fmt.Errorf("storage returned %d results for %d commands at position %d", len(results), len(r.batch.Commands), r.batch.First)
	}
	a.saved = a.index
	if r.batch.WantResults {
		for _, p := range r.frames {
			a.told[p.told].Results, results = results[:p.count:p.count], results[p.count:]
		}
	}
	clear(r.batch.Commands)
	r.batch.Commands, r.frames, r.bytes = r.batch.Commands[:0], r.frames[:0], 0
	return nil
}

// metadata describes the state as of the last entry.
func (a *applier) metadata() (*Metadata, error) {
	s := a.machine.State()
	if a.record == nil {
		r, err := s.EncodeRecord()
		if err != nil {
			return nil, err
		}
		a.record = r
	}
	return &Metadata{
		AppliedIndex: a.index, AppliedTerm: a.term,
		Epoch: s.Cursor.Epoch, Position: s.Cursor.Position, Chain: s.Cursor.Chain, Record: a.record,
	}, nil
}

func (a *applier) reign(e *raftpb.Entry) error {
	r, err := timeline.DecodeReign(e.GetData())
	if err != nil {
		return err
	}
	if err := a.flush(); err != nil {
		return err
	}
	outcome, why, err := a.machine.Reign(r)
	if err != nil {
		return err
	}
	a.advance(e)
	a.tell(region.Outcome{Term: a.term, Index: a.index, Outcome: outcome, Why: why, Reign: &r})
	if outcome != timeline.Applied {
		a.logger.Info("passed over beginning of an epoch", "epoch", r.Epoch, "primary", r.Primary, "outcome", outcome, "why", why)
		return nil
	}
	a.logger.Info("epoch begins", "epoch", r.Epoch, "primary", r.Primary, "first", r.First, "lossy", r.Lossy)
	a.changed()
	meta, err := a.metadata()
	if err != nil {
		return err
	}
	if err := a.storage.Begin(r, meta); err != nil {
		return fmt.Errorf("storage: begin epoch %d: %w", r.Epoch, err)
	}
	a.saved = a.index
	return nil
}

func (a *applier) control(e *raftpb.Entry) error {
	c, err := timeline.DecodeControl(e.GetData())
	if err != nil {
		return err
	}
	if err := a.flush(); err != nil {
		return err
	}
	outcome, why, err := a.machine.Control(c)
	if err != nil {
		return err
	}
	a.advance(e)
	a.tell(region.Outcome{Term: a.term, Index: a.index, Outcome: outcome, Why: why, Token: c.Token})
	if outcome != timeline.Applied {
		a.logger.Info("passed over control", "op", c.Op, "index", a.index, "outcome", outcome, "why", why)
		return nil
	}
	if c.Op == timeline.OpInstall {
		s := a.machine.State()
		s.Base = timeline.Base{Index: a.index, Position: s.Cursor.Position}
	}
	a.changed()
	return a.effect(c)
}

// effect carries out an applied control. What it does must be complete before the metadata says that it was.
func (a *applier) effect(c *timeline.Control) error {
	meta, err := a.metadata()
	if err != nil {
		return err
	}
	switch c.Op {
	case timeline.OpDiverge:
		if err := a.saveTail(*a.machine.State().Diverged, a.index); err != nil {
			return err
		}
	case timeline.OpInstall:
		return a.install(c, meta)
	}
	return a.save(meta)
}

func (a *applier) save(meta *Metadata) error {
	s := a.machine.State()
	if _, err := a.storage.Apply(&Batch{Epoch: s.Cursor.Epoch, First: s.Cursor.Position + 1, Metadata: meta}); err != nil {
		return fmt.Errorf("storage: save metadata: %w", err)
	}
	a.saved = a.index
	return nil
}

// install replaces the state by the staged checkpoint that the region agreed on.
func (a *applier) install(c *timeline.Control, meta *Metadata) error {
	dir, err := a.staged(c.Checkpoint)
	if err != nil {
		a.logger.Info("copy to be installed is not here; takes the state of another node", "copy", c.Checkpoint)
		return a.installElsewhere(a.index)
	}
	if err := a.replace(dir, meta); err != nil {
		return fmt.Errorf("install checkpoint %s: %w", c.Checkpoint, err)
	}
	a.saved = a.index
	a.rebase(a.index, c.Origin.Cursor.Position)
	a.discard(c.Checkpoint)
	if err := a.states.fs.RemoveAll(dir); err != nil {
		a.logger.Warn("installed copy not removed", "dir", dir, "err", err)
	}
	a.logger.Info("installed checkpoint of the source", "position", c.Origin.Cursor.Position, "epoch", c.Origin.Cursor.Epoch)
	return nil
}

// ApplyConf implements raftgroup.Machine.
func (a *applier) ApplyConf(e *raftpb.Entry, cc *raftpb.ConfChangeV2, conf *raftpb.ConfState) error {
	a.mu.Lock()
	defer a.mu.Unlock()
	if e.GetIndex() <= a.index {
		return nil // a state that was installed contains it
	}
	if err := a.flush(); err != nil {
		return err
	}
	a.advance(e)
	if err := a.members(cc, conf); err != nil {
		return fmt.Errorf("apply configuration change %d: %w", a.index, err)
	}
	a.changed()
	meta, err := a.metadata()
	if err != nil {
		return err
	}
	if err := a.save(meta); err != nil {
		return err
	}
	a.tell(region.Outcome{Term: a.term, Index: a.index})
	a.publish()
	return nil
}

// Applied implements raftgroup.Machine.
func (a *applier) Applied() (uint64, uint64, *raftpb.ConfState) {
	a.mu.Lock()
	defer a.mu.Unlock()
	conf, _ := a.conf()
	return a.index, a.term, conf
}

// conf returns the Raft configuration in the state, an empty one if there is none yet.
func (a *applier) conf() (*raftpb.ConfState, error) {
	c := &raftpb.ConfState{}
	if err := proto.Unmarshal(a.machine.State().Conf, c); err != nil {
		return c, fmt.Errorf("%w: raft configuration: %w", ErrMetadata, err)
	}
	return c, nil
}

// Sync implements raftgroup.Machine.
func (a *applier) Sync() (uint64, error) {
	a.mu.Lock()
	index := a.saved
	a.mu.Unlock()
	err := a.storage.Sync()
	if errors.Is(err, ErrVolatile) {
		return a.keepSnapshot()
	}
	if err != nil {
		return 0, fmt.Errorf("storage: sync: %w", err)
	}
	return index, nil
}
