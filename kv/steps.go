package kv

import (
	"cmp"
	"errors"
	"slices"

	"github.com/mimir-kv/mimir/kv/command"
	"github.com/mimir-kv/mimir/kv/mvcc"
	"github.com/mimir-kv/mimir/replication"
)

// bounds are those of what is applied in one step.
type bounds struct {
	// batchBytes is what one batch of Pebble can hold. A command that with those before it in its entry takes more is
	// refused: what a node of before does then is to stop.
	batchBytes int
	// heldBytes are about so many that the step before may hold when an entry is added to it. It decides about nothing
	// but memory.
	heldBytes int64
}

var defaultBounds = bounds{batchBytes: mvcc.BatchBytes, heldBytes: 64 << 20}

// work is a batch that is being applied, in as many steps as its size asks for: nearly always one.
type work struct {
	*replication.Batch
	store    *Store
	g        *generation
	requests []command.Request
	failed   map[int]error // by command: why it is refused
	scan     bool
	results  [][]byte
}

// newWork decodes a batch. A command that cannot be decoded is refused like one that breaks a rule: on every node
// alike.
func newWork(s *Store, g *generation, b *replication.Batch) *work {
	w := &work{Batch: b, store: s, g: g, requests: make([]command.Request, len(b.Commands)), failed: map[int]error{}}
	for i := range b.Commands {
		if err := w.requests[i].Decode(b.Commands[i].Data); err != nil {
			w.failed[i] = err
			continue
		}
		w.scan = w.scan || w.requests[i].NeedsScan()
	}
	return w
}

// next returns the first place behind from where a step may end.
func (w *work) next(from int) int {
	i := w.cutAt(from + 1)
	if i == len(w.Cuts) {
		return len(w.Commands)
	}
	return w.Cuts[i].Commands
}

// metadataAt returns what is saved by a step that ends at to, where it may.
func (w *work) metadataAt(to int) *replication.Metadata {
	if to == len(w.Commands) {
		return w.Metadata
	}
	return w.MetadataAt(w.Cuts[w.cutAt(to)])
}

// cutAt returns the first cut that is not before a command.
func (w *work) cutAt(commands int) int {
	i, _ := slices.BinarySearchFunc(w.Cuts, commands, func(c replication.Cut, n int) int { return c.Commands - n })
	return i
}

// step applies the entries from the command at from on, as many as memory is for, and returns where it ended. What it
// wrote is visible then. An entry that does not fit behind others is left to the next step; of one that begins a step,
// the command that does not fit is refused. So what is refused depends on the entry and the content, and on nothing
// that may differ between nodes.
func (w *work) step(from int) (int, error) {
	end := len(w.Commands)
	for {
		to, at, err := w.tryStep(from, end)
		switch {
		case !errors.Is(err, mvcc.ErrBatchFull):
			return to, err
		case at < 0: // not a command: what belongs to the batch itself
			return 0, err
		case to > from:
			end = to
		default:
			w.failed[at] = command.ErrEffectTooLarge
		}
	}
}

// tryStep is step, which stops at end at the latest. With ErrBatchFull it did nothing: to is where the entry begins
// that does not fit, at the command of it.
func (w *work) tryStep(from, end int) (to, at int, err error) {
	s := w.store
	r, err := newRun(w.g, s.leases.Edit(), w.scan, s.watchers.Wanted(), s.bounds)
	if err != nil {
		return 0, -1, err
	}
	defer func() { err = cmp.Or(err, r.Close()) }()
	var out *command.Results // nil if nobody wants them
	if w.WantResults {
		out = command.NewResults(end - from)
	}
	for to = from; to < end && (to == from || r.held < s.bounds.heldBytes); {
		next := w.next(to)
		for i := to; i < next; i++ {
			r.epoch, r.position = w.Epoch, w.First+replication.Position(i)
			if err := r.apply(&w.requests[i], w.failed[i], out); err != nil {
				return to, i, err
			}
		}
		to = next
	}
	if err := s.commit(w.g, r, w.metadataAt(to)); err != nil {
		return 0, -1, err
	}
	w.results = append(w.results, out.All()...)
	return to, -1, nil
}
