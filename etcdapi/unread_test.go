package etcdapi_test

import (
	"fmt"
	"math/rand/v2"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/cockroachdb/pebble/v2/vfs"
	pb "go.etcd.io/etcd/api/v3/etcdserverpb"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"github.com/mimir-kv/mimir/etcdapi"
	"github.com/mimir-kv/mimir/etcdapi/etcdapitest"
	"github.com/mimir-kv/mimir/replication/clock"
)

// hasty is a clock by which a minute is over in less than a millisecond.
type hasty struct {
	clock.Clock
	began time.Time
}

const haste = 100_000

func (h hasty) Now() time.Time { return h.began.Add(haste * time.Since(h.began)) }

func (h hasty) NewTicker(d time.Duration) clock.Timer { return h.Clock.NewTicker(max(d/haste, 1)) }

// What the store keeps for a stream it does not keep for ever: one of which the client reads nothing, though it is
// there, ends, and so does what was kept.
func TestAStreamThatNobodyReadsEnds(t *testing.T) {
	fs, ended := vfs.NewMem(), make(chan error, 1)
	n := etcdapitest.StartOn(t, fs, etcdapi.Options{
		Clock: hasty{clock.Real, time.Now()},
		Stream: func(srv any, ss grpc.ServerStream, _ *grpc.StreamServerInfo, handle grpc.StreamHandler) error {
			err := handle(srv, ss)
			ended <- err
			return err
		},
	})
	conn, ctx := n.Dial(t), bounded(t)
	value := make([]byte, 1<<20)
	for i := range value {
		value[i] = byte(rand.Uint32())
	}
	for i := range 8 {
		value[0] = byte(i)
		_, err := pb.NewKVClient(conn).Put(ctx, &pb.PutRequest{Key: fmt.Append(nil, i), Value: value})
		if err != nil {
			t.Fatal(err)
		}
	}
	for what, begin := range map[string]func() error{
		"range": func() error {
			_, err := pb.NewKVClient(conn).RangeStream(ctx, &pb.RangeRequest{Key: []byte{0}, RangeEnd: []byte{0}})
			return err
		},
		"snapshot": func() error {
			_, err := pb.NewMaintenanceClient(conn).Snapshot(ctx, &pb.SnapshotRequest{})
			return err
		},
	} {
		if err := begin(); err != nil {
			t.Fatal(err)
		}
		select {
		case err := <-ended:
			if status.Code(err) != codes.ResourceExhausted {
				t.Errorf("%s: ends with %v", what, err)
			}
		case <-ctx.Done():
			t.Fatalf("%s: goes on, and nobody reads it", what)
		}
	}
	for kept(t, fs) {
		select {
		case <-time.After(time.Millisecond):
		case <-ctx.Done():
			t.Fatal("what the snapshot is of is kept")
		}
	}
}

// Nor does a stream wait for longer that has nothing to say yet, since too much of others lies unread by its client.
func TestAStreamThatMayNotBeginEnds(t *testing.T) {
	var api atomic.Pointer[etcdapi.API]
	ended := make(chan error, 1)
	n := etcdapitest.StartOn(t, vfs.NewMem(), etcdapi.Options{
		Clock: hasty{clock.Real, time.Now()}, Limits: etcdapi.Limits{AnswerBytes: 1 << 20},
		Stream: func(srv any, ss grpc.ServerStream, _ *grpc.StreamServerInfo, handle grpc.StreamHandler) error {
			etcdapi.LeaveUnread(ss.Context(), api.Load(), 2<<20)
			err := handle(srv, ss)
			ended <- err
			return err
		},
	})
	api.Store(n.API)
	ctx := bounded(t)
	_, err := pb.NewKVClient(n.Dial(t)).RangeStream(ctx, &pb.RangeRequest{Key: []byte{0}, RangeEnd: []byte{0}})
	if err != nil {
		t.Fatal(err)
	}
	select {
	case err := <-ended:
		if status.Code(err) != codes.ResourceExhausted {
			t.Errorf("ends with %v", err)
		}
	case <-ctx.Done():
		t.Fatal("it waits for ever")
	}
}

// Nor does it for one who reads a message now and then, to be none who reads nothing.
func TestAStreamThatIsReadInDripsEnds(t *testing.T) {
	n := etcdapitest.StartOn(t, vfs.NewMem(), etcdapi.Options{Clock: hasty{clock.Real, time.Now()}})
	conn, ctx := n.Dial(t), bounded(t)
	value := make([]byte, 1<<20)
	for i := range 16 {
		_, err := pb.NewKVClient(conn).Put(ctx, &pb.PutRequest{Key: fmt.Append(nil, i), Value: value})
		if err != nil {
			t.Fatal(err)
		}
	}
	s, err := pb.NewKVClient(conn).RangeStream(ctx, &pb.RangeRequest{Key: []byte{0}, RangeEnd: []byte{0}})
	for err == nil {
		select { // by the clock of the node, some minutes
		case <-time.After(8 * time.Minute / haste):
		case <-ctx.Done():
		}
		_, err = s.Recv()
	}
	if status.Code(err) != codes.ResourceExhausted {
		t.Errorf("ends with %v", err)
	}
}

// kept reports whether there is a copy of the store.
func kept(t *testing.T, fs vfs.FS) bool {
	names, err := fs.List(etcdapitest.StoreDir)
	if err != nil {
		t.Fatal(err)
	}
	return strings.Contains(fmt.Sprint(names), "tmp-")
}
