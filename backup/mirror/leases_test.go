package mirror

import (
	"context"
	"math"
	"sync/atomic"
	"testing"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"github.com/mimir-kv/mimir/backup/sides"
)

// IDs lead from the fleet to the etcd and back, to none that is no lease, and to others for each place: to the same
// ones only where there can be no other place, so that nothing has to be compared there that is of before.
func TestIDsOfAPlace(t *testing.T) {
	seen := map[int64]string{}
	for _, to := range []string{"", "a/", "b/"} {
		l := newLeases(sides.Side{}, sides.Side{}, to)
		for _, id := range []int64{1, 2, -1, math.MaxInt64, math.MinInt64, l.mask} {
			there := l.there(id)
			if id == 0 {
				continue
			}
			if there == 0 || l.there(there) != id {
				t.Errorf("to %q: %x is %x, and back %x", to, id, there, l.there(there))
			}
			if other, is := seen[there]; is {
				t.Errorf("%x is of %q and of %q", there, other, to)
			}
			seen[there] = to
		}
		if l.there(1) == 1 != (to == "") {
			t.Errorf("to %q: lease 1 is %x", to, l.there(1))
		}
		for _, version := range []int{sharedLeaseVersion, placeVersion} {
			p := place{Version: version, ToPrefix: text(to)}
			if p.sharesLeases() != (version == sharedLeaseVersion && to != "") {
				t.Errorf("to %q, version %d: %t", to, version, p.sharesLeases())
			}
		}
	}
}

// opened counts streams, and has none.
type opened struct {
	grpc.ClientConnInterface
	n atomic.Int64
}

func (o *opened) NewStream(context.Context, *grpc.StreamDesc, string, ...grpc.CallOption) (grpc.ClientStream, error) {
	o.n.Add(1)
	return nil, status.Error(codes.Unavailable, "no streams")
}

// Few leases are kept alive on one stream, and many on several.
func TestManyLeasesAreKeptAliveOnSeveralStreams(t *testing.T) {
	for many, want := range map[int64]int64{0: 0, 1: 1, streamLeases: 1, streamLeases + 1: 2, 2000: keepStreams} {
		etcd := &opened{}
		l := newLeases(sides.Side{}, sides.Side{Conn: etcd}, "")
		for id := range many {
			l.add(id+1, 60)
		}
		if err := l.keepAlive(t.Context()); (err == nil) != (many == 0) || etcd.n.Load() != want {
			t.Errorf("%d leases: %d streams: %v", many, etcd.n.Load(), err)
		}
	}
}
