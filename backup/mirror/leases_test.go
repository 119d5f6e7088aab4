package mirror

import (
	"context"
	"errors"
	"math"
	"slices"
	"sync/atomic"
	"testing"
	"time"

	pb "go.etcd.io/etcd/api/v3/etcdserverpb"
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
		l := newLeases(sides.Side{}, sides.Side{}, to, newLedger())
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

// renewing is an etcd that has leases, with their times to live in seconds, and keeps them alive.
type renewing struct {
	grpc.ClientConnInterface
	has map[int64]int64
	n   atomic.Int64 // streams
}

func (r *renewing) NewStream(context.Context, *grpc.StreamDesc, string, ...grpc.CallOption) (grpc.ClientStream, error) {
	r.n.Add(1)
	return &renewals{has: r.has, asked: make(chan int64, len(r.has)+1)}, nil
}

type renewals struct {
	grpc.ClientStream
	has   map[int64]int64
	asked chan int64
}

func (r *renewals) SendMsg(m any) error {
	r.asked <- m.(*pb.LeaseKeepAliveRequest).ID
	return nil
}

func (r *renewals) RecvMsg(m any) error {
	answer := m.(*pb.LeaseKeepAliveResponse)
	answer.ID = <-r.asked
	answer.TTL = r.has[answer.ID]
	return nil
}

// A lease that has less time in the etcd than in the fleet is kept alive by the less, and is granted with the fleet's
// where it has ended; one that has more is kept alive by the fleet's.
func TestALeaseIsKeptAliveByTheShorterTime(t *testing.T) {
	etcd := &renewing{has: map[int64]int64{1: 9, 2: 600}}
	l := newLeases(sides.Side{}, sides.Side{Conn: etcd}, "", newLedger())
	l.add(1, 60)
	l.add(2, 9)
	if err := l.keepAlive(t.Context()); err != nil {
		t.Fatal(err)
	}
	if due := l.due(); len(due) > 0 {
		t.Errorf("%d are to be kept alive at once", due)
	}
	for id := range etcd.has {
		l.known[id].kept = l.known[id].kept.Add(-4 * time.Second)
		if due := l.due(); !slices.Equal(due, []int64{id}) {
			t.Errorf("lease %d, behind 4 s of 9: %d are to be kept alive", id, due)
		}
		l.known[id].kept = time.Now()
	}
	etcd.has = nil
	if err := l.renew(t.Context(), []int64{1}); err != nil {
		t.Fatal(err)
	}
	if lost := l.lost(); !slices.Equal(lost, []span{{1, 60}}) {
		t.Errorf("lost: %+v", lost)
	}
}

// That a lease is not there, as it was before it was granted anew, does not make it one that has ended.
func TestALeaseThatWasGrantedAnewHasNotEnded(t *testing.T) {
	l, before := newLedger(), time.Now()
	l.add(7, 10)
	l.kept(7, 0, before.Add(-time.Second))
	if lost := l.lost(); len(lost) > 0 {
		t.Errorf("lost: %+v", lost)
	}
	l.kept(7, 0, time.Now())
	if lost := l.lost(); !slices.Equal(lost, []span{{7, 10}}) {
		t.Errorf("lost, since it was asked afterwards: %+v", lost)
	}
}

// A lease that is held until it is known whether any key is under it is kept alive, and nothing else: it is not among
// those that are, is not brought back and not ended.
func TestALeaseOfWhichNothingIsKnownYet(t *testing.T) {
	etcd := &renewing{has: map[int64]int64{1: 9, 2: 9}}
	l := newLeases(sides.Side{}, sides.Side{Conn: etcd}, "", newLedger())
	l.add(2, 9)
	if err := l.hold(t.Context(), []int64{1, 3}); err != nil {
		t.Fatal(err)
	}
	fleet := map[int64]bool{1: true, 2: true, 3: true}
	strange := l.strange(fleet)
	slices.Sort(strange)
	if !l.holds(1) || l.has(1) || l.holds(3) || l.count() != 1 || !slices.Equal(strange, []int64{1, 3}) ||
		!slices.Equal(l.unasked(), []int64{1}) || !slices.Equal(l.missing(nil), []int64{2}) {
		t.Errorf("known: %+v, strange: %d", l.known, strange)
	}
	l.anew()
	etcd.has = map[int64]int64{2: 9}
	if err := l.keepAlive(t.Context()); err != nil || l.holds(1) || len(l.lost()) > 0 || !l.has(2) {
		t.Errorf("known: %+v, lost: %+v: %v", l.known, l.lost(), err)
	}
}

// Few leases are kept alive on one stream, and many on several.
func TestManyLeasesAreKeptAliveOnSeveralStreams(t *testing.T) {
	for many, want := range map[int64]int64{0: 0, 1: 1, streamLeases: 1, streamLeases + 1: 2, 2000: keepStreams} {
		etcd := &opened{}
		l := newLeases(sides.Side{}, sides.Side{Conn: etcd}, "", newLedger())
		for id := range many {
			l.add(id+1, 60)
		}
		if err := l.keepAlive(t.Context()); (err == nil) != (many == 0) || etcd.n.Load() != want {
			t.Errorf("%d leases: %d streams: %v", many, etcd.n.Load(), err)
		}
	}
}

// asking has no streams, and says that one was asked for.
type asking struct {
	grpc.ClientConnInterface
	asked func()
}

func (a *asking) NewStream(context.Context, *grpc.StreamDesc, string, ...grpc.CallOption) (grpc.ClientStream, error) {
	a.asked()
	return nil, status.Error(codes.Unavailable, "no streams")
}

// Leases that are due are kept alive at once by who begins to, and not only when he has waited.
func TestLeasesAreKeptAliveFromTheBeginning(t *testing.T) {
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
	defer cancel()
	l := newLeases(sides.Side{}, sides.Side{Conn: &asking{asked: cancel}}, "", newLedger())
	l.add(1, 60)
	l.keep(ctx, time.Hour)
	if !errors.Is(ctx.Err(), context.Canceled) {
		t.Error("none was kept alive")
	}
}

// More leases than are kept alive in one step are kept alive in several.
func TestVeryManyLeasesAreKeptAliveInParts(t *testing.T) {
	etcd := &renewing{has: map[int64]int64{}}
	l := newLeases(sides.Side{}, sides.Side{Conn: etcd}, "", newLedger())
	for id := range int64(partLeases + 1) {
		l.add(id+1, 60)
		etcd.has[id+1] = 60
	}
	if err := l.keepAlive(t.Context()); err != nil || etcd.n.Load() != keepStreams+1 || len(l.due()) > 0 {
		t.Errorf("%d streams, %d leases are due: %v", etcd.n.Load(), len(l.due()), err)
	}
}

// unreachable answers nothing.
type unreachable struct{ grpc.ClientConnInterface }

var errUnreachable = errors.New("it is not there")

func (unreachable) Invoke(context.Context, string, any, any, ...grpc.CallOption) error {
	return errUnreachable
}

// Between parts of very many leases it is polled.
func TestItIsPolledBetweenPartsOfLeases(t *testing.T) {
	s := &session{mirror: &mirror{}, etcd: sides.Side{Conn: unreachable{}}}
	var parts []int
	err := inParts(t.Context(), make([]int64, 2*partLeases), func(_ context.Context, ids []int64) error {
		parts = append(parts, len(ids))
		return nil
	}, s.tend)
	if !errors.Is(err, errUnreachable) || !slices.Equal(parts, []int{partLeases}) {
		t.Errorf("parts of %d leases: %v", parts, err)
	}
}
