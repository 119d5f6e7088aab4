package stream

import (
	"errors"
	"fmt"

	"github.com/mimir-kv/mimir/replication/timeline"
)

// Errors of a Reading beside ErrBehind, ErrRefused and those of a damaged log.
var (
	// ErrForked says that the history here does not have the place behind which it was to be read.
	ErrForked = errors.New("stream: the history here does not have that place")
	// ErrReleased says that the log of this node does not reach back so far.
	ErrReleased = errors.New("stream: the log does not reach back so far")
)

// Reading gives out the history that this node has applied, in order and whole, to a reader in this process. What it
// gave out and the reader has not let go of is kept in the log, within the bounds of that. It is used by one goroutine.
type Reading struct {
	source *Source
	reader *reader
	pin    string
	first  *chunk // read by Read, and not given out yet
	held   []held
}

// held says that who has everything up to at needs the log from an index on.
type held struct {
	at    timeline.Cursor
	needs uint64
}

// Read begins behind the place at, under a name that no other reading has at the same time. The caller closes it.
// Errors: ErrForked, ErrReleased, ErrBehind if this node has not applied what leads to that place, ErrRefused if its
// history is not the fleet's, or if it stops.
func (s *Source) Read(name string, at timeline.Origin) (*Reading, error) {
	r := &Reading{source: s, pin: "reading/" + name}
	s.config.Log.Pin(r.pin, 0) // nothing is released between the verdict and the first read
	if err := r.begin(s.config.History.View(), at); err != nil {
		r.Close()
		return nil, err
	}
	return r, nil
}

func (r *Reading) begin(view View, at timeline.Origin) (err error) {
	if view.Serving != nil {
		return fmt.Errorf("%w: %w", ErrRefused, view.Serving)
	}
	switch relation, shared := timeline.Compare(at.Reigns, view.Reigns, at.Cursor.Position, view.Cursor.Position); {
	case relation == timeline.Extends:
		return fmt.Errorf("%w: it is at position %d, and %d is asked for", ErrBehind, view.Cursor.Position,
			at.Cursor.Position)
	case relation == timeline.Forked:
		return fmt.Errorf("%w: position %d of epoch %d; it parted behind %d", ErrForked, at.Cursor.Position,
			at.Cursor.Epoch, shared)
	}
	log := r.source.config.Log
	if r.reader, err = newReader(log, view, at.Cursor); err == nil {
		var c chunk
		c, err = r.reader.read(view, r.source.config.BatchBytes)
		r.first = &c
	}
	switch {
	case err == nil:
		r.note(at.Cursor, r.first.first)
		return nil
	case lacksLog(err):
		return fmt.Errorf("%w: behind position %d: %w", ErrReleased, at.Cursor.Position, err)
	case errors.Is(err, ErrChain) && r.elsewhere(view, at):
		return fmt.Errorf("%w: %w", ErrForked, err)
	default:
		return err
	}
}

// elsewhere reports whether the history here has another chain at a place although its reigns are the same.
func (r *Reading) elsewhere(view View, at timeline.Origin) bool {
	here, err := r.source.chain(view, timeline.Latest(at.Reigns), at.Cursor.Position)
	return err == nil && here != at.Cursor.Chain
}

// Next returns what comes next, about as much as a batch of the stream, and the place behind it; end says that it was
// all that is applied by now. It waits for nothing. The payloads are the log's: they must not be changed. An error is
// final.
func (r *Reading) Next() (payloads [][]byte, at timeline.Cursor, end bool, err error) {
	c := r.first
	if r.first = nil; c == nil || len(c.payloads) == 0 {
		view := r.source.config.History.View()
		if view.Serving != nil {
			return nil, at, false, fmt.Errorf("%w: %w", ErrRefused, view.Serving)
		}
		next, err := r.reader.read(view, r.source.config.BatchBytes)
		switch {
		case err == nil:
			c = &next
		case lacksLog(err):
			return nil, at, false, fmt.Errorf("%w: %w", ErrReleased, err)
		default:
			return nil, at, false, err
		}
	}
	r.note(c.at, r.reader.needs())
	return c.payloads, c.at, c.end, nil
}

// note keeps the log for who has everything up to at.
func (r *Reading) note(at timeline.Cursor, needs uint64) {
	if n := len(r.held); n > 0 && r.held[n-1].at == at {
		r.held[n-1].needs = needs
	} else {
		r.held = append(r.held, held{at, needs})
	}
	r.source.config.Log.Pin(r.pin, r.held[0].needs)
}

// Done lets go of the log that leads to at, a place that Next returned.
func (r *Reading) Done(at timeline.Cursor) {
	n := 0
	for n+1 < len(r.held) && r.held[n].at != at {
		n++
	}
	r.held = append(r.held[:0], r.held[n:]...)
	r.source.config.Log.Pin(r.pin, r.held[0].needs)
}

// Close lets go of all of it.
func (r *Reading) Close() { r.source.config.Log.Unpin(r.pin) }

// Now returns the place up to which this node has applied the history. Error: ErrRefused, as of Read.
func (s *Source) Now() (timeline.Origin, error) {
	view := s.config.History.View()
	if view.Serving != nil {
		return timeline.Origin{}, fmt.Errorf("%w: %w", ErrRefused, view.Serving)
	}
	return timeline.Origin{Cursor: view.Cursor, Reigns: view.Reigns}, nil
}

// Hold keeps the log for a reading of this name that may have to begin here, behind the position p, or from where the
// log begins if it does not reach back so far; within the bounds of the log, until it is called again, or Release.
func (s *Source) Hold(name string, p timeline.Position) {
	log := s.config.Log
	index, err := log.Seek(p)
	if first, ok := log.FirstPosition(); err != nil && ok {
		index, err = log.Seek(first)
	}
	if err == nil {
		log.Pin("hold/"+name, index)
	}
}

// Release ends what Hold began.
func (s *Source) Release(name string) { s.config.Log.Unpin("hold/" + name) }
