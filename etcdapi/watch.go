package etcdapi

import (
	"bytes"
	"context"
	"errors"
	"io"

	pb "go.etcd.io/etcd/api/v3/etcdserverpb"
	"go.etcd.io/etcd/api/v3/v3rpc/rpctypes"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"github.com/mimir-kv/mimir/kv/auth"
	"github.com/mimir-kv/mimir/kv/watch"
	"github.com/mimir-kv/mimir/replication"
)

// What etcd says when it refuses to create a watch.
const (
	reasonEmptyRange  = "mvcc: watcher range is empty"
	reasonDuplicateID = "mvcc: duplicate watch ID provided on the WatchStream"
)

// noWatch is the watch ID of responses that are about no one watch.
const noWatch = -1

// watchServer is the Watch service.
type watchServer struct {
	pb.UnimplementedWatchServer
	*API
}

// Watch serves one stream, which carries any number of watches. It ends when the client or the node goes, never because
// one of its watches ended, nor because the client has said all that it wants and only listens.
func (s *watchServer) Watch(stream grpc.BidiStreamingServer[pb.WatchRequest, pb.WatchResponse]) error {
	ctx, cancel := context.WithCancelCause(stream.Context())
	w := &watchStream{API: s.API, stream: stream, ctx: ctx, fail: cancel, began: s.clock.Now(),
		watches: make(map[int64]*oneWatch), unsure: make(map[int64]*unsure), ended: make(map[int64]bool)}
	defer w.close()
	go func() {
		if err := w.receive(); !errors.Is(err, io.EOF) {
			cancel(err)
		}
	}()
	<-ctx.Done()
	switch cause := context.Cause(ctx); {
	case errors.Is(cause, context.Canceled):
		return rpctypes.ErrGRPCWatchCanceled
	default:
		return s.statusOf(stream.Context(), cause)
	}
}

// receive handles requests until the stream ends; it returns why, io.EOF if the client has closed its side. A watch
// from now on begins at what this node showed before, however short ago it was started.
func (w *watchStream) receive() error {
	if err := w.fresh(w.ctx, replication.Serializable); err != nil {
		return err
	}
	for {
		r, err := w.stream.Recv()
		if err != nil {
			return err
		}
		switch {
		case r.GetCreateRequest() != nil:
			err = w.create(r.GetCreateRequest())
		case r.GetCancelRequest() != nil:
			err = w.cancel(r.GetCancelRequest().WatchId)
		case r.GetProgressRequest() != nil:
			w.requestProgress()
		}
		if err != nil {
			return err
		}
	}
}

// create starts a watch, or says why not.
func (w *watchStream) create(r *pb.WatchCreateRequest) error {
	if len(r.Key) == 0 {
		r.Key = []byte{0} // the smallest key
	}
	refused := ""
	if r.StartRevision >= 0 {
		var unsure error
		if refused, unsure = w.forbidden(r); unsure != nil {
			return unsure
		}
	}
	w.mu.Lock()
	defer w.unlock()
	if err := w.ctx.Err(); err != nil {
		return err
	}
	if refused != "" {
		return w.refuse(refused)
	}
	id, reason := w.admit(r)
	if reason != "" {
		return w.refuse(reason)
	}
	if w.mustAsk(r.StartRevision) {
		return w.createUnsure(id, r)
	}
	watcher, err := w.open(r)
	var compacted *watch.CompactedError
	switch {
	case errors.As(err, &compacted):
		created := &pb.WatchResponse{Header: w.header(w.store.Revision()), WatchId: id, Created: true}
		return errors.Join(w.stream.Send(created), w.sendCompacted(id, compacted.Revision))
	case err != nil:
		return err
	}
	created := &pb.WatchResponse{Header: w.header(watcher.Created()), WatchId: id, Created: true}
	if err := w.stream.Send(created); err != nil {
		watcher.Close()
		return err
	}
	w.start(id, watcher, r)
	return nil
}

func (w *watchStream) open(r *pb.WatchCreateRequest) (*watch.Watcher, error) {
	return w.store.Watch(watch.Request{
		Key: r.Key, RangeEnd: r.RangeEnd, StartRevision: r.StartRevision, PrevKV: r.PrevKv,
		NoPut:    hasFilter(r, pb.WatchCreateRequest_NOPUT),
		NoDelete: hasFilter(r, pb.WatchCreateRequest_NODELETE),
	})
}

// forbidden says why whoever asks may not watch a range, "" if he may. Of a watch that is there nothing is asked again:
// as in etcd it goes on, also when users or roles change. A refusal is for good, so that there is none while an outage
// keeps it from being confirmed: the error, unsure, ends the stream, and the client goes on elsewhere.
func (w *watchStream) forbidden(r *pb.WatchCreateRequest) (reason string, unsure error) {
	_, err, unsure := w.confirmed(w.ctx, w.began, func(s *auth.State, id auth.Identity) error {
		return s.ReadRange(id, r.Key, r.RangeEnd)
	})
	switch {
	case err == nil:
		return "", nil
	case status.Code(unsure) == codes.Unavailable:
		return "", unsure
	}
	return err.Error(), nil
}

// admit chooses the ID of a new watch, or says why there can be none. The caller holds mu.
func (w *watchStream) admit(r *pb.WatchCreateRequest) (id int64, reason string) {
	unbounded := len(r.RangeEnd) == 1 && r.RangeEnd[0] == 0
	switch {
	case r.StartRevision < 0:
		return noWatch, rpctypes.ErrCompacted.Error()
	case len(r.RangeEnd) != 0 && !unbounded && bytes.Compare(r.Key, r.RangeEnd) >= 0:
		return noWatch, reasonEmptyRange
	case r.WatchId != 0 && w.inUse(r.WatchId):
		return noWatch, reasonDuplicateID
	}
	if reason := w.watching.refuses(w.count(), extraOf(r), w.limits.now()); reason != "" {
		return noWatch, reason
	}
	if r.WatchId != 0 {
		return r.WatchId, ""
	}
	for w.inUse(w.nextID) {
		w.nextID++
	}
	id = w.nextID
	w.nextID++
	return id, ""
}

// count returns for how many watches the IDs count that are in use. The caller holds mu.
func (w *watchStream) count() int { return len(w.watches) + len(w.unsure) + len(w.ended) + w.extra }

func (w *watchStream) inUse(id int64) bool {
	return w.watches[id] != nil || w.unsure[id] != nil || w.ended[id]
}

// refuse answers a request for a watch that will not be. The caller holds mu.
func (w *watchStream) refuse(reason string) error {
	return w.stream.Send(&pb.WatchResponse{
		Header: w.header(w.store.Revision()), WatchId: noWatch, Created: true, Canceled: true, CancelReason: reason,
	})
}

// cancel ends a watch at the client's wish. Nothing is sent for an ID that is not in use.
func (w *watchStream) cancel(id int64) error {
	w.mu.Lock()
	defer w.unlock()
	if err := w.ctx.Err(); err != nil {
		return err
	}
	if !w.inUse(id) {
		return nil
	}
	if one := w.watches[id]; one != nil {
		w.remove(one)
	}
	if u := w.unsure[id]; u != nil {
		u.cancel()
		w.drop(u)
	}
	delete(w.ended, id)
	err := w.stream.Send(&pb.WatchResponse{Header: w.header(w.store.Revision()), WatchId: id, Canceled: true})
	w.answerProgress()
	return err
}

func hasFilter(r *pb.WatchCreateRequest, f pb.WatchCreateRequest_FilterType) bool {
	for _, have := range r.Filters {
		if have == f {
			return true
		}
	}
	return false
}
