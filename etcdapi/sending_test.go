package etcdapi

import (
	"context"
	"slices"
	"sync"
	"sync/atomic"
	"testing"

	pb "go.etcd.io/etcd/api/v3/etcdserverpb"
	"go.etcd.io/etcd/api/v3/mvccpb"
	"go.etcd.io/etcd/server/v3/etcdserver/api/v3election/v3electionpb"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/mem"
	"google.golang.org/grpc/status"

	"github.com/mimir-kv/mimir/replication/clock/virtual"
)

// unreadStream is one whose client reads nothing, and gRPC takes everything.
type unreadStream struct {
	grpc.ServerStream
	ctx   context.Context
	total *atomic.Int64 // bytes, of all streams

	mu   sync.Mutex
	held []any
}

func (s *unreadStream) Context() context.Context { return s.ctx }

func (s *unreadStream) SendMsg(m any) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.held = append(s.held, m)
	s.total.Add(1 << 10)
	return nil
}

// read has gRPC write what it holds.
func (s *unreadStream) read(t *testing.T) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, m := range s.held {
		buffers, err := newCodec(new(Traffic)).Marshal(m)
		if err != nil {
			t.Error(err)
		}
		buffers.Free()
	}
	s.held = nil
}

// TestSmallMessagesOfAllStreamsAreBounded, however small each of them is: what their clients do not read waits, beside
// a little of each stream, and goes on when they read.
func TestSmallMessagesOfAllStreamsAreBounded(t *testing.T) {
	const limit, streams, each = 2 << 20, 100, 64
	virtual.Test(t, func(t *testing.T) {
		ctx, cancel := context.WithCancel(t.Context())
		a, total := newAnswers(limit), new(atomic.Int64)
		var senders sync.WaitGroup
		var all []*unreadStream
		for range streams {
			under := &unreadStream{ctx: ctx, total: total}
			all = append(all, under)
			s := &sentStream{ServerStream: under, messages: a, to: sender{connection: "one"}}
			senders.Go(func() {
				for range each {
					if err := s.SendMsg(&pb.WatchResponse{CancelReason: string(make([]byte, 1<<10))}); err != nil {
						t.Error(err)
					}
				}
			})
		}
		virtual.Wait()
		if got := total.Load(); got > limit+streams*2*smallBytes || got < limit/4 {
			t.Errorf("%d bytes are unread; the limit is %d, of %d streams", got, limit, streams)
		}
		for total.Load() < streams*each<<10 {
			for _, s := range all {
				s.read(t)
			}
			virtual.Wait()
		}
		senders.Wait()
		for _, s := range all {
			s.read(t)
		}
		if a.bytes != 0 || a.pending != 0 || len(a.unread) != 0 {
			t.Errorf("%d bytes are counted in the end, %d wait", a.bytes, a.pending)
		}
		cancel()
	})
}

// TestSmallAnswersOfAllRequestsAreBounded: those that are not read, below what is made in turns, of every request that
// does nothing.
func TestSmallAnswersOfAllRequestsAreBounded(t *testing.T) {
	const bytes = countedBytes / 4
	value := make([]byte, bytes)
	kv := &mvccpb.KeyValue{Value: value}
	leases := slices.Repeat([]*pb.LeaseStatus{{ID: -1}}, bytes/13)
	alarms := slices.Repeat([]*pb.AlarmMember{{MemberID: 1 << 63}}, bytes/13)
	for _, c := range []struct{ request, answer any }{
		{&pb.RangeRequest{}, &pb.RangeResponse{Kvs: []*mvccpb.KeyValue{kv}}},
		{&pb.LeaseTimeToLiveRequest{Keys: true}, &pb.LeaseTimeToLiveResponse{Keys: [][]byte{value}}},
		{&pb.LeaseLeasesRequest{}, &pb.LeaseLeasesResponse{Leases: leases}},
		{&v3electionpb.LeaderRequest{}, &v3electionpb.LeaderResponse{Kv: kv}},
		{&pb.AuthUserListRequest{}, &pb.AuthUserListResponse{Users: []string{string(value)}}},
		{&pb.AuthRoleListRequest{}, &pb.AuthRoleListResponse{Roles: []string{string(value)}}},
		{&pb.AuthUserGetRequest{}, &pb.AuthUserGetResponse{Roles: []string{string(value)}}},
		{&pb.MemberListRequest{}, &pb.MemberListResponse{Members: []*pb.Member{{Name: string(value)}}}},
		{&pb.AlarmRequest{}, &pb.AlarmResponse{Alarms: alarms}},
	} {
		unreadOfOne(t, c.request, c.answer, bytes)
	}
}

// unreadOfOne has answers of about so many bytes be left unread until one is refused, and read then.
func unreadOfOne(t *testing.T, request, answer any, bytes int) {
	t.Helper()
	const limit = 4 << 20
	a := &API{answers: newAnswers(limit)}
	var held []any
	for range 10 * limit / bytes {
		sent, err := a.reply(t.Context(), request, answer)
		if err != nil {
			if status.Code(err) != codes.ResourceExhausted {
				t.Error(err)
			}
			break
		}
		held = append(held, sent)
	}
	if n := len(held); n*bytes > limit+limit/2 || n*bytes < limit/4 {
		t.Errorf("%T: %d answers of %d bytes are unread; the limit is %d", request, n, bytes, limit)
	}
	for _, m := range held {
		var buffers mem.BufferSlice
		var err error
		if buffers, err = newCodec(new(Traffic)).Marshal(m); err != nil {
			t.Fatal(err)
		}
		buffers.Free()
	}
	if a.answers.bytes != 0 {
		t.Errorf("%T: %d bytes are counted in the end", request, a.answers.bytes)
	}
}
