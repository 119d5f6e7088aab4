package checkpoint

import (
	"fmt"
	"sync"
	"time"
)

// quiet is for how long nothing has to come before people are told that nothing does.
const quiet = 10 * time.Second

// Watch is what people are told of a transfer. The zero value is of none. It is safe for concurrent use.
type Watch struct {
	mu   sync.Mutex
	from string
	last Progress
	at   time.Time // when something last came
}

// Begin says that a checkpoint is waited for, from a node that is called so.
func (w *Watch) Begin(from string, now time.Time) { w.set(from, Progress{}, now) }

// Came says how far that is.
func (w *Watch) Came(p Progress, now time.Time) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.last, w.at = p, now
}

// End says that nothing is waited for any more.
func (w *Watch) End() { w.set("", Progress{}, time.Time{}) }

func (w *Watch) set(from string, p Progress, at time.Time) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.from, w.last, w.at = from, p, at
}

// Text says what is waited for, "" if nothing is.
func (w *Watch) Text(now time.Time) string {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.from == "" {
		return ""
	}
	text := w.last.Text(w.from)
	if silent := now.Sub(w.at); silent >= quiet {
		text += fmt.Sprintf("; nothing came for %v", silent.Truncate(time.Second))
	}
	return text
}

// Text says how far a transfer is from a node that is called so.
func (p Progress) Text(from string) string {
	switch {
	case p.Stage == Preparing:
		return fmt.Sprintf("waits for %s, which makes a copy: %d bytes so far", from, p.DoneBytes)
	case p.Stage == Checking:
		return fmt.Sprintf("looks through what is here of a copy, before it asks %s for the rest: %d of %d bytes", from,
			p.DoneBytes, p.TotalBytes)
	case p.TotalBytes == 0:
		return "waits for a copy of " + from
	default:
		return fmt.Sprintf("takes a copy of %s: %d of %d bytes", from, p.DoneBytes, p.TotalBytes)
	}
}
