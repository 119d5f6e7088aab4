package stream

import (
	"fmt"
	"slices"

	"github.com/mimir-kv/mimir/replication/timeline"
)

// Chain returns the chain that the history of this node has behind the position p of the reign r. Its error says that r
// is not in that history, or that the log does not tell any more.
func (s *Source) Chain(r timeline.Reign, p timeline.Position) (timeline.Chain, error) {
	return s.chain(s.config.History.View(), r, p)
}

func (s *Source) chain(view View, r timeline.Reign, p timeline.Position) (timeline.Chain, error) {
	here := timeline.Origin{Cursor: view.Cursor, Reigns: view.Reigns}
	if c, ok := here.ChainAt(r, p); ok {
		return c, nil
	}
	if !slices.Contains(view.Reigns, r) {
		return timeline.Chain{}, fmt.Errorf("%w: epoch %d of %s is not in the history here", ErrEpoch, r.Epoch,
			r.Primary)
	}
	c, err := chainAt(s.config.Log, view, r, p)
	if err != nil {
		return timeline.Chain{}, fmt.Errorf("chain behind position %d of epoch %d: %w", p, r.Epoch, err)
	}
	return c, nil
}

// chainAt looks in the log for the frame in which p is, or that follows it. What was refused when it was applied stands
// there too: a chain counts only if the log leads on from it to what is applied.
func chainAt(log Log, view View, r timeline.Reign, p timeline.Position) (timeline.Chain, error) {
	index, err := log.Seek(p)
	if err != nil {
		return timeline.Chain{}, unreadable(err)
	}
	for vain := 0; index <= view.Index && vain <= maxSearchBytes; {
		entries, err := log.Entries(index, view.Index+1, minBatchBytes)
		if err != nil {
			return timeline.Chain{}, unreadable(err)
		}
		for _, e := range entries {
			vain += len(e.GetData())
			h, ok := timeline.ReadHeader(e.GetData())
			if !ok || h.Kind != timeline.KindFrame || h.Epoch != r.Epoch || h.First > p+1 || h.Last() <= p ||
				!timeline.Within(view.Reigns, view.Cursor.Position, h) {
				continue
			}
			before := timeline.Cursor{Epoch: h.Epoch, Position: h.First - 1, Chain: h.Previous}
			leads := &reader{log: log, tracker: newTracker(before), next: e.GetIndex(), given: before}
			if _, err := leads.read(view, minBatchBytes); err == nil {
				return chainWithin(h.Previous, e.GetData(), p)
			}
		}
		index = entries[len(entries)-1].GetIndex() + 1
	}
	return timeline.Chain{}, errMissing
}

// chainWithin goes on from the chain c before a frame, over its commands up to p.
func chainWithin(c timeline.Chain, frame []byte, p timeline.Position) (timeline.Chain, error) {
	var f timeline.Frame
	if err := timeline.DecodeFrame(frame, &f); err != nil {
		return c, err
	}
	folder := timeline.NewFolder()
	for i := range f.Commands[:p+1-f.First] {
		c = folder.Command(c, f.Commands[i].Data)
	}
	return c, nil
}
