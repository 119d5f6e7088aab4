package roster

import (
	"fmt"
	"sync"

	"github.com/mimir-kv/mimir/replication/contract"
)

// turn is that of the one order which is carried out on a node at a time. It is safe for concurrent use.
type turn struct {
	mu    sync.Mutex
	taken bool
	what  string // it does, for people; "": nothing that keeps the primary where it is
}

// take reports whether nobody else had the turn. Whoever takes it gives it back by end.
func (t *turn) take(what string) bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.taken {
		return false
	}
	t.taken, t.what = true, what
	return true
}

func (t *turn) end() {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.taken, t.what = false, ""
}

// Changing returns which change of the regions is under way on this node, for people; "" if there is none. A move that
// is not seen by Config.Moving after it was said sees it.
func (k *Keeper) Changing() string {
	k.order.mu.Lock()
	defer k.order.mu.Unlock()
	return k.order.what
}

// still returns nil unless this node moves the primary, or is about to: that would wait for a roster while writes
// pause.
func (c *Config) still() error {
	to := c.Moving()
	if seal := c.Applied.State().Seal; to == "" && seal != nil {
		to = seal.To
	}
	if to == "" {
		return nil
	}
	return fmt.Errorf("%w: the primary is being moved to region %s: wait for the end of that, or take it back "+
		"(mimir switchover --abort), and say it again", contract.ErrNotReady, to)
}
