package votes

import (
	"fmt"
	"slices"
	"sync"

	"github.com/mimir-kv/mimir/replication/contract"
)

// turns keep apart what is done to the charter on this node, and what moves the primary: a seal is a vote for a region
// that may not have the charter, and what is promised by a hold, or by those who vote since, is promised to who is
// sealed. They are safe for concurrent use.
type turns struct {
	moving func() (to string, sealing bool)

	mu     sync.Mutex
	orders []string // that are carried out, for people
	writes int      // charters on their way to the log
}

// order begins an order, which is what it does for people, until end is called: no move begins beside it. It is refused
// while the primary is moved.
func (t *turns) order(what string) (end func(), err error) {
	t.mu.Lock()
	t.orders = append(t.orders, what)
	t.mu.Unlock()
	end = func() {
		t.mu.Lock()
		defer t.mu.Unlock()
		i := slices.Index(t.orders, what)
		t.orders = slices.Delete(t.orders, i, i+1)
	}
	if to, _ := t.moving(); to != "" {
		end()
		return nil, moved(to)
	}
	return end, nil
}

// write has a charter on its way to the log until end is called: no seal is proposed beside it. It is refused behind
// one.
func (t *turns) write() (end func(), err error) {
	t.add(1)
	if to, sealing := t.moving(); sealing {
		t.add(-1)
		return nil, moved(to)
	}
	return func() { t.add(-1) }, nil
}

func (t *turns) add(writes int) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.writes += writes
}

func moved(to string) error {
	return fmt.Errorf("%w: the primary is being moved to region %s: wait for the end of that, or take it back "+
		"(mimir switchover --abort), and say it again", contract.ErrNotReady, to)
}

// Changing returns which change of the charter is ordered on this node, for people, "" if none is, and whether one is
// on its way to the log. A move that is not seen by Config.Moving after either was said sees it.
func Changing(v *Votes) (what string, writes bool) {
	v.turns.mu.Lock()
	defer v.turns.mu.Unlock()
	if n := len(v.turns.orders); n > 0 {
		what = v.turns.orders[n-1]
	}
	return what, v.turns.writes > 0
}
