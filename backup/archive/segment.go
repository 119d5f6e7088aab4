package archive

import (
	"errors"
	"fmt"
	"time"

	"github.com/mimir-kv/mimir/replication/timeline"
)

// ErrBroken says that bytes are no whole segment, or that a segment is not what its name says.
var ErrBroken = errors.New("not a whole segment of an archived log")

// ErrNewer says that a segment is of a format that only a newer version knows: it is not broken.
var ErrNewer = errors.New("archived by a newer version of mimir: upgrade this one")

// Mark says that at a time, by the clock of the node that archived, the history had come to a position.
type Mark struct {
	Time     time.Time         `json:"time"`
	Position timeline.Position `json:"position"`
	// Revision is that of the store behind Position; 0 if it was not looked at just then.
	Revision int64 `json:"revision,omitempty"`
}

// Header says what a segment is.
type Header struct {
	Fleet  string `json:"fleet"`
	Region string `json:"region"` // of the node that archived it
	Node   string `json:"node"`
	// From is the place of the history behind which the entries begin, and To the one behind them, with all reigns that
	// lead there.
	From timeline.Cursor `json:"from"`
	To   timeline.Origin `json:"to"`
	// Gap is where the archive had ended before, if the log was not there any more that leads from there to From.
	Gap *timeline.Cursor `json:"gap,omitempty"`
	// Marks rise in position; the last one is at the end. Of a position at which the history stood still there may be
	// two.
	Marks   []Mark `json:"marks"`
	Entries int    `json:"entries"`
	Bytes   int    `json:"bytes"` // of the entries, with their lengths
}

// Segment is a run of the history: frames and reigns, as they are in the log of every node.
type Segment struct {
	Header
	Payloads [][]byte
}

// Last returns the mark at the end.
func (h *Header) Last() Mark { return h.Marks[len(h.Marks)-1] }

// valid says what is wrong with a header, whatever the entries are.
func (h *Header) valid() error {
	if len(h.To.Reigns) > maxReigns || len(h.Marks) > maxMarks {
		return fmt.Errorf("%d reigns and %d marks, at most %d and %d", len(h.To.Reigns), len(h.Marks), maxReigns,
			maxMarks)
	}
	if h.To.Cursor.Epoch != timeline.Latest(h.To.Reigns).Epoch {
		return fmt.Errorf("ends in epoch %d, and its last reign is %d", h.To.Cursor.Epoch,
			timeline.Latest(h.To.Reigns).Epoch)
	}
	for i, r := range h.To.Reigns {
		if i > 0 && (r.Epoch <= h.To.Reigns[i-1].Epoch || r.First < h.To.Reigns[i-1].First) {
			return fmt.Errorf("epoch %d stands behind epoch %d", r.Epoch, h.To.Reigns[i-1].Epoch)
		}
	}
	last := h.From.Position
	for _, m := range h.Marks {
		if m.Position < last || m.Position > h.To.Cursor.Position || m.Revision < 0 {
			return fmt.Errorf("mark at position %d behind %d", m.Position, last)
		}
		last = m.Position
	}
	if len(h.Marks) == 0 || last != h.To.Cursor.Position {
		return errors.New("no mark at its end")
	}
	return nil
}

// walk goes along a history and checks that every entry continues it.
type walk struct {
	at     timeline.Cursor
	folder *timeline.Folder
	frame  timeline.Frame
}

func newWalk(at timeline.Cursor) *walk { return &walk{at: at, folder: timeline.NewFolder()} }

// next moves over an entry. Of a frame it returns the commands, which share memory with the payload and are there until
// the next call; of a beginning, the reign.
func (w *walk) next(payload []byte) (*timeline.Frame, *timeline.Reign, error) {
	h, ok := timeline.ReadHeader(payload)
	switch {
	case !ok:
		return nil, nil, fmt.Errorf("behind position %d: %d bytes that are neither frame nor reign", w.at.Position,
			len(payload))
	case h.First != w.at.Position+1 || h.Previous != w.at.Chain:
		return nil, nil, fmt.Errorf("entry at position %d behind chain %v, the history is at %d with %v", h.First,
			h.Previous, w.at.Position, w.at.Chain)
	case h.Kind == timeline.KindReign:
		r, err := timeline.DecodeReign(payload)
		if err == nil && r.Epoch <= w.at.Epoch {
			err = fmt.Errorf("epoch %d begins in epoch %d", r.Epoch, w.at.Epoch)
		}
		if err != nil {
			return nil, nil, err
		}
		w.at.Epoch, w.at.Chain = r.Epoch, w.folder.Reign(w.at.Chain, r)
		return nil, &r, nil
	case h.Epoch != w.at.Epoch:
		return nil, nil, fmt.Errorf("frame of epoch %d at position %d, the history is in %d", h.Epoch, h.First,
			w.at.Epoch)
	}
	if err := timeline.DecodeFrame(payload, &w.frame); err != nil {
		return nil, nil, err
	}
	w.at.Chain, w.at.Position = w.folder.Frame(&w.frame), h.Last()
	return &w.frame, nil, nil
}

// check goes over all entries (A1).
func (s *Segment) check() error {
	w := newWalk(s.From)
	var begun []timeline.Reign
	for _, p := range s.Payloads {
		_, r, err := w.next(p)
		if err != nil {
			return err
		}
		if r != nil {
			begun = append(begun, *r)
		}
	}
	if w.at != s.To.Cursor {
		return fmt.Errorf("its entries lead to position %d of epoch %d with chain %v, and not to %d of %d with %v",
			w.at.Position, w.at.Epoch, w.at.Chain, s.To.Cursor.Position, s.To.Cursor.Epoch, s.To.Cursor.Chain)
	}
	reigns := s.To.Reigns
	if len(begun) > len(reigns) {
		return fmt.Errorf("%d epochs begin in it, and it names %d", len(begun), len(reigns))
	}
	before := reigns[:len(reigns)-len(begun)]
	for i, r := range begun {
		if reigns[len(before)+i] != r {
			return fmt.Errorf("epoch %d begins in it, and it names another one", r.Epoch)
		}
	}
	if last := timeline.Latest(before); last.Epoch != s.From.Epoch {
		return fmt.Errorf("begins in epoch %d, and names %d as the one before", s.From.Epoch, last.Epoch)
	}
	return nil
}
