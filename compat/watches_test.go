package compat

import (
	"context"
	"fmt"
	"testing"
	"time"

	pb "go.etcd.io/etcd/api/v3/etcdserverpb"
	"go.etcd.io/etcd/api/v3/mvccpb"
	"google.golang.org/grpc"
	"google.golang.org/protobuf/proto"
)

// watches is one watch stream and what came over it.
type watches struct {
	name      string
	stream    grpc.BidiStreamingClient[pb.WatchRequest, pb.WatchResponse]
	responses chan *pb.WatchResponse
	events    map[int64][]*mvccpb.Event   // of the watches that are there
	cut       map[int64]bool              // in the middle of fragments
	compacted map[int64]*pb.WatchResponse // how watches were ended by a compaction
}

func openWatches(t *testing.T, name string, client pb.WatchClient) *watches {
	t.Helper()
	ctx, cancel := context.WithCancel(context.Background())
	t.Cleanup(cancel)
	s, err := client.Watch(ctx)
	if err != nil {
		t.Fatal(err)
	}
	w := &watches{
		name: name, stream: s, responses: make(chan *pb.WatchResponse, 1<<16),
		events: map[int64][]*mvccpb.Event{}, cut: map[int64]bool{}, compacted: map[int64]*pb.WatchResponse{},
	}
	go func() {
		defer close(w.responses)
		for {
			r, err := s.Recv()
			if err != nil {
				return
			}
			w.responses <- r
		}
	}()
	return w
}

func (w *watches) create(r *pb.WatchCreateRequest) error {
	return w.stream.Send(&pb.WatchRequest{RequestUnion: &pb.WatchRequest_CreateRequest{CreateRequest: r}})
}

func (w *watches) cancel(id int64) error {
	cancel := &pb.WatchRequest_CancelRequest{CancelRequest: &pb.WatchCancelRequest{WatchId: id}}
	return w.stream.Send(&pb.WatchRequest{RequestUnion: cancel})
}

func (w *watches) askProgress() error {
	ask := &pb.WatchRequest_ProgressRequest{ProgressRequest: &pb.WatchProgressRequest{}}
	return w.stream.Send(&pb.WatchRequest{RequestUnion: ask})
}

// until takes responses until one matches. It returns nil if none does in time.
func (w *watches) until(wait time.Duration, match func(*pb.WatchResponse) bool) (*pb.WatchResponse, error) {
	deadline := time.After(wait)
	for {
		select {
		case r, ok := <-w.responses:
			if !ok {
				return nil, fmt.Errorf("%s: the watch stream ended", w.name)
			}
			if err := w.take(r); err != nil {
				return nil, err
			}
			if match(r) {
				return withoutIdentity(r).(*pb.WatchResponse), nil
			}
		case <-deadline:
			return nil, nil
		}
	}
}

// take keeps the events of a response, and checks what holds for every one.
func (w *watches) take(r *pb.WatchResponse) error {
	if r.Canceled && r.CompactRevision != 0 {
		w.compacted[r.WatchId] = withoutIdentity(r).(*pb.WatchResponse)
	}
	if len(r.Events) == 0 {
		return nil
	}
	before := w.events[r.WatchId]
	for _, e := range r.Events {
		if n := len(before); n > 0 && e.Kv.ModRevision < before[n-1].Kv.ModRevision {
			return fmt.Errorf("%s: watch %d: event of revision %d after one of %d", w.name, r.WatchId, e.Kv.ModRevision,
				before[n-1].Kv.ModRevision)
		}
		if e.Kv.ModRevision > r.Header.Revision {
			return fmt.Errorf("%s: watch %d: event of revision %d under header %d", w.name, r.WatchId, e.Kv.ModRevision,
				r.Header.Revision)
		}
		if n := len(before); n > 0 && !w.cut[r.WatchId] && e == r.Events[0] &&
			e.Kv.ModRevision == before[n-1].Kv.ModRevision {
			return fmt.Errorf("%s: watch %d: revision %d is in two responses that are not fragments", w.name, r.WatchId,
				e.Kv.ModRevision)
		}
		before = append(before, e)
	}
	w.events[r.WatchId], w.cut[r.WatchId] = before, r.Fragment
	return nil
}

// sameEvents says where two runs of events differ, "" if they do not.
func sameEvents(a, b []*mvccpb.Event) string {
	for i := range max(len(a), len(b)) {
		switch {
		case i >= len(a):
			return fmt.Sprintf("event %d of %d is missing at first:\n%v", i+1, len(b), b[i])
		case i >= len(b):
			return fmt.Sprintf("event %d of %d is missing at second:\n%v", i+1, len(a), a[i])
		case !proto.Equal(a[i], b[i]):
			return fmt.Sprintf("event %d differs:\nfirst:  %v\nsecond: %v", i+1, a[i], b[i])
		}
	}
	return ""
}
