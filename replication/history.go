package replication

import (
	"fmt"

	"github.com/mimir-kv/mimir/replication/internal/stream"
	"github.com/mimir-kv/mimir/replication/timeline"
)

// History gives out the history that a node has applied, to who keeps it elsewhere. It is safe for concurrent use.
type History struct{ node *node }

// HistoryOf returns that of a node, from when Start has returned; of nil, one that gives nothing out.
func HistoryOf(r *MultiRegionReplicator) *History {
	if r == nil {
		return &History{}
	}
	return &History{r.node}
}

// served says why nothing is given out, nil if it is.
func (h *History) served() error {
	if h.node == nil {
		return fmt.Errorf("%w: the history of no node", ErrArgument)
	}
	return h.node.life.Err()
}

// HistoryReading reads on behind a place, and is used by one goroutine. Next returns the frames and reigns that come
// next, as they are in the log, with the place behind them, and whether that is all by now; it never waits. What was
// given out is kept in the log until Done, or Close, within Config.RetainBytes.
type HistoryReading = stream.Reading

// Errors of History. [ErrClosed] and the like besides.
var (
	// ErrHistoryForked says that the history here does not have a place: it parted before it.
	ErrHistoryForked = stream.ErrForked
	// ErrHistoryReleased says that the log of this node does not reach back to a place any more.
	ErrHistoryReleased = stream.ErrReleased
	// ErrHistoryBehind says that this node has not applied yet what leads to a place.
	ErrHistoryBehind = stream.ErrBehind
	// ErrHistoryRefused says that what this node has is not the fleet's history: it gives way to another one, as it
	// does for a moment in a switchover, or stops.
	ErrHistoryRefused = stream.ErrRefused
)

// Leads reports whether this node leads its region, and has applied what is committed there as far as it knows.
func (h *History) Leads() bool { return h.served() == nil && h.node.leadership.Leads() }

// Now returns the place up to which the history is applied here. Errors: ErrHistoryRefused, ErrNotReady, ErrClosed,
// ErrStopped.
func (h *History) Now() (timeline.Origin, error) {
	if err := h.served(); err != nil {
		return timeline.Origin{}, err
	}
	return h.node.source.Now()
}

// Read begins behind a place. The caller closes the reading; no other one has the name meanwhile. Errors:
// ErrHistoryForked, ErrHistoryReleased, ErrHistoryBehind, ErrHistoryRefused, ErrNotReady, and what is wrong with the
// log.
func (h *History) Read(name string, at timeline.Origin) (*HistoryReading, error) {
	if err := h.served(); err != nil {
		return nil, err
	}
	return h.node.source.Read(name, at)
}

// Hold keeps the log behind a position, or all that is there of it, for a reading of that name which may have to begin
// here, within Config.RetainBytes; Release ends that.
func (h *History) Hold(name string, p Position) {
	if h.served() == nil {
		h.node.source.Hold(name, p)
	}
}

// Release ends what Hold began.
func (h *History) Release(name string) {
	if h.served() == nil {
		h.node.source.Release(name)
	}
}
