package rewind

import (
	"context"
	"errors"
	"fmt"
	"io"

	"github.com/mimir-kv/mimir/replication/contract"
	"github.com/mimir-kv/mimir/replication/internal/tail"
	"github.com/mimir-kv/mimir/replication/timeline"
)

// batchBytes bounds what is handed to a branch at once. A larger frame goes alone.
const batchBytes = 4 << 20

// replay brings a branch from a mark to the fork, by what the log has between, and has the reigns begin there.
type replay struct {
	plan   *plan
	branch contract.Branch
	from   *contract.Metadata // of the mark
	at     timeline.Cursor
	folder *timeline.Folder
	batch  contract.Batch
	bytes  int
}

// run returns where the branch is in the end. Errors: ErrNotReady if what it came to is not what the reigns go on from.
func (r *replay) run(ctx context.Context, log tail.Log) (*contract.Metadata, error) {
	r.at = timeline.Cursor{Epoch: r.from.Epoch, Position: r.from.Position, Chain: r.from.Chain}
	end := timeline.Latest(r.plan.shared).Epoch
	if r.at.Epoch > end || r.at.Position > r.plan.fork {
		return nil, fmt.Errorf("%w: checkpoint at %d of epoch %d", contract.ErrNotReady, r.at.Position, r.at.Epoch)
	}
	next := tail.History(log, r.plan.shared, r.at.Position, r.plan.fork, r.plan.upTo)
	for r.at.Position < r.plan.fork || r.at.Epoch < end {
		if ctx.Err() != nil {
			return nil, context.Cause(ctx)
		}
		payload, err := next()
		if errors.Is(err, io.EOF) {
			break
		}
		if err == nil {
			err = r.take(payload)
		}
		if err != nil {
			return nil, fmt.Errorf("replay the log from position %d: %w", r.at.Position, err)
		}
	}
	if err := r.flush(); err != nil {
		return nil, err
	}
	if r.at.Position != r.plan.fork || r.at.Epoch != end {
		return nil, fmt.Errorf("%w: the log leads to position %d of epoch %d, and not to the fork at %d of epoch %d",
			contract.ErrNotReady, r.at.Position, r.at.Epoch, r.plan.fork, end)
	}
	if b := r.plan.begun; len(b) > 0 && b[0].Previous != r.at.Chain {
		return nil, fmt.Errorf("%w: the log leads to position %d of epoch %d, and not to where epoch %d begins",
			contract.ErrNotReady, r.at.Position, r.at.Epoch, b[0].Epoch)
	}
	for _, reign := range r.plan.begun {
		if err := r.begin(reign); err != nil {
			return nil, err
		}
	}
	return r.plan.metadata(r.from, r.at)
}

func (r *replay) take(payload []byte) error {
	if h, _ := timeline.ReadHeader(payload); h.Kind == timeline.KindReign {
		reign, err := timeline.DecodeReign(payload)
		if err != nil || reign.Epoch <= r.at.Epoch {
			return err // the mark has it
		}
		return r.begin(reign)
	}
	var f timeline.Frame
	if err := timeline.DecodeFrame(payload, &f); err != nil {
		return err
	}
	if f.Epoch != r.at.Epoch || f.First != r.at.Position+1 || f.Previous != r.at.Chain {
		return fmt.Errorf("%w: frame at position %d of epoch %d", timeline.ErrChain, f.First, f.Epoch)
	}
	b := &r.batch
	if len(b.Commands) == 0 {
		b.Epoch, b.First = f.Epoch, f.First
	} else {
		b.Cuts = append(b.Cuts, contract.Cut{
			Commands: len(b.Commands), Index: r.from.AppliedIndex, Term: r.from.AppliedTerm, Chain: r.at.Chain,
		})
	}
	b.Commands = append(b.Commands, f.Commands...)
	r.at.Chain, r.at.Position = r.folder.Frame(&f), f.Last()
	if r.bytes += len(payload); r.bytes < batchBytes {
		return nil
	}
	return r.flush()
}

// flush hands what was gathered to the branch.
func (r *replay) flush() (err error) {
	if len(r.batch.Commands) == 0 {
		return nil
	}
	if r.batch.Metadata, err = r.plan.metadata(r.from, r.at); err != nil {
		return err
	}
	if _, err := r.branch.Apply(&r.batch); err != nil {
		return fmt.Errorf("storage: apply %d commands at position %d: %w", len(r.batch.Commands), r.batch.First, err)
	}
	r.batch, r.bytes = contract.Batch{}, 0
	return nil
}

func (r *replay) begin(reign timeline.Reign) error {
	if err := r.flush(); err != nil {
		return err
	}
	if reign.First != r.at.Position+1 || reign.Previous != r.at.Chain {
		return fmt.Errorf("%w: epoch %d begins at %d", timeline.ErrChain, reign.Epoch, reign.First)
	}
	r.at.Chain, r.at.Epoch = r.folder.Reign(r.at.Chain, reign), reign.Epoch
	meta, err := r.plan.metadata(r.from, r.at)
	if err != nil {
		return err
	}
	if err := r.branch.Begin(reign, meta); err != nil {
		return fmt.Errorf("storage: begin epoch %d: %w", reign.Epoch, err)
	}
	return nil
}
