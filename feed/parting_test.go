package feed_test

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"sync/atomic"
	"testing"

	pb "go.etcd.io/etcd/api/v3/etcdserverpb"
	"go.etcd.io/etcd/api/v3/mvccpb"
	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"

	"github.com/mimir-kv/mimir/feed"
)

// hears dials a node, and tells of each revision that was read there, and of each message of a watch.
func (w *world) hears(at int, read func(revision int64), came func(*pb.WatchResponse)) feed.Dial {
	return func(context.Context) (grpc.ClientConnInterface, func(), error) {
		c, err := grpc.NewClient(w.nodes[at].Endpoint, grpc.WithTransportCredentials(insecure.NewCredentials()),
			grpc.WithUnaryInterceptor(func(ctx context.Context, method string, q, r any, conn *grpc.ClientConn,
				invoke grpc.UnaryInvoker, o ...grpc.CallOption) error {
				err := invoke(ctx, method, q, r, conn, o...)
				if get, is := q.(*pb.RangeRequest); is && get.Revision > 0 {
					read(get.Revision)
				}
				return err
			}),
			grpc.WithStreamInterceptor(func(ctx context.Context, d *grpc.StreamDesc, conn *grpc.ClientConn,
				method string, open grpc.Streamer, o ...grpc.CallOption) (grpc.ClientStream, error) {
				s, err := open(ctx, d, conn, method, o...)
				return &heard{s, came}, err
			}))
		return c, func() { c.Close() }, err
	}
}

// heard is a stream that tells what came.
type heard struct {
	grpc.ClientStream
	came func(*pb.WatchResponse)
}

func (s *heard) RecvMsg(m any) error {
	err := s.ClientStream.RecvMsg(m)
	if r, is := m.(*pb.WatchResponse); is && err == nil {
		s.came(r)
	}
	return err
}

// What is compacted while it is looked for a gap is not taken for a part of that: neither behind what was given out,
// nor beside it.
func TestACompactionWhileAGapIsLookedFor(t *testing.T) {
	for _, lost := range []int{5, 0} {
		w := newWorld(t, 2)
		key, end := feed.Prefix("k")
		o := feed.Options{Dial: w.to(0), Key: key, End: end}
		r := w.follow(o)
		r.want("begin")
		var fork int64
		for i := range 4 {
			fork = w.put("k", fmt.Sprint(i))
			r.want(fmt.Sprint("revision put k=", i))
		}
		for i := range lost {
			w.put("k", fmt.Sprint("lost", i), 0)
			r.want(fmt.Sprint("revision put k=lost", i))
		}
		w.nodes[1].FailOver(t, 2, 2)
		base := w.nodes[1].Store.Revision()
		for range 7 {
			w.put("other", "1", 1)
		}
		w.put("k", "kept", 1)
		at := fork
		if lost > 0 {
			at = fork - 2 // the first one that is found to be there
		}
		compact := sync.OnceFunc(func() { w.compact(1, base+5) })
		o.Token, o.Dial = r.kept, w.hears(1, func(revision int64) {
			if revision == at {
				compact()
			}
		}, func(*pb.WatchResponse) {})
		again := w.follow(o)
		again.want("begin")
		var compacted *feed.CompactedError
		if err := again.ends(); !errors.As(err, &compacted) || compacted.Readable != base+5 {
			t.Errorf("%d lost: %v", lost, err)
		}
	}
}

// A gap of which what lies before it is compacted when the feed comes to it, with what was read ahead, is told all the
// same.
func TestAGapIsToldThatIsCompactedMeanwhile(t *testing.T) {
	for _, further := range []int64{0, 1, 3} { // before what comes next, there, and behind it
		w := newWorld(t, 2)
		w.put("k", "1")
		r := w.follow(feed.Options{Dial: w.to(0)})
		r.want("begin")
		fork := w.put("k", "2")
		w.nodes[1].FailOver(t, 2, 2)
		base := w.nodes[1].Store.Revision()
		next := w.put("k", "3", 1)
		w.put("other", "1", 1)
		w.put("other", "2", 1)
		ahead := make(chan struct{})
		read := sync.OnceFunc(func() { close(ahead) })
		f := w.follow(feed.Options{Token: r.kept, Dial: w.hears(1, func(int64) {}, func(m *pb.WatchResponse) {
			if slices.ContainsFunc(m.Events, func(e *mvccpb.Event) bool { return e.Kv.ModRevision == next }) {
				read()
			}
		})})
		f.want("begin", "revision put k=2")
		<-ahead
		w.compact(1, base+further)
		void := f.want("void given=false")
		if void.After != fork || void.Revision != base {
			t.Errorf("%+v, want after %d up to %d", void, fork, base)
		}
		f.want("revision put k=3")
		if f = w.follow(feed.Options{Dial: w.to(1), Token: void.Token}); further < 2 {
			f.want("begin", "revision put k=3")
			continue
		}
		f.want("begin")
		var compacted *feed.CompactedError
		if err := f.ends(); !errors.As(err, &compacted) || compacted.Readable != base+further {
			t.Error(err)
		}
	}
}

// A gap is told, too, where what lies before it is all that there is: the revision to which the feed had come is not.
func TestAGapRightBehindACompaction(t *testing.T) {
	w := newWorld(t, 2)
	key, end := feed.Prefix("k")
	o := feed.Options{Dial: w.to(0), Key: key, End: end}
	w.put("k", "1")
	r := w.follow(o)
	r.want("begin")
	fork := w.put("other", "1")
	w.nodes[1].FailOver(t, 2, 2)
	base := w.nodes[1].Store.Revision()
	w.put("k", "2", 1)
	w.compact(1, fork)
	o.Dial, o.Token = w.to(1), r.kept
	f := w.follow(o)
	f.want("begin")
	if void := f.want("void given=false"); void.After != fork || void.Revision != base {
		t.Errorf("%+v, want after %d up to %d", void, fork, base)
	}
	f.want("revision put k=2")
}

// parted opens what is asked for over streams at another endpoint once that is so.
type parted struct {
	grpc.ClientConnInterface
	streams grpc.ClientConnInterface
	is      *atomic.Bool
}

func (p *parted) NewStream(ctx context.Context, d *grpc.StreamDesc, method string, o ...grpc.CallOption) (
	grpc.ClientStream, error) {
	if p.is.Load() {
		return p.streams.NewStream(ctx, d, method, o...)
	}
	return p.ClientConnInterface.NewStream(ctx, d, method, o...)
}

// Where one history says that what the feed had come to is compacted, and another one that it is not, the next endpoint
// is tried.
func TestACompactionThatAnEndpointContradicts(t *testing.T) {
	w := newWorld(t, 2)
	w.put("k", "1")
	r := w.follow(feed.Options{Dial: w.to(0)})
	r.want("begin")
	fork := w.put("k", "2")
	w.nodes[1].FailOver(t, 2, 2)
	base := w.nodes[1].Store.Revision()
	next := w.put("k", "3", 1)
	ahead := make(chan struct{})
	read := sync.OnceFunc(func() { close(ahead) })
	hears := w.hears(1, func(int64) {}, func(m *pb.WatchResponse) {
		if slices.ContainsFunc(m.Events, func(e *mvccpb.Event) bool { return e.Kv.ModRevision == next }) {
			read()
		}
	})
	var is atomic.Bool
	var told troubles
	f := w.follow(feed.Options{Token: r.kept, Trouble: told.tell,
		Dial: func(ctx context.Context) (grpc.ClientConnInterface, func(), error) {
			conn, leave, err := hears(ctx)
			if told.has("contradicts itself") {
				return conn, leave, err
			}
			return &parted{conn, w.nodes[0].Conn, &is}, leave, err
		}})
	f.want("begin", "revision put k=2")
	<-ahead
	is.Store(true)
	w.compact(0, fork)
	w.compact(1, base)
	var compacted *feed.CompactedError
	if err := f.ends(); !errors.As(err, &compacted) || !told.has("contradicts itself") {
		t.Errorf("%v; told: %q", err, told.said)
	}
}
