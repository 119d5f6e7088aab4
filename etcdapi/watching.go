package etcdapi

import (
	"fmt"
	"sync/atomic"

	pb "go.etcd.io/etcd/api/v3/etcdserverpb"
	"google.golang.org/protobuf/proto"
)

// What no etcd says: it knows no bounds.
const (
	reasonTooMany    = "mimir: too many watches on this stream, which has %d: cancel some, or open another stream"
	reasonTooManyAll = "mimir: too many watches at this node, %d, of which this stream has %d: cancel some, go to " +
		"another node, or raise max-watches"
)

// watchBytes is about what a watch takes in memory: one of long keys counts for as many as take as much.
const watchBytes = 4 << 10

// extraOf returns for how many watches one counts beside itself. A filter takes four bytes, and one in the message.
func extraOf(r *pb.WatchCreateRequest) int { return (proto.Size(r) + 3*len(r.Filters)) / watchBytes }

// watching counts the watches of all streams, with those that ended by themselves and were not cancelled since. It is
// safe for concurrent use.
type watching struct{ all, streams atomic.Int64 }

// refuses says why a stream that has so many watches gets no further one, which counts for extra more, "" if it does:
// where there are too many of all, those that have no more than their share go on to get some, until there are twice as
// many.
func (a *watching) refuses(has, extra int, bound *limits) string {
	all, most := a.all.Load(), int64(bound.AllWatches)
	share := most / max(1, a.streams.Load())
	switch {
	case has >= bound.Watches, has > 0 && has+extra >= bound.Watches:
		return fmt.Sprintf(reasonTooMany, has)
	case all >= most && (int64(has+extra) >= share || all+int64(extra) >= 2*most):
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
