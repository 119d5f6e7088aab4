package replication

import (
	"github.com/mimir-kv/mimir/replication/internal/stream"
	"github.com/mimir-kv/mimir/replication/timeline"
)

// History gives out the history that a node has applied, to who keeps it elsewhere. It is safe for concurrent use.
type History struct{ node *node }

// HistoryOf returns that of a node, from when Start has returned.
func HistoryOf(r *MultiRegionReplicator) *History { return &History{r.node} }

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
	// ErrHistoryRefused says that what this node has is not the fleet's history: it gives way to another one, or stops.
	ErrHistoryRefused = stream.ErrRefused
)

// Leads reports whether this node leads its region, and has applied what is committed there as far as it knows.
func (h *History) Leads() bool { return h.node.serves() && h.node.leadership.Leads() }

// Now returns the place up to which the history is applied here. Errors: ErrHistoryRefused, ErrNotReady.
func (h *History) Now() (timeline.Origin, error) {
	if !h.node.serves() {
		return timeline.Origin{}, ErrNotReady
	}
	return h.node.source.Now()
}

// Read begins behind a place. The caller closes the reading; no other one has the name meanwhile. Errors:
// ErrHistoryForked, ErrHistoryReleased, ErrHistoryBehind, ErrHistoryRefused, ErrNotReady, and what is wrong with the
// log.
func (h *History) Read(name string, at timeline.Origin) (*HistoryReading, error) {
	if !h.node.serves() {
		return nil, ErrNotReady
	}
	return h.node.source.Read(name, at)
}

// Hold keeps the log behind a position, or all that is there of it, for a reading of that name which may have to begin
// here, within Config.RetainBytes; Release ends that.
func (h *History) Hold(name string, p Position) {
	if h.node.serves() {
		h.node.source.Hold(name, p)
	}
}

// Release ends what Hold began.
func (h *History) Release(name string) {
	if h.node.serves() {
		h.node.source.Release(name)
	}
}
