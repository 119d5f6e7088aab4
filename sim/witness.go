package sim

import (
	"io"
	"sync/atomic"

	"github.com/mimir-kv/mimir/replication"
	"github.com/mimir-kv/mimir/replication/timeline"
)

// witness stands between a node and its storage and checks that every batch continues what the storage has. It sees
// only the life of one process; what it saw after the power was gone does not count.
type witness struct {
	replication.Storage
	lineage      *lineage
	region, node string
	gone         *atomic.Bool
	wrong        func(invariant, format string, args ...any)

	at     atomic.Pointer[place] // nil: nothing loaded yet
	index  uint64
	record string
	claim  replication.Reign
}

// fileWitness is the witness of a storage that copies itself as files.
type fileWitness struct {
	*witness
	files replication.Checkpointer
}

// storage returns what the node is given.
func (w *witness) storage() replication.Storage {
	if c, ok := w.Storage.(replication.Checkpointer); ok {
		return fileWitness{w, c}
	}
	return w
}

// Load implements replication.Storage.
func (w *witness) Load() (*replication.Metadata, error) {
	meta, err := w.Storage.Load()
	if err == nil {
		w.loaded(meta)
	}
	return meta, err
}

// loaded finds the place that a storage says it is at.
func (w *witness) loaded(meta *replication.Metadata) {
	if w.gone.Load() {
		return
	}
	at := w.lineage.genesis
	if meta != nil {
		at = w.lineage.find(meta.Chain)
		if at == nil || at.position != meta.Position || at.epoch != meta.Epoch {
			w.wrong("5", "storage of %s says position %d of epoch %d, chain %v: nobody was ever there", w.node,
				meta.Position, meta.Epoch, meta.Chain)
			return
		}
		w.settle(at, meta)
	}
	w.at.Store(at)
}

// settle checks the metadata that goes with a place.
func (w *witness) settle(at *place, meta *replication.Metadata) {
	if meta.Chain != at.chain || meta.Position != at.position || meta.Epoch != at.epoch {
		w.wrong("5", "%s saves position %d of epoch %d, chain %v, with the data of %v", w.node, meta.Position,
			meta.Epoch, meta.Chain, at)
	}
	if meta.AppliedIndex < w.index {
		w.wrong("5", "applied index of %s falls from %d to %d", w.node, w.index, meta.AppliedIndex)
	}
	w.index = meta.AppliedIndex
	w.lineage.reached(w.region, w.node, meta.AppliedIndex, meta.AppliedTerm, at)
	if string(meta.Record) == w.record {
		return
	}
	w.record = string(meta.Record)
	state, err := timeline.DecodeRecord(meta.Record,
		timeline.Cursor{Epoch: meta.Epoch, Position: meta.Position, Chain: meta.Chain})
	if err != nil {
		w.wrong("6", "state record of %s: %v", w.node, err)
		return
	}
	claim := state.HighestClaim()
	if timeline.Supersedes(w.claim, claim) {
		w.wrong("6", "%s knew of epoch %d of %s, and now only of epoch %d of %s", w.node, w.claim.Epoch,
			w.claim.Primary, claim.Epoch, claim.Primary)
	}
	w.claim = claim
}

// Apply implements replication.Storage.
func (w *witness) Apply(b *replication.Batch) ([][]byte, error) {
	at := w.at.Load()
	if at == nil || w.gone.Load() {
		return w.Storage.Apply(b)
	}
	if len(b.Commands) > 0 && (b.First != at.position+1 || b.Epoch != at.epoch) {
		w.wrong("5", "%s applies position %d of epoch %d after %v", w.node, b.First, b.Epoch, at)
	}
	for i := range b.Commands {
		at = w.lineage.command(at, string(b.Commands[i].Data), w.region, w.node)
	}
	w.settle(at, b.Metadata)
	results, err := w.Storage.Apply(b)
	w.at.Store(at)
	return results, err
}

// Begin implements replication.Storage.
func (w *witness) Begin(r replication.Reign, meta *replication.Metadata) error {
	at := w.at.Load()
	if at == nil || w.gone.Load() {
		return w.Storage.Begin(r, meta)
	}
	at = w.lineage.begin(at, r, w.region, w.node)
	w.settle(at, meta)
	err := w.Storage.Begin(r, meta)
	w.at.Store(at)
	return err
}

// Restore implements replication.Storage.
func (w *witness) Restore(r io.Reader, meta *replication.Metadata) error {
	return w.replaced(w.Storage.Restore(r, meta))
}

// Checkpoint implements replication.Checkpointer.
func (w fileWitness) Checkpoint(dir string) error { return w.files.Checkpoint(dir) }

// Install implements replication.Checkpointer.
func (w fileWitness) Install(dir string, meta *replication.Metadata) error {
	return w.replaced(w.files.Install(dir, meta))
}

func (w *witness) replaced(err error) error {
	if err != nil {
		return err
	}
	meta, err := w.Storage.Load()
	if err == nil {
		w.loaded(meta)
	}
	return err
}
