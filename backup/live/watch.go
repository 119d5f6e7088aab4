package live

import (
	"context"
	"errors"
	"fmt"
	"math"

	pb "go.etcd.io/etcd/api/v3/etcdserverpb"
	"go.etcd.io/etcd/api/v3/mvccpb"
	"go.etcd.io/etcd/api/v3/v3rpc/rpctypes"
	"google.golang.org/grpc"
	"google.golang.org/grpc/metadata"
)

// large lets a message be as large as it is: a server cuts what it can.
var large = grpc.MaxCallRecvMsgSize(math.MaxInt32)

// all is the key and the end of everything.
var all = []byte{0}

// revision is what was changed at one, in order.
type revision struct {
	number int64
	events []*mvccpb.Event
	bytes  int64
}

// watch reads the revisions of one side, from one on. It is used by one goroutine.
type watch struct {
	stream grpc.BidiStreamingClient[pb.WatchRequest, pb.WatchResponse]
	ready  []*revision
	last   *revision // of which more may come
}

// openWatch begins at a revision. It ends with ctx, or when its node has no leader.
func openWatch(ctx context.Context, conn grpc.ClientConnInterface, from int64) (*watch, error) {
	ctx = metadata.AppendToOutgoingContext(ctx, rpctypes.MetadataRequireLeaderKey, rpctypes.MetadataHasLeader)
	stream, err := pb.NewWatchClient(conn).Watch(ctx, large)
	if err == nil {
		err = stream.Send(&pb.WatchRequest{RequestUnion: &pb.WatchRequest_CreateRequest{
			CreateRequest: &pb.WatchCreateRequest{Key: all, RangeEnd: all, StartRevision: from, Fragment: true,
				ProgressNotify: true},
		}})
	}
	if err != nil {
		return nil, fmt.Errorf("watch from revision %d: %w", from, err)
	}
	return &watch{stream: stream}, nil
}

// next waits for the next revision, of which everything is there. It holds no more than that and one message.
func (w *watch) next() (*revision, error) {
	for len(w.ready) == 0 {
		r, err := w.stream.Recv()
		switch {
		case err != nil:
			return nil, fmt.Errorf("watch: %w", err)
		case r.Canceled && r.CompactRevision > 0:
			return nil, fmt.Errorf("%w: it is compacted up to revision %d", ErrCompacted, r.CompactRevision)
		case r.Canceled:
			return nil, fmt.Errorf("watch: canceled: %s", r.CancelReason)
		}
		if err := w.take(r); err != nil {
			return nil, err
		}
	}
	first := w.ready[0]
	w.ready = w.ready[1:]
	return first, nil
}

// take adds a message. A revision is whole when the next one begins, or a message ends that is not cut.
func (w *watch) take(r *pb.WatchResponse) error {
	for _, e := range r.Events {
		if e.GetKv() == nil {
			return errors.New("watch: a change without a key came")
		}
		if w.last == nil || w.last.number != e.Kv.ModRevision {
			w.flush()
			w.last = &revision{number: e.Kv.ModRevision}
		}
		w.last.events = append(w.last.events, e)
		w.last.bytes += int64(len(e.Kv.Key)+len(e.Kv.Value)) + eventBytes
	}
	if !r.Fragment {
		w.flush()
	}
	return nil
}

// eventBytes is about what an event takes beside its key and value.
const eventBytes = 256

func (w *watch) flush() {
	if w.last != nil {
		w.ready = append(w.ready, w.last)
		w.last = nil
	}
}
