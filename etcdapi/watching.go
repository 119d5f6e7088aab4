package etcdapi

import (
	"fmt"
	"sync/atomic"
)

// What no etcd says: it knows no bounds.
const (
	reasonTooMany    = "mimir: too many watches on this stream, which has %d: cancel some, or open another stream"
	reasonTooManyAll = "mimir: too many watches at this node, %d, of which this stream has %d: cancel some, go to " +
		"another node, or raise max-watches"
)

// watching counts the watches of all streams, with those that ended by themselves and were not cancelled since. It is
// safe for concurrent use.
type watching struct{ all, streams atomic.Int64 }

// refuses says why a stream that has so many watches gets no further one, "" if it does: where there are too many of
// all, those that have no more than their share go on to get some, until there are twice as many.
func (a *watching) refuses(has int, bound *limits) string {
	all, most := a.all.Load(), int64(bound.AllWatches)
	share := most / max(1, a.streams.Load())
	switch {
	case has >= bound.Watches:
		return fmt.Sprintf(reasonTooMany, has)
	case all >= most && (int64(has) >= share || all >= 2*most):
		return fmt.Sprintf(reasonTooManyAll, all, has)
	}
	return ""
}

// changed says that a stream which had so many has others now.
func (a *watching) changed(had, has int) {
	a.all.Add(int64(has - had))
	switch {
	case had == 0 && has > 0:
		a.streams.Add(1)
	case had > 0 && has == 0:
		a.streams.Add(-1)
	}
}
