package tail

import (
	"fmt"
	"io"
	"slices"

	"go.etcd.io/raft/v3/raftpb"

	"github.com/mimir-kv/mimir/replication/internal/wal"
	"github.com/mimir-kv/mimir/replication/timeline"
)

// Log is what tails are read from.
type Log interface {
	// Seek returns the index from which a reader that has everything up to p has to read; raft.ErrCompacted if what
	// follows p may be gone.
	Seek(p timeline.Position) (uint64, error)
	// FirstPosition returns the least position that Seek finds; ok is false while none is known.
	FirstPosition() (p timeline.Position, ok bool)
	// Entries returns entries from lo on, before hi: at least one, of about maxBytes at most.
	Entries(lo, hi, maxBytes uint64) ([]*raftpb.Entry, error)
}

// readBytes is how much of the log is read at a time.
const readBytes = 1 << 20

// History returns a function that gives, one after the other and then io.EOF, the payloads of the history that reigns
// describe, after a position up to last, read from the log's entries before upTo. What was refused when it was applied
// stands there too, and is no part of it. Errors: raft.ErrCompacted if the log does not reach back so far.
func History(log Log, reigns []timeline.Reign, after, last timeline.Position, upTo uint64) func() ([]byte, error) {
	r := &reader{log: log, reigns: reigns, last: last, upTo: upTo, at: after}
	return r.next
}

// reader goes through the log once.
type reader struct {
	log    Log
	reigns []timeline.Reign
	last   timeline.Position
	upTo   uint64

	entries []*raftpb.Entry // read and not looked at
	index   uint64          // of the entry behind them; zero before the first read
	at      timeline.Position
	epoch   timeline.Epoch // of the last beginning
	taken   bool           // something was
}

// nothing is a tail of which the log has no commands.
func nothing() ([]byte, error) { return nil, io.EOF }

// next returns the next payload of the history, io.EOF after the last one.
func (r *reader) next() ([]byte, error) {
	for {
		if len(r.entries) == 0 {
			if err := r.read(); err != nil {
				return nil, err
			}
		}
		p := r.entries[0].GetData()
		r.entries = r.entries[1:]
		if !r.taken {
			var err error
			if p, err = r.behind(p); err != nil {
				return nil, err
			}
		}
		if r.takes(p) {
			r.taken = true
			return p, nil
		}
	}
}

func (r *reader) read() (err error) {
	if r.index == 0 {
		if r.index, err = r.log.Seek(r.at); err != nil {
			return err
		}
	}
	if r.index >= r.upTo {
		if r.at != r.last {
			return fmt.Errorf("%w: tail ends at %d in the log, at %d in the state", wal.ErrCorrupt, r.at, r.last)
		}
		return io.EOF
	}
	if r.entries, err = r.log.Entries(r.index, r.upTo, readBytes); err != nil {
		return err
	}
	r.index = r.entries[len(r.entries)-1].GetIndex() + 1
	return nil
}

// behind returns what a frame has behind the place where the tail begins, which may be within it; everything else as it
// is.
func (r *reader) behind(p []byte) ([]byte, error) {
	h, ok := timeline.ReadHeader(p)
	if !ok || h.Kind != timeline.KindFrame || h.First > r.at || h.Last() <= r.at ||
		!timeline.Within(r.reigns, r.last, h) {
		return p, nil
	}
	var f timeline.Frame
	if err := timeline.DecodeFrame(p, &f); err != nil {
		return nil, err
	}
	n := r.at + 1 - f.First
	shared := timeline.Frame{Epoch: f.Epoch, First: f.First, Previous: f.Previous, Commands: f.Commands[:n]}
	rest := timeline.Frame{
		Epoch: f.Epoch, First: r.at + 1, Previous: timeline.NewFolder().Frame(&shared), Commands: f.Commands[n:],
		Level: f.Level,
	}
	return timeline.AppendFrame(nil, &rest), nil
}

// takes reports whether the history took p after what it took before.
func (r *reader) takes(p []byte) bool {
	h, ok := timeline.ReadHeader(p)
	if !ok || h.First != r.at+1 || !timeline.Within(r.reigns, r.last, h) {
		return false
	}
	if h.Kind == timeline.KindReign {
		b, err := timeline.DecodeReign(p)
		if err != nil || b.Epoch <= r.epoch || !slices.Contains(r.reigns, b) {
			return false // again, or in vain
		}
		r.epoch = b.Epoch
	}
	r.at = h.Last()
	return true
}
