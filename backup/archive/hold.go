package archive

import (
	"sync"

	"github.com/mimir-kv/mimir/replication"
)

// hold is the log that is kept for one archiver, under a name that no other one of the node has. It is safe for
// concurrent use.
type hold struct {
	history History
	name    string

	mu   sync.Mutex
	over bool
}

// keep keeps the log behind a position, in place of what was kept.
func (h *hold) keep(p replication.Position) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if !h.over {
		h.history.Hold(h.name, p)
	}
}

// letGo keeps nothing, until keep is called.
func (h *hold) letGo() {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.history.Release(h.name)
}

// end keeps nothing, whatever is called: an archiver that hangs may come back at any time.
func (h *hold) end() {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.over = true
	h.history.Release(h.name)
}
