package stream

import (
	"fmt"

	"github.com/mimir-kv/mimir/replication/timeline"
)

// tracker walks along a history and tells of each entry whether it comes next. Both sides use it: the sink takes what
// it says and nothing else, the source sends what it says and nothing else. It is not safe for concurrent use.
type tracker struct {
	at     timeline.Cursor
	folder *timeline.Folder
	frame  timeline.Frame
}

func newTracker(at timeline.Cursor) *tracker {
	return &tracker{at: at, folder: timeline.NewFolder()}
}

// next moves over payload and reports true if it continues the history. What is held already is false without an
// error. Errors are ErrGap, ErrEpoch and ErrChain, or timeline's for a payload that is no history at all; the tracker
// stays where it was.
func (t *tracker) next(payload []byte) (bool, error) {
	h, ok := timeline.ReadHeader(payload)
	if !ok {
		return false, fmt.Errorf("%w: %d bytes that are neither frame nor reign", timeline.ErrFormat, len(payload))
	}
	if h.Kind == timeline.KindReign {
		return t.reign(h, payload)
	}
	return t.commands(h, payload)
}

func (t *tracker) reign(h timeline.Header, payload []byte) (bool, error) {
	switch {
	case h.Epoch <= t.at.Epoch:
		return false, nil
	case h.First != t.at.Position+1:
		return false, fmt.Errorf("%w: epoch %d begins at position %d, held here up to %d of epoch %d", ErrGap, h.Epoch,
			h.First, t.at.Position, t.at.Epoch)
	case h.Previous != t.at.Chain:
		return false, fmt.Errorf("%w: epoch %d begins at position %d after chain %v, held here %v", ErrChain, h.Epoch,
			h.First, h.Previous, t.at.Chain)
	}
	r, err := timeline.DecodeReign(payload)
	if err != nil {
		return false, err
	}
	t.at.Epoch = r.Epoch
	t.at.Chain = t.folder.Reign(t.at.Chain, r)
	return true, nil
}

func (t *tracker) commands(h timeline.Header, payload []byte) (bool, error) {
	switch {
	case h.Last() <= t.at.Position && h.Last() >= h.First:
		return false, nil
	case h.First != t.at.Position+1:
		return false, fmt.Errorf("%w: frame of positions %d to %d, held here up to %d", ErrGap, h.First, h.Last(),
			t.at.Position)
	case h.Epoch != t.at.Epoch:
		return false, fmt.Errorf("%w: frame at position %d is of epoch %d, held here %d", ErrEpoch, h.First, h.Epoch,
			t.at.Epoch)
	case h.Previous != t.at.Chain:
		return false, fmt.Errorf("%w: frame at position %d follows chain %v, held here %v", ErrChain, h.First,
			h.Previous, t.at.Chain)
	}
	if err := timeline.DecodeFrame(payload, &t.frame); err != nil {
		return false, err
	}
	t.at.Chain = t.folder.Frame(&t.frame)
	t.at.Position = h.Last()
	return true, nil
}
