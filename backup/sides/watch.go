package sides

import (
	"context"
	"errors"
	"fmt"
	"math"
	"strings"
	"sync/atomic"
	"time"

	pb "go.etcd.io/etcd/api/v3/etcdserverpb"
	"go.etcd.io/etcd/api/v3/mvccpb"
	"go.etcd.io/etcd/api/v3/v3rpc/rpctypes"
	"google.golang.org/grpc"
	"google.golang.org/grpc/metadata"
)

// Large lets a message be as large as it is: a server cuts what it can.
var Large = grpc.MaxCallRecvMsgSize(math.MaxInt32)

// ErrCompacted says that what comes next is not there any more. It comes as a [CompactedError].
var ErrCompacted = errors.New("what comes next is compacted")

// CompactedError says from which revision on what was changed is there.
type CompactedError struct{ Revision int64 }

func (e *CompactedError) Error() string {
	return fmt.Sprintf("%v: it is compacted up to revision %d", ErrCompacted, e.Revision)
}

// Is makes errors.Is(err, ErrCompacted) true.
func (e *CompactedError) Is(target error) bool { return target == ErrCompacted }

// All is the key and the end of everything.
var All = []byte{0}

// Revision is what was changed at one, in order; nothing, where only so much is known: that up to it all was given out.
type Revision struct {
	Number int64
	Events []*mvccpb.Event
	Bytes  int64  // about what it takes
	Member uint64 // who has told it, and so has it; 0: that is not known
}

// Watch reads the revisions of one side, from one on. It is used by one goroutine.
type Watch struct {
	stream grpc.BidiStreamingClient[pb.WatchRequest, pb.WatchResponse]
	ready  []*Revision
	last   *Revision // of which more may come
	tells  bool      // revisions without a change too
	heard  atomic.Int64
}

// OpenWatch begins at a revision. It ends with ctx, or when its node has no leader.
func OpenWatch(ctx context.Context, conn grpc.ClientConnInterface, from int64) (*Watch, error) {
	return openWatch(ctx, conn, Wanted{Key: All, End: All, From: from})
}

// Wanted is what is watched: what was changed of the keys from Key on up to End, as etcd takes them, at the revision
// From and behind it.
type Wanted struct {
	Key, End []byte
	From     int64
	Previous bool // with what each was before
}

// OpenWatchOf is OpenWatch for some keys. It gives out, too, up to where nothing more of them was changed, now and then
// and when it is asked.
func OpenWatchOf(ctx context.Context, conn grpc.ClientConnInterface, wanted Wanted) (*Watch, error) {
	w, err := openWatch(ctx, conn, wanted)
	if err == nil {
		w.tells = true
	}
	return w, err
}

// FirstOf returns what an endpoint has first of some keys from a revision on; without changes, up to where it has none.
// ErrCompacted if that is compacted, or was cut off by a failover. What it opens ends with ctx.
func FirstOf(ctx context.Context, conn grpc.ClientConnInterface, wanted Wanted) (*Revision, error) {
	w, err := OpenWatchOf(ctx, conn, wanted)
	if err == nil {
		err = w.Ask()
	}
	if err != nil {
		return nil, err
	}
	return w.Next()
}

// Heard returns how many messages have come. It may be called beside Next.
func (w *Watch) Heard() int64 { return w.heard.Load() }

// Ask asks up to where nothing more was changed. It may be called beside Next.
func (w *Watch) Ask() error {
	return w.stream.Send(&pb.WatchRequest{RequestUnion: &pb.WatchRequest_ProgressRequest{
		ProgressRequest: &pb.WatchProgressRequest{}}})
}

func openWatch(ctx context.Context, conn grpc.ClientConnInterface, wanted Wanted) (*Watch, error) {
	ctx = metadata.AppendToOutgoingContext(ctx, rpctypes.MetadataRequireLeaderKey, rpctypes.MetadataHasLeader)
	stream, err := pb.NewWatchClient(conn).Watch(ctx, Large)
	if err == nil {
		err = stream.Send(&pb.WatchRequest{RequestUnion: &pb.WatchRequest_CreateRequest{
			CreateRequest: &pb.WatchCreateRequest{Key: wanted.Key, RangeEnd: wanted.End, StartRevision: wanted.From,
				PrevKv: wanted.Previous, Fragment: true, ProgressNotify: true},
		}})
	}
	if err != nil {
		return nil, fmt.Errorf("watch from revision %d: %w", wanted.From, err)
	}
	return &Watch{stream: stream}, nil
}

// Next waits for the next revision, of which everything is there. It holds no more than that and one message.
func (w *Watch) Next() (*Revision, error) {
	for len(w.ready) == 0 {
		r, err := w.stream.Recv()
		w.heard.Add(1)
		switch {
		case err != nil:
			return nil, fmt.Errorf("watch: %w", err)
		case r.Canceled && r.CompactRevision > 0:
			return nil, &CompactedError{Revision: r.CompactRevision}
		case r.Canceled:
			return nil, canceled(r.CancelReason)
		}
		if err := w.take(r); err != nil {
			return nil, err
		}
	}
	first := w.ready[0]
	w.ready = w.ready[1:]
	return first, nil
}

// canceled is the error of a watch that an etcd has ended, which says why as text.
func canceled(reason string) error {
	if strings.HasSuffix(reason, rpctypes.ErrPermissionDenied.Error()) {
		return fmt.Errorf("watch: %w", rpctypes.ErrGRPCPermissionDenied)
	}
	return fmt.Errorf("watch: canceled: %s", reason)
}

// take adds a message. A revision is whole when the next one begins, or a message ends that is not cut.
func (w *Watch) take(r *pb.WatchResponse) error {
	for _, e := range r.Events {
		if e.GetKv() == nil {
			return errors.New("watch: a change without a key came")
		}
		if w.last == nil || w.last.Number != e.Kv.ModRevision {
			w.flush()
			w.last = &Revision{Number: e.Kv.ModRevision, Member: r.Header.GetMemberId()}
		}
		w.last.Events = append(w.last.Events, e)
		was := len(e.PrevKv.GetKey()) + len(e.PrevKv.GetValue())
		w.last.Bytes += int64(len(e.Kv.Key)+len(e.Kv.Value)+was) + eventBytes
	}
	if !r.Fragment {
		w.flush()
	}
	if w.tells && len(r.Events) == 0 && !r.Created && !r.Fragment {
		w.ready = append(w.ready, &Revision{Number: r.Header.GetRevision(), Member: r.Header.GetMemberId()})
	}
	return nil
}

// eventBytes is about what an event takes beside its key and value.
const eventBytes = 256

func (w *Watch) flush() {
	if w.last != nil {
		w.ready = append(w.ready, w.last)
		w.last = nil
	}
}

// countTime bounds a question for which an etcd counts all keys.
const countTime = time.Minute

// Compacted returns up to which revision a side is compacted, 1 if it is not.
func (s Side) Compacted(ctx context.Context) (int64, error) {
	ctx, cancel := context.WithTimeout(ctx, countTime)
	defer cancel()
	_, err := pb.NewKVClient(s.Conn).Range(ctx, &pb.RangeRequest{
		Key: All, RangeEnd: All, Revision: 1, Limit: 1}, Large)
	if err == nil {
		return 1, nil
	}
	if !errors.Is(rpctypes.Error(err), rpctypes.ErrCompacted) {
		return 0, fmt.Errorf("%s: how far it is compacted: %w", s.Name, err)
	}
	w, err := OpenWatch(ctx, s.Conn, 1)
	for err == nil {
		var r *pb.WatchResponse
		if r, err = w.stream.Recv(); err == nil && r.Canceled {
			if r.CompactRevision > 0 {
				return r.CompactRevision, nil
			}
			err = errors.New(r.CancelReason)
		}
	}
	return 0, fmt.Errorf("%s: how far it is compacted: %w", s.Name, err)
}
