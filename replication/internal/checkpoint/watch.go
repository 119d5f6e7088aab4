package checkpoint

import (
	"fmt"
	"sync"
	"time"

	"github.com/mimir-kv/mimir/replication/internal/progress"
)

// Watch is what people are told of a transfer. The zero value is of none. It is safe for concurrent use.
type Watch struct {
	mu    sync.Mutex
	from  string
	last  Progress
	meter progress.Meter
}

// Begin says that a checkpoint is waited for, from a node that is called so.
func (w *Watch) Begin(from string, now time.Time) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.from, w.last = from, Progress{}
	w.meter.Begin(from, now)
}

// Came says how far that is.
func (w *Watch) Came(p Progress, now time.Time) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.last = p
	w.meter.Came(p.phase(), p.DoneBytes, p.TotalBytes, now)
}

// End says that nothing is waited for any more.
func (w *Watch) End() {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.from, w.last = "", Progress{}
	w.meter.End()
}

// Transfer tells how far what is waited for is, nil if nothing is.
func (w *Watch) Transfer(now time.Time) *progress.Transfer {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.meter.Reading(now)
}

// Text says what is waited for, "" if nothing is.
func (w *Watch) Text(now time.Time) string {
	w.mu.Lock()
	defer w.mu.Unlock()
	t := w.meter.Reading(now)
	if t == nil {
		return ""
	}
	text := w.last.Text(w.from)
	if t.LeftSeconds != nil && t.Phase == progress.Fetching {
		left := time.Duration(*t.LeftSeconds * float64(time.Second))
		text += ", about " + left.Round(time.Second).String() + " left"
	}
	if t.QuietSeconds >= progress.Quiet.Seconds() {
		quiet := time.Duration(t.QuietSeconds * float64(time.Second))
		text += fmt.Sprintf("; nothing came for %v", quiet.Truncate(time.Second))
	}
	return text
}

func (p Progress) phase() progress.Phase {
	switch {
	case p.Stage == Preparing:
		return progress.Making
	case p.Stage == Checking:
		return progress.Checking
	case p.TotalBytes == 0:
		return progress.Asking
	default:
		return progress.Fetching
	}
}

// Text says how far a transfer is from a node that is called so.
func (p Progress) Text(from string) string {
	switch p.phase() {
	case progress.Making:
		text := fmt.Sprintf("waits for %s, which makes a copy: %d bytes so far", from, p.DoneBytes)
		if p.TotalBytes > 0 {
			text += fmt.Sprintf(" of %d", p.TotalBytes)
		}
		return text
	case progress.Checking:
		return fmt.Sprintf("looks through what is here of a copy, before it asks %s for the rest: %d of %d bytes", from,
			p.DoneBytes, p.TotalBytes)
	case progress.Asking:
		return "waits for a copy of " + from
	default:
		return fmt.Sprintf("takes a copy of %s: %d of %d bytes", from, p.DoneBytes, p.TotalBytes)
	}
}
