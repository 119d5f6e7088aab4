package stream

import (
	"errors"
	"fmt"
	"slices"

	"go.etcd.io/raft/v3"
	"go.etcd.io/raft/v3/raftpb"

	"github.com/mimir-kv/mimir/replication/timeline"
)

// errMissing says that the log does not hold what comes next.
var errMissing = errors.New("stream: the log does not hold what comes next")

// errUnreadable says that the log holds what comes next and cannot give it out: its file is damaged.
var errUnreadable = errors.New("stream: the log cannot be read")

// unreadable wraps an error of the log.
func unreadable(err error) error {
	if errors.Is(err, raft.ErrCompacted) {
		return err
	}
	return fmt.Errorf("%w: %w", errUnreadable, err)
}

// maxSearchBytes bounds the entries read in vain for the one that comes next. Entries that were refused when they were
// applied stand between, but no more than a leader has in flight.
const maxSearchBytes = 128 << 20

// reader walks the applied part of a log from a cursor on and tells what belongs to the history. Not everything does: a
// log also holds controls, entries that were refused, and repetitions.
//
// An entry is given out only once the chain after it is confirmed, by the entry that follows it or by what the node has
// applied: a frame damaged on this node stays on it.
type reader struct {
	log     Log
	tracker *tracker          // after carry
	next    uint64            // the first index not looked at
	carry   []byte            // the last entry found, not yet confirmed
	carried uint64            // its index
	given   timeline.Cursor   // after everything given out
	vain    int               // bytes read in vain since something continued the history
	gap     timeline.Position // where the first entry past the next position begins; zero if none was seen
}

// chunk is a run of payloads that belong together.
type chunk struct {
	payloads [][]byte
	first    uint64          // index of the first payload
	at       timeline.Cursor // after the last payload
	bytes    int
	end      bool // everything in the view has been given out
}

// newReader starts after at. The caller has pinned the log.
func newReader(log Log, view View, at timeline.Cursor) (*reader, error) {
	index := view.Index + 1
	if at != view.Cursor { // otherwise nothing that is held is needed, and perhaps nothing is held
		found, err := log.Seek(at.Position)
		if err != nil {
			return nil, unreadable(err)
		}
		// Beyond what is applied entries may still be replaced: what stands there now tells nothing.
		index = min(index, found)
	}
	return &reader{log: log, tracker: newTracker(at), next: index, given: at}, nil
}

// needs returns the first index that has not been given out.
func (r *reader) needs() uint64 {
	if r.carry != nil {
		return r.carried
	}
	return r.next
}

// read returns what comes next, about maxBytes of it; nothing only together with end. An error is final.
func (r *reader) read(view View, maxBytes int) (chunk, error) {
	c := chunk{first: r.needs(), at: r.given}
	for r.next <= view.Index {
		entries, err := r.log.Entries(r.next, view.Index+1, uint64(maxBytes))
		if err != nil {
			return chunk{}, fmt.Errorf("read log from index %d: %w", r.next, unreadable(err))
		}
		for _, e := range entries {
			if err := r.look(view, e, &c); err != nil {
				return chunk{}, err
			}
		}
		if c.bytes >= maxBytes/2 {
			return c, nil
		}
	}
	if err := r.confirm(view); err != nil {
		return chunk{}, err
	}
	r.give(&c)
	c.end = true
	return c, nil
}

// look takes e if it continues the history.
func (r *reader) look(view View, e *raftpb.Entry, c *chunk) error {
	r.next = e.GetIndex() + 1
	h, ok := timeline.ReadHeader(e.GetData())
	if !ok || e.GetType() != raftpb.EntryNormal || !timeline.Within(view.Reigns, view.Cursor.Position, h) {
		return nil
	}
	before := r.tracker.at
	taken, err := r.tracker.next(e.GetData())
	switch {
	case errors.Is(err, ErrGap), errors.Is(err, ErrEpoch), err == nil && !taken:
		if h.First > before.Position+1 { // otherwise it is a repetition
			return r.search(view, h, len(e.GetData()))
		}
		return nil
	case errors.Is(err, ErrChain):
		return r.broken(view, h.Epoch, fmt.Errorf("log entry %d: %w", e.GetIndex(), err))
	case err != nil:
		return fmt.Errorf("log entry %d: %w", e.GetIndex(), err)
	}
	r.give(c)
	if len(c.payloads) == 0 {
		c.first = e.GetIndex()
	}
	r.carry, r.carried, r.given, r.vain, r.gap = e.GetData(), e.GetIndex(), before, 0, 0
	c.at = before
	return nil
}

// search notes an entry that lies beyond the next position: either it was refused when it was applied, or the log has a
// gap.
func (r *reader) search(view View, h timeline.Header, bytes int) error {
	if r.gap == 0 {
		r.gap = h.First
	}
	if r.vain += bytes; r.vain > maxSearchBytes {
		return r.missing(view)
	}
	return nil
}

// give moves the entry that was carried into c.
func (r *reader) give(c *chunk) {
	if r.carry == nil {
		return
	}
	if len(c.payloads) == 0 {
		c.first = r.carried
	}
	c.payloads = append(c.payloads, r.carry)
	c.bytes += len(r.carry)
	r.carry, r.given = nil, r.tracker.at
	c.at = r.given
}

// confirm compares where the log leads with what the node has applied.
func (r *reader) confirm(view View) error {
	at := r.tracker.at
	if at == view.Cursor {
		return nil
	}
	if at.Position < view.Cursor.Position {
		return r.missing(view)
	}
	err := fmt.Errorf("%w: after position %d of epoch %d the chain is %v, this node has applied position %d of "+
		"epoch %d with chain %v",
		ErrChain, at.Position, at.Epoch, at.Chain, view.Cursor.Position, view.Cursor.Epoch, view.Cursor.Chain)
	if at.Position > view.Cursor.Position {
		return err
	}
	return r.broken(view, view.Cursor.Epoch+1, err)
}

// broken returns why the chain does not go on to the epoch to: by way of reigns that the log does not have, since they
// came with a checkpoint, or else err. What the log has and was passed over is no reason to give a checkpoint.
func (r *reader) broken(view View, to timeline.Epoch, err error) error {
	at := r.tracker.at
	between := func(e timeline.Epoch) bool { return at.Epoch < e && e < to }
	if !slices.ContainsFunc(view.Reigns, func(r timeline.Reign) bool { return between(r.Epoch) }) {
		return err
	}
	index, failed := r.log.Seek(at.Position)
	for failed == nil && index < r.next {
		var entries []*raftpb.Entry
		entries, failed = r.log.Entries(index, r.next, 1<<20)
		for _, e := range entries {
			h, ok := timeline.ReadHeader(e.GetData())
			if ok && e.GetType() == raftpb.EntryNormal && h.Kind == timeline.KindReign && between(h.Epoch) &&
				timeline.Within(view.Reigns, view.Cursor.Position, h) {
				return err
			}
		}
		index += uint64(len(entries))
	}
	if failed != nil {
		return unreadable(failed)
	}
	return r.missing(view)
}

func (r *reader) missing(view View) error {
	return fmt.Errorf("%w: after position %d of epoch %d, applied is position %d of epoch %d",
		errMissing, r.tracker.at.Position, r.tracker.at.Epoch, view.Cursor.Position, view.Cursor.Epoch)
}

// oldestServed returns the least position from which this node can serve, after a reader (which may be nil) failed for
// want of log. It is beyond what is held.
func oldestServed(log Log, r *reader, view View, held timeline.Position) timeline.Position {
	if r != nil && r.gap > 0 {
		return r.gap - 1
	}
	if first, ok := log.FirstPosition(); ok && first > held && first <= view.Cursor.Position {
		return first
	}
	return view.Cursor.Position
}

// lacksLog reports whether an error of the reader means that a subscriber needs a checkpoint.
func lacksLog(err error) bool {
	return errors.Is(err, errMissing) || errors.Is(err, raft.ErrCompacted)
}
