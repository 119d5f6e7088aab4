package slots

import (
	"errors"
	"sync"

	"go.etcd.io/raft/v3"

	"github.com/mimir-kv/mimir/replication/contract"
	"github.com/mimir-kv/mimir/replication/internal/wal"
)

// pin is the name under which the log is kept for slots.
const pin = "slots"

// Log is the log as streams read it. Their pins yield to the bound on what is kept: whoever reads further back than
// that finds the log gone one day, and bootstraps. It is safe for concurrent use.
type Log struct {
	*wal.Log
	mu    sync.Mutex
	floor uint64            // nothing before it is kept for a stream
	pins  map[string]uint64 // as the streams asked for them
}

// NewLog returns l as streams read it.
func NewLog(l *wal.Log) *Log { return &Log{Log: l, pins: map[string]uint64{}} }

// Pin implements stream.Log.
func (l *Log) Pin(name string, index uint64) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.pins[name] = index
	l.Log.Pin(name, max(index, l.floor))
}

// Unpin implements stream.Log.
func (l *Log) Unpin(name string) {
	l.mu.Lock()
	defer l.mu.Unlock()
	delete(l.pins, name)
	l.Log.Unpin(name)
}

// bound has streams keep at most so many bytes.
func (l *Log) bound(bytes int64) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.floor = wal.Within(l.Log, bytes)
	for name, index := range l.pins {
		l.Log.Pin(name, max(index, l.floor))
	}
}

// behind returns where a reader that has p goes on, and how much log lies behind it. The error is raft.ErrCompacted if
// the log does not reach back so far.
func (l *Log) behind(p contract.Position) (index uint64, bytes int64, err error) {
	if index, err = l.Seek(p); err != nil {
		return 0, 0, err
	}
	return index, l.BytesFrom(index), nil
}

// exceeds reports whether more than bound lies behind p. Log that is not here says nothing: a node that took a state
// from another holds less than its siblings.
func (l *Log) exceeds(p contract.Position, bound int64) bool {
	_, bytes, err := l.behind(p)
	return err == nil && bytes > bound
}

// oldest returns where a reader goes on of which only is known that it has at most p, and that no more than bound is
// kept for it.
func (l *Log) oldest(bound int64) uint64 {
	first, _ := l.FirstPosition()
	index, err := l.Seek(first)
	if err != nil {
		return wal.Within(l.Log, bound)
	}
	return max(index, wal.Within(l.Log, bound))
}

// isGone reports whether an error of behind says that a reader has to bootstrap.
func isGone(err error) bool { return errors.Is(err, raft.ErrCompacted) }
