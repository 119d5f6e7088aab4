package region

import (
	"errors"
	"sync"

	"github.com/mimir-kv/mimir/replication/contract"
	"github.com/mimir-kv/mimir/replication/durable"
)

// syncs makes the storage durable for whoever wants that: one at a time, as the contract has it. Who comes while that
// is under way waits for one that begins later, and shares it with those that wait as well: one that began before does
// not count, since what was applied meanwhile need not be in it.
//
// The first error counts for everybody from then on, unless it only says that there is no room: what that Sync did not
// write no later one tells of.
type syncs struct {
	storage contract.Storage
	turn    turn  // of the one that runs
	failed  error // the first error that counts; whose turn it is has it

	mu   sync.Mutex
	next *syncing // that has not begun; nil if nobody waits for one
}

// syncing is one Sync of the storage.
type syncing struct {
	done chan struct{} // closed when err is there
	err  error
}

func newSyncs(s contract.Storage) *syncs { return &syncs{storage: s, turn: newTurn()} }

// Sync has everything that was applied before the call made durable.
func (s *syncs) Sync() error {
	s.mu.Lock()
	own, leads := s.next, s.next == nil
	if leads {
		own = &syncing{done: make(chan struct{})}
		s.next = own
	}
	s.mu.Unlock()
	if !leads {
		<-own.done
		return own.err
	}
	s.turn.Lock()
	defer close(own.done)
	defer s.turn.Unlock()
	s.mu.Lock()
	s.next = nil // who comes from here on is too late for this one
	s.mu.Unlock()
	returned := false
	defer unfinished(&returned, func(why error) { s.failed, own.err = why, why })
	if own.err = s.failed; own.err == nil {
		own.err = s.storage.Sync()
	}
	returned = true
	if own.err != nil && !errors.Is(own.err, contract.ErrVolatile) && !durable.Full(own.err) {
		s.failed = own.err
	}
	return own.err
}
