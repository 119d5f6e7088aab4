package sim

import (
	"io"
	"sync/atomic"

	"github.com/mimir-kv/mimir/replication"
	"github.com/mimir-kv/mimir/replication/timeline"
)

// auditor stands between a node and its storage and checks that every batch continues what the storage has. It sees
// only the life of one process; what it saw after the power was gone does not count.
type auditor struct {
	replication.Storage
	lineage      *lineage
	region, node string
	gone         *atomic.Bool
	wrong        func(invariant, format string, args ...any)
	meets        func(moment, step string) // what may be a crash point

	at     atomic.Pointer[place] // nil: nothing loaded yet
	index  uint64
	record string
	state  *timeline.State // that the record is of; nil: unknown
	claim  replication.Reign
	votes  bool // there is a charter
}

// fileAuditor is the auditor of a storage that copies itself as files.
type fileAuditor struct {
	*auditor
	files replication.Brancher
}

// storage returns what the node is given.
func (a *auditor) storage() replication.Storage {
	if c, ok := a.Storage.(replication.Brancher); ok {
		return fileAuditor{a, c}
	}
	return a
}

// Load implements replication.Storage.
func (a *auditor) Load() (*replication.Metadata, error) {
	meta, err := a.Storage.Load()
	if err == nil {
		a.loaded(meta)
	}
	return meta, err
}

// loaded finds the place that a storage says it is at.
func (a *auditor) loaded(meta *replication.Metadata) {
	if a.gone.Load() {
		return
	}
	at := a.lineage.genesis
	if meta != nil {
		at = a.lineage.find(meta.Chain)
		if at == nil || at.position != meta.Position || at.epoch != meta.Epoch {
			a.wrong("5", "storage of %s says position %d of epoch %d, chain %v: nobody was ever there", a.node,
				meta.Position, meta.Epoch, meta.Chain)
			return
		}
		a.audit(at, meta)
	}
	a.at.Store(at)
}

// audit checks the metadata that goes with a place.
func (a *auditor) audit(at *place, meta *replication.Metadata) {
	if meta.Chain != at.chain || meta.Position != at.position || meta.Epoch != at.epoch {
		a.wrong("5", "%s saves position %d of epoch %d, chain %v, with the data of %v", a.node, meta.Position,
			meta.Epoch, meta.Chain, at)
	}
	if meta.AppliedIndex < a.index {
		a.wrong("5", "applied index of %s falls from %d to %d", a.node, a.index, meta.AppliedIndex)
	}
	a.index = meta.AppliedIndex
	a.lineage.reached(a.region, a.node, meta.AppliedIndex, meta.AppliedTerm, at)
	if string(meta.Record) == a.record {
		return
	}
	a.record = string(meta.Record)
	state, err := timeline.DecodeRecord(meta.Record,
		timeline.Cursor{Epoch: meta.Epoch, Position: meta.Position, Chain: meta.Chain})
	if err != nil {
		a.wrong("6", "state record of %s: %v", a.node, err)
		return
	}
	a.state = state
	a.votes = state.Charter() != nil
	claim := state.HighestClaim()
	if timeline.Supersedes(a.claim, claim) {
		a.wrong("6", "%s knew of epoch %d of %s, and now only of epoch %d of %s", a.node, a.claim.Epoch,
			a.claim.Primary, claim.Epoch, claim.Primary)
	}
	a.claim = claim
}

// Apply implements replication.Storage.
func (a *auditor) Apply(b *replication.Batch) ([][]byte, error) {
	at := a.at.Load()
	if at == nil || a.gone.Load() {
		return a.Storage.Apply(b)
	}
	if len(b.Commands) > 0 && (b.First != at.position+1 || b.Epoch != at.epoch) {
		a.wrong("5", "%s applies position %d of epoch %d after %v", a.node, b.First, b.Epoch, at)
	}
	for i := range b.Commands {
		at = a.lineage.command(at, string(b.Commands[i].Data), a.region, a.node)
	}
	was := a.state
	a.audit(at, b.Metadata)
	steps := stepsOf(was, a.state)
	a.meetAll(momentWithin, steps)
	results, err := a.Storage.Apply(b)
	a.at.Store(at)
	a.meetAll(momentAfter, steps)
	return results, err
}

// Begin implements replication.Storage.
func (a *auditor) Begin(r replication.Reign, meta *replication.Metadata) error {
	at := a.at.Load()
	if at == nil || a.gone.Load() {
		return a.Storage.Begin(r, meta)
	}
	at = a.lineage.begin(at, r, a.region, a.node, a.votes)
	a.audit(at, meta)
	var steps []string
	if r.Primary == a.region {
		steps = []string{stepBegin}
	}
	a.meetAll(momentWithin, steps)
	err := a.Storage.Begin(r, meta)
	a.at.Store(at)
	a.meetAll(momentAfter, steps)
	return err
}

func (a *auditor) meetAll(moment string, steps []string) {
	for _, step := range steps {
		a.meets(moment, step)
	}
}

// Restore implements replication.Storage.
func (a *auditor) Restore(r io.Reader, meta *replication.Metadata) error {
	a.meets(momentWithin, stepInstall)
	return a.replaced(a.Storage.Restore(r, meta))
}

// Checkpoint implements replication.Checkpointer.
func (a fileAuditor) Checkpoint(dir string) error { return a.files.Checkpoint(dir) }

// Branch implements replication.Brancher. What comes of it is audited when it is installed.
func (a fileAuditor) Branch(dir string) (replication.Branch, error) { return a.files.Branch(dir) }

// Install implements replication.Checkpointer.
func (a fileAuditor) Install(dir string, meta *replication.Metadata) error {
	a.meets(momentWithin, stepInstall)
	return a.replaced(a.files.Install(dir, meta))
}

func (a *auditor) replaced(err error) error {
	if err != nil {
		return err
	}
	had := a.at.Load()
	meta, err := a.Storage.Load()
	if err == nil {
		a.loaded(meta)
		a.lineage.gaveUp(a.node, had, a.at.Load())
	}
	a.meets(momentAfter, stepInstall)
	return err
}
