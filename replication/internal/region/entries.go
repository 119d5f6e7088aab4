package region

import (
	"context"
	"fmt"

	"go.etcd.io/raft/v3/raftpb"

	"github.com/mimir-kv/mimir/replication/contract"
	"github.com/mimir-kv/mimir/replication/internal/copies"
	"github.com/mimir-kv/mimir/replication/timeline"
)

// Bounds of one atomic batch to the storage. A larger frame travels alone.
const (
	maxRunBytes    = 4 << 20
	maxRunCommands = 8192
)

// run gathers the commands of consecutive frames until they are handed to the storage as one batch.
type run struct {
	batch  contract.Batch
	bytes  int
	frames []pendingFrame
	end    contract.Cut   // of the last of them
	frame  timeline.Frame // scratch
}

type pendingFrame struct {
	told  int // place in Applier.told
	count int
}

func (a *Applier) entry(e *raftpb.Entry) error {
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
		a.tell(Outcome{})
		return nil
	}
}

func (a *Applier) frame(e *raftpb.Entry) error {
	f := &a.run.frame
	err := timeline.DecodeFrame(e.GetData(), f)
	if err == nil {
		err = a.config.understands(f.Level)
	}
	if err != nil {
		return err
	}
	outcome, why, err := a.machine.Frame(f)
	if err != nil {
		return err
	}
	a.advance(e)
	a.tell(Outcome{Outcome: outcome, Why: why, Epoch: f.Epoch, First: f.First})
	if outcome != timeline.Applied {
		if outcome == timeline.Refused {
			a.config.Logger.Info("refused frame", "index", a.index, "epoch", f.Epoch, "first", f.First, "err", why)
		}
		return nil
	}
	a.bytes += uint64(len(e.GetData()))
	if a.behind != nil {
		return nil
	}
	return a.gather(e, f, len(a.told)-1)
}

// untold is the place of the outcome of a frame of which nobody is told.
const untold = -1

// gather takes a frame to what is handed to the storage as one batch.
func (a *Applier) gather(e *raftpb.Entry, f *timeline.Frame, told int) error {
	r := &a.run
	if len(r.frames) == 0 {
		r.batch.Epoch, r.batch.First = f.Epoch, f.First
	} else {
		r.batch.Cuts = append(r.batch.Cuts, r.end)
	}
	r.batch.Commands = append(r.batch.Commands, f.Commands...)
	r.frames = append(r.frames, pendingFrame{told: told, count: len(f.Commands)})
	r.bytes += len(e.GetData())
	r.end = contract.Cut{
		Commands: len(r.batch.Commands), Index: e.GetIndex(), Term: e.GetTerm(),
		Chain: a.inStorage().machine.Cursor().Chain,
	}
	if r.bytes >= maxRunBytes || len(r.batch.Commands) >= maxRunCommands {
		return a.flush()
	}
	return nil
}

// flush hands the gathered commands to the storage, with the metadata that goes with them (invariant 5).
func (a *Applier) flush() error {
	r := &a.run
	if len(r.frames) == 0 {
		return nil
	}
	meta, err := a.metadata()
	if err != nil {
		return err
	}
	r.batch.Metadata, r.batch.WantResults = meta, a.behind == nil && a.config.Proposers.Waiting()
	a.applied.Hands(meta.Position, timeline.Latest(a.inStorage().machine.State().Reigns))
	results, err := a.config.Storage.Apply(&r.batch)
	if err != nil {
		return fmt.Errorf("%w: apply %d commands at position %d: %w", copies.ErrStorage, len(r.batch.Commands),
			r.batch.First, err)
	}
	if r.batch.WantResults && len(results) != len(r.batch.Commands) {
		return fmt.Errorf("%w: %d results for %d commands at position %d", copies.ErrStorage,
			len(results), len(r.batch.Commands), r.batch.First)
	}
	a.saved.Store(meta.AppliedIndex)
	if r.batch.WantResults {
		for _, p := range r.frames {
			a.told[p.told].Results, results = results[:p.count:p.count], results[p.count:]
		}
	}
	clear(r.batch.Commands)
	r.batch.Cuts = r.batch.Cuts[:0]
	r.batch.Commands, r.frames, r.bytes = r.batch.Commands[:0], r.frames[:0], 0
	return nil
}

func (a *Applier) reign(e *raftpb.Entry) error {
	r, err := timeline.DecodeReign(e.GetData())
	if err != nil {
		return err
	}
	if err := a.config.understands(r.Level()); err != nil {
		return err
	}
	if err := a.flush(); err != nil {
		return err
	}
	before := a.machine.State()
	outcome, why, err := a.machine.Reign(r)
	if err != nil {
		return err
	}
	a.advance(e)
	a.tell(Outcome{Outcome: outcome, Why: why, Reign: &r})
	log := a.config.Logger
	if outcome != timeline.Applied {
		log.Info("passed over beginning of an epoch",
			"epoch", r.Epoch, "primary", r.Primary, "outcome", outcome, "err", why)
		return nil
	}
	log.Info("epoch begins", "epoch", r.Epoch, "primary", r.Primary, "first", r.First, "lossy", r.Lossy)
	a.config.decided(&before, a.machine.State(), timeline.Between)
	if a.behind != nil {
		return a.behind.show()
	}
	return a.beginStored(r)
}

// beginStored tells the storage of a beginning that the state has taken.
func (a *Applier) beginStored(r timeline.Reign) error {
	meta, err := a.metadata()
	if err != nil {
		return err
	}
	if err := a.config.Storage.Begin(r, meta); err != nil {
		return fmt.Errorf("%w: begin epoch %d: %w", copies.ErrStorage, r.Epoch, err)
	}
	a.saved.Store(meta.AppliedIndex)
	return nil
}

func (a *Applier) control(e *raftpb.Entry) error {
	c, err := timeline.DecodeControl(e.GetData())
	if err == nil {
		err = a.config.understands(c.Level())
	}
	if err != nil {
		return err
	}
	if err := a.flush(); err != nil {
		return err
	}
	if err := a.rescue(c, e.GetIndex()); err != nil {
		return err
	}
	before := a.machine.State()
	outcome, why, err := a.machine.Control(c)
	if err != nil {
		return err
	}
	a.advance(e)
	a.tell(Outcome{Outcome: outcome, Why: why, Token: c.Token})
	if outcome != timeline.Applied {
		a.config.Logger.Info("passed over control", "op", c.Op, "index", a.index, "outcome", outcome, "err", why)
		return nil
	}
	if err := a.effect(c); err != nil {
		return err
	}
	a.config.decided(&before, a.machine.State(), timeline.Between)
	return nil
}

// decided tells what the way from before to the state as it is now decided.
func (c *Config) decided(
	before *timeline.State, after timeline.State, what func(before, after *timeline.State) []timeline.Event,
) {
	if c.Event == nil {
		return
	}
	for _, e := range what(before, &after) {
		c.Event(e)
	}
}

// understands returns an error if what is of this level may not be applied here.
func (c *Config) understands(l timeline.Level) error {
	if l > c.Level {
		return fmt.Errorf("%w: it is of level %d, this node of %d", timeline.ErrVersion, l, c.Level)
	}
	return nil
}

// rescue saves what an install or a cut at this entry is about to throw away, and has what is installed made while that
// is still here to make it of.
func (a *Applier) rescue(c *timeline.Control, index uint64) error {
	if c.Op != timeline.OpInstall && c.Op != timeline.OpCut {
		return nil
	}
	s := a.machine.State()
	if outcome, _, err := timeline.NewMachine(&s).Control(c); err != nil || outcome != timeline.Applied {
		return err
	}
	if c.Op == timeline.OpCut {
		return a.saveFrom(context.Background(), c.Origin.Cursor.Position, *c.Claim, index)
	}
	if err := a.saveBefore(c.Origin.Reigns, c.Origin.Cursor.Position, index); err != nil {
		return err
	}
	if _, err := a.config.Staging.Dir(c.Checkpoint); err != nil {
		a.config.Staging.Remake(&s, index, c.Checkpoint, c.Origin)
	}
	return nil
}

// saveBefore saves what the history here has that one of these reigns, up to last, has not: the log's entries before
// upTo led to it.
func (a *Applier) saveBefore(reigns []timeline.Reign, last timeline.Position, upTo uint64) error {
	s := a.machine.State()
	relation, fork := timeline.Compare(s.Reigns, reigns, s.Cursor.Position, last)
	if relation == timeline.Prefix {
		return nil
	}
	return a.saveFrom(context.Background(), fork, timeline.Latest(reigns), upTo)
}

// saveFrom saves what the history here has behind the fork with that of a claim. What a divergence had saved is saved
// under its name, if it is not here: this node may have got the state of another, which had saved it. The whole state,
// where the log does not reach back so far, is written within ctx.
func (a *Applier) saveFrom(
	ctx context.Context, fork timeline.Position, claim timeline.Reign, upTo uint64,
) error {
	s := a.machine.State()
	d := timeline.Divergence{Fork: fork, At: s.Cursor.Position, Claim: claim}
	if s.Diverged != nil && s.Diverged.Fork <= fork {
		d = *s.Diverged
	}
	return a.patient.through(func() error { return a.config.Tails.Save(d, &s, upTo, whole(ctx, a)) })
}

// effect carries out an applied control. What it does must be complete before the metadata says that it was.
func (a *Applier) effect(c *timeline.Control) error {
	switch c.Op {
	case timeline.OpInstall:
		return a.install(c)
	case timeline.OpDiverge:
		s := a.machine.State()
		save := func() error { return a.config.Tails.Save(*s.Diverged, &s, a.index, whole(context.Background(), a)) }
		if err := a.patient.through(save); err != nil {
			return err
		}
	case timeline.OpDelay:
		a.receipts = a.receipts.with(c.Receipt, a.machine.State().Delay.Shown, a.bytes)
	case timeline.OpCut:
		return a.behind.cut(c.Origin.Cursor)
	}
	if a.behind != nil {
		return a.behind.show()
	}
	meta, err := a.metadata()
	if err == nil {
		err = a.saveMetadata(meta)
	}
	a.behind = late(a)
	return err
}
