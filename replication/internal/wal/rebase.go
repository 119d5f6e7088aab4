package wal

import "github.com/mimir-kv/mimir/replication/timeline"

// base is where the history that the log can be read for begins, if not with its first entry.
type base struct {
	index    uint64
	position uint64
}

// Rebase says that a state at pos took the place of everything that the entries up to index made: for readers at a
// position the log begins behind index, with a reader that has pos. What stands before is entries of Raft still, but no
// longer of the history. It is remembered in memory only; whoever knows calls it again after Open. An earlier base is
// replaced by a later one.
func (l *Log) Rebase(index uint64, pos timeline.Position) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if index >= l.base.index {
		l.base = base{index: index, position: uint64(pos)}
	}
}

// based returns the base if it still matters: nothing behind it was released.
func (l *Log) based() (base, bool) {
	return l.base, l.base.index != 0 && l.base.index+1 >= l.first()
}
