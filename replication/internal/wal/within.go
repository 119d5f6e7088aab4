package wal

import "sort"

// Within returns the least index from which the entries of l take at most so many bytes of the disk, LastIndex()+1 if
// even the last ones take more. Like BytesFrom it knows offsets one spacing of the sparse index apart.
func Within(l *Log, bytes int64) uint64 {
	l.mu.RLock()
	defer l.mu.RUnlock()
	index := l.tail().last + 1
	var newer int64
	for i := len(l.segments) - 1; i >= 0; i-- {
		s := l.segments[i]
		if newer+s.end > bytes {
			least := newer + s.end - bytes
			n := sort.Search(len(s.points), func(i int) bool { return s.points[i].offset >= least })
			if n < len(s.points) {
				index = s.points[n].index
			}
			break
		}
		newer += s.end
		index = s.prevIndex + 1
	}
	return index
}
