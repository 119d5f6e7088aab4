package stream

import (
	"time"

	"github.com/mimir-kv/mimir/replication/clock"
	"github.com/mimir-kv/mimir/replication/timeline"
)

// horizon turns positions into time: it remembers that at some moment nothing beyond some position was committed at
// the source, and tells since when everything has been reached. Moments are of the local clock alone, whose machine may
// have been suspended meanwhile. The zero value is ready; it is not safe for concurrent use.
type horizon struct {
	marks   []mark // rising in both; those that are not reached yet
	reached time.Time
	known   bool
}

// mark says that everything committed at the moment at is at or before position.
type mark struct {
	at       time.Time
	position timeline.Position
}

// maxMarks bounds the memory of a horizon. When it is full every second mark is forgotten, which makes the bound
// coarser but never too low.
const maxMarks = 512

// add notes that at the moment at nothing beyond position was committed.
func (h *horizon) add(at time.Time, position timeline.Position) {
	if n := len(h.marks); n > 0 {
		last := h.marks[n-1]
		if at.Before(last.at) {
			return
		}
		if position <= last.position {
			h.marks[n-1].at = at // positions only rise: the later moment holds for the same place
			return
		}
	}
	if len(h.marks) == maxMarks {
		kept := h.marks[:0]
		for i := 1; i < maxMarks; i += 2 {
			kept = append(kept, h.marks[i])
		}
		h.marks = kept
	}
	h.marks = append(h.marks, mark{at, position})
}

// reach notes that everything up to position has been reached.
func (h *horizon) reach(position timeline.Position) {
	n := 0
	for n < len(h.marks) && h.marks[n].position <= position {
		h.reached, h.known = h.marks[n].at, true
		n++
	}
	h.marks = append(h.marks[:0], h.marks[n:]...)
}

// seconds returns how long ago everything that was committed then has been reached; false if that is not known.
func (h *horizon) seconds(now time.Time) (float64, bool) {
	if !h.known {
		return 0, false
	}
	return max(0, clock.Ago(h.reached, now).Seconds()), true
}
