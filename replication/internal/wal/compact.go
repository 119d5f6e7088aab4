package wal

import (
	"go.etcd.io/raft/v3/raftpb"
)

// Pin keeps the entries from index on until the name is pinned elsewhere or unpinned, whatever Compact is told. Pins
// are not durable: whoever needs one sets it again after Open, before the first Compact.
func (l *Log) Pin(name string, index uint64) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.pins == nil {
		l.pins = make(map[string]uint64)
	}
	l.pins[name] = index
}

// Unpin forgets a pin. Without one of this name it does nothing.
func (l *Log) Unpin(name string) {
	l.mu.Lock()
	defer l.mu.Unlock()
	delete(l.pins, name)
}

// Compact releases the whole segments that hold nothing but entries up to index and before every pin. The newest
// segment always stays. Reads in progress are not disturbed. The term of the entry before the new first is still known.
// It costs one sync when something is released, and nothing otherwise.
func (l *Log) Compact(index uint64) error {
	if err := l.usable(); err != nil {
		return err
	}
	n := l.releasable(index)
	if n == 0 {
		return nil
	}
	l.writer.stage(record{kind: kindFloor, index: l.segments[n].number})
	if err := l.flush(true); err != nil {
		return l.fail(err)
	}
	l.mu.Lock()
	dropped := append([]*segment(nil), l.segments[:n]...)
	l.segments = append([]*segment(nil), l.segments[n:]...)
	l.cache.cutBefore(l.first())
	l.mu.Unlock()
	l.folder.release(dropped)
	return nil
}

// releasable returns how many of the oldest segments hold only entries up to index and before every pin.
func (l *Log) releasable(index uint64) int {
	l.mu.RLock()
	defer l.mu.RUnlock()
	for _, pinned := range l.pins {
		if pinned <= index {
			index = max(pinned, 1) - 1
		}
	}
	n := 0
	for n < len(l.segments)-1 && l.segments[n].last <= index {
		n++
	}
	return n
}

// Reset empties the log, which continues at index+1 after an entry of the given term; a nil hard state keeps the last
// one. When it returns, that is durable. The position of that place is not known to the log: until a history entry is
// appended Seek finds nothing, unless Rebase says what it is.
func (l *Log) Reset(index, term uint64, hs *raftpb.HardState) error {
	if err := l.usable(); err != nil {
		return err
	}
	if hs != nil {
		l.writer.state = hs
	}
	return l.fail(l.begin(&header{prevIndex: index, prevTerm: term, reach: unknownReach, hardState: l.writer.state}, 0))
}
