package region

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"sync/atomic"

	"go.etcd.io/raft/v3/raftpb"
	"google.golang.org/protobuf/proto"

	"github.com/mimir-kv/mimir/replication/contract"
	"github.com/mimir-kv/mimir/replication/durable"
	"github.com/mimir-kv/mimir/replication/internal/copies"
	"github.com/mimir-kv/mimir/replication/internal/invariant"
	"github.com/mimir-kv/mimir/replication/internal/raftgroup"
	"github.com/mimir-kv/mimir/replication/timeline"
)

// Log is what the region says to this node's log, and asks of it.
type Log interface {
	// Term returns the term of an entry that the log holds, or of the one behind which it begins.
	Term(index uint64) (uint64, error)
	// FirstPosition returns the least position that a reader may begin with; ok is false while none is known.
	FirstPosition() (p contract.Position, ok bool)
	// Rebase says that a state at p took the place of everything up to the entry at index.
	Rebase(index uint64, p contract.Position)
	// Entries returns entries from lo on, before hi: at least one, of about maxBytes at most.
	Entries(lo, hi, maxBytes uint64) ([]*raftpb.Entry, error)
}

// Staging has the copies of other states that came to this node.
type Staging interface {
	// Dir returns where the copy with this identity is; an error if it is not here.
	Dir(id string) (string, error)
	// FetchOwn gets a copy of the state of another node of this region that has applied minIndex, and returns its
	// identity. It tries until the node stops.
	FetchOwn(minIndex uint64) (id string, err error)
	// FetchSibling is FetchOwn, which gives up when each of the others was asked, or ctx ends.
	FetchSibling(ctx context.Context, minIndex uint64) (id string, err error)
	// Discard removes a copy.
	Discard(id string)
	// Spoiled removes a copy that FetchOwn or FetchSibling got, and that is damaged: whoever gave it is asked for
	// the next one behind those who gave none, since another node may have his address by now.
	Spoiled(id string)
	// Remake makes the copy with this identity here, if it is one that this node can make by itself: at o, of what a
	// region in the state s has in its log before the entry at index, which installs it. Otherwise it does nothing.
	Remake(s *timeline.State, index uint64, id string, o *timeline.Origin)
}

// Tails saves what a region loses when it gives way to another history.
type Tails interface {
	// Save saves what the history of the state s has after the fork d, from the log's entries before upTo, durably.
	// whole copies that state into a new directory, for when the log does not reach back so far.
	Save(d timeline.Divergence, s *timeline.State, upTo uint64, whole func(dir string) error) error
}

// Config is what an applier is made of. Every field is required, unless it says that it is not.
type Config struct {
	Region    string
	Storage   contract.Storage
	Maker     *copies.Maker // of copies of Storage
	Keeper    *copies.Keeper
	Log       Log
	Staging   Staging
	Tails     Tails
	Proposers Proposers
	// Forget has nothing that was copied of the state here be given or gone back to any more, nor what is being copied,
	// and not after a crash either. Nothing is applied or held meanwhile.
	Forget func(ctx context.Context) error
	Level  timeline.Level // of the latest entries that this node understands
	Logger *slog.Logger
	Room   Room // may be nil: what finds no room is an error
	// Event is told what was decided, in the order of the log, also what was told before the node started. It must not
	// block. May be nil.
	Event func(timeline.Event)
	// Fatal is told behind what the node cannot go on, whoever wanted something of the storage: why nothing is applied,
	// saved or copied any more, or what was not made durable. It must not block.
	Fatal func(error)
}

// Applier turns committed entries into batches for the storage. It implements raftgroup.Machine. Every decision is
// timeline's; here are only the effects, in order.
//
// Invariants, checked by valid, outside of the methods that change the state:
//
//	A1  the machine's state is valid, and of this region.
//	A2  saved is at most index: the storage never has metadata of an entry that was not applied.
//	A3  nothing waits to be handed to the storage, and nothing waits to be told.
//	A4  what is published is what is applied.
//	A5  handed is at most index: what Raft has brought is applied.
//	A6  what is behind is not in front of what is applied, and what the view says of it is so.
//	A7  once an entry could not be applied, or the storage did not take something, or panicked, nothing is applied,
//	    saved or copied any more: what was decided may be in front of what the storage has, and its metadata would tell
//	    of commands that it has not (invariant 5). The others need not hold then. The node ends.
type Applier struct {
	config  Config
	applied *Applied
	syncs   *syncs // of config.Storage

	mu       turn // held while the storage is changed, or taken hold of
	progress      // what is decided on
	behind   *behind
	receipts receipts // of what is not shown yet, and the last one that is
	patient  patient
	handed   uint64        // what Raft has brought reaches up to here
	saved    atomic.Uint64 // index of the last metadata saved; read by anybody
	bytes    uint64        // of history entries applied by this process
	run      run
	told     []Outcome
	failed   error // once nothing must be applied, saved or copied any more: why
}

var _ raftgroup.Machine = (*Applier)(nil)

// NewApplier returns an applier that publishes to applied. [Applier.Load] is called before any other method.
func NewApplier(c Config, applied *Applied) *Applier {
	a := &Applier{
		config: c, applied: applied, syncs: newSyncs(c.Storage), mu: newTurn(),
		progress: progress{machine: timeline.NewMachine(&timeline.State{Region: c.Region})},
	}
	a.patient.init(c.Room)
	return a
}

// Apply implements raftgroup.Machine.
func (a *Applier) Apply(entries []*raftpb.Entry) error {
	return change(a, func() error { return applyAll(a, entries) })
}

// change changes the state. If that fails it is the last change: only a start knows again what the storage has.
func change(a *Applier, how func() error) error {
	a.mu.Lock()
	return inTurn(a, func() error {
		if err := how(); err != nil {
			return fail(a, err)
		}
		return nil
	})
}

func applyAll(a *Applier, entries []*raftpb.Entry) error {
	for _, e := range entries {
		a.handed = e.GetIndex()
		if e.GetIndex() <= a.index {
			continue // a state that was adopted contains it
		}
		if err := a.entry(e); err != nil {
			return fmt.Errorf("apply entry %d: %w", e.GetIndex(), err)
		}
	}
	if err := a.flush(); err != nil {
		return fmt.Errorf("apply up to entry %d: %w", a.index, err)
	}
	if err := a.behind.show(); err != nil {
		return err
	}
	a.publish()
	return nil
}

// publish makes what was applied visible, first to readers, then to the waiting writers.
func (a *Applier) publish() {
	a.applied.Publish(&View{
		State: a.machine.State(), Index: a.index, Term: a.term, Bytes: a.bytes,
		Shown: a.inStorage().machine.Cursor(), ShownIndex: a.inStorage().index, Receipts: a.receipts,
	})
	if len(a.told) > 0 {
		a.config.Proposers.Resolve(a.told)
		a.told = nil
	}
	invariant.Check("region", a.validHeld)
}

func (a *Applier) tell(t Outcome) {
	t.Term, t.Index = a.term, a.index
	a.told = append(a.told, t)
}

// metadata describes the state as of the last entry that the storage has.
func (a *Applier) metadata() (*contract.Metadata, error) {
	p := a.inStorage()
	record, err := p.machine.Record()
	if err != nil {
		return nil, err
	}
	c := p.machine.Cursor()
	return &contract.Metadata{
		AppliedIndex: p.index, AppliedTerm: p.term,
		Epoch: c.Epoch, Position: c.Position, Chain: c.Chain, Record: record,
	}, nil
}

func (a *Applier) saveMetadata(meta *contract.Metadata) error {
	nothing := &contract.Batch{Epoch: meta.Epoch, First: meta.Position + 1, Metadata: meta}
	if _, err := a.config.Storage.Apply(nothing); err != nil {
		return fmt.Errorf("%w: save metadata: %w", copies.ErrStorage, err)
	}
	a.saved.Store(meta.AppliedIndex)
	return nil
}

// saveAll makes the storage know its own place: what only moved the index may not be there yet. It returns the metadata
// that is.
func (a *Applier) saveAll() (*contract.Metadata, error) {
	meta, err := a.metadata()
	if err != nil || a.saved.Load() == a.inStorage().index {
		return meta, err
	}
	if err := a.saveMetadata(meta); err != nil {
		return nil, fail(a, err)
	}
	return meta, nil
}

// Applied implements raftgroup.Machine.
func (a *Applier) Applied() (uint64, uint64, *raftpb.ConfState) {
	a.mu.Lock()
	defer a.mu.Unlock()
	s := a.machine.State()
	conf, _ := confOf(&s)
	return a.index, a.term, conf
}

// confOf returns the Raft configuration in a state, an empty one if there is none yet.
func confOf(s *timeline.State) (*raftpb.ConfState, error) {
	c := &raftpb.ConfState{}
	if err := proto.Unmarshal(s.Conf, c); err != nil {
		return c, fmt.Errorf("%w: raft configuration: %w", contract.ErrMetadata, err)
	}
	return c, nil
}

// Sync implements raftgroup.Machine. It waits for nobody who waits for room. Whoever wants something durable, an error
// that is not durable.Full ends the node: nobody knows any more what is. So does damage, also of the only voter of its
// region, which goes on where only a copy for others finds that: nothing that it acknowledged would be durable.
func (a *Applier) Sync() (uint64, error) {
	index := a.saved.Load() // before it may begin
	err := a.syncs.Sync()
	if errors.Is(err, contract.ErrVolatile) {
		index, err = a.keep()
	} else if err != nil {
		err = fmt.Errorf("%w: sync: %w", copies.ErrStorage, err)
	}
	switch {
	case err == nil:
		return index, nil
	case !durable.Full(err):
		a.config.Fatal(err)
	}
	return 0, err
}

func (a *Applier) valid() error {
	a.mu.Lock()
	defer a.mu.Unlock()
	return a.validHeld()
}

// validHeld checks A1 to A6, and with the record the properties of the state. The caller holds mu.
func (a *Applier) validHeld() error {
	if a.failed != nil {
		return nil
	}
	s, v := a.machine.State(), a.applied.View()
	record, err := a.machine.Record()
	if err == nil {
		_, err = timeline.DecodeRecord(record, s.Cursor)
	}
	switch {
	case err != nil:
		return fmt.Errorf("A1: %w", err)
	case s.Region != a.config.Region:
		return fmt.Errorf("A1: state of region %s", s.Region)
	case a.saved.Load() > a.inStorage().index:
		return fmt.Errorf("A2: metadata of entry %d saved, %d applied", a.saved.Load(), a.index)
	case len(a.run.frames) > 0 || len(a.told) > 0:
		return fmt.Errorf("A3: %d frames gathered, %d outcomes not told", len(a.run.frames), len(a.told))
	case a.inStorage().index > a.index || v.Shown != a.inStorage().machine.Cursor():
		return fmt.Errorf("A6: entry %d at %+v is applied, storage at %d", a.index, s.Cursor, a.inStorage().index)
	case a.handed > a.index:
		return fmt.Errorf("A5: Raft has brought entry %d, %d is applied", a.handed, a.index)
	case v.Index != a.index || v.Term != a.term || v.State.Cursor != s.Cursor || len(v.State.Reigns) != len(s.Reigns):
		return fmt.Errorf("A4: entry %d at %+v is applied, %d at %+v shown", a.index, s.Cursor, v.Index, v.State.Cursor)
	}
	return nil
}
