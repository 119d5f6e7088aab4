package front

import (
	"context"
	"strings"
	"sync"

	pb "go.etcd.io/etcd/api/v3/etcdserverpb"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/proto"

	"github.com/mimir-kv/mimir/etcdapi"
)

// Stream is the interceptor of a gRPC server.
func (f *Front) Stream(srv any, ss grpc.ServerStream, info *grpc.StreamServerInfo, handle grpc.StreamHandler) error {
	switch method := info.FullMethod; {
	case method == watchMethod:
		return handle(srv, &watchStream{ServerStream: ss, front: f})
	case method == streamMethod:
		return handle(srv, &rangeStream{ServerStream: ss, front: f})
	case method == keepAliveMethod:
		return f.keepAlive(ss)
	case strings.HasPrefix(method, healthService):
		return handle(srv, ss)
	}
	return f.unserved
}

// rangeStream is one of a range. It is used by one goroutine.
type rangeStream struct {
	grpc.ServerStream
	front *Front
	by    etcdapi.Rights // by which it was judged
	told  bool           // the first chunk was, and all are of one revision
}

// SendMsg implements grpc.ServerStream.
func (s *rangeStream) SendMsg(m any) error {
	if !s.told && others(s.by, s.front.sink.Place.Rights()) {
		return errChanged
	}
	s.told = true
	return s.ServerStream.SendMsg(m)
}

// RecvMsg implements grpc.ServerStream.
func (s *rangeStream) RecvMsg(m any) error {
	if err := s.ServerStream.RecvMsg(m); err != nil {
		return err
	}
	r, ok := m.(*pb.RangeRequest)
	if !ok {
		return s.front.unserved
	}
	s.by = s.front.sink.Place.Rights()
	here, err := s.front.readRange(s.Context(), s.by, r)
	if err == nil {
		r.Serializable = here.Serializable
	}
	return err
}

// watchStream is one of watches, of which those of other keys are refused, one by one.
type watchStream struct {
	grpc.ServerStream
	front *Front
	mu    sync.Mutex // of what is sent
}

// SendMsg implements grpc.ServerStream.
func (s *watchStream) SendMsg(m any) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.ServerStream.SendMsg(m)
}

// RecvMsg implements grpc.ServerStream.
func (s *watchStream) RecvMsg(m any) error {
	for {
		if err := s.ServerStream.RecvMsg(m); err != nil {
			return err
		}
		r, ok := m.(*pb.WatchRequest)
		if !ok {
			return s.front.unserved
		}
		refused, err := s.front.mayWatch(s.Context(), r.GetCreateRequest())
		if err != nil || refused == "" {
			return err
		}
		const none = -1 // no watch
		err = s.SendMsg(&pb.WatchResponse{Header: &pb.ResponseHeader{Revision: s.front.store.Revision()},
			WatchId: none, Created: true, Canceled: true, CancelReason: refused})
		if err != nil {
			return err
		}
		proto.Reset(r)
	}
}

// mayWatch says why a watch is refused, or what kept that from being found out.
func (f *Front) mayWatch(ctx context.Context, r *pb.WatchCreateRequest) (refused string, err error) {
	if r == nil {
		return "", nil
	}
	if !f.holds(r.Key, r.RangeEnd) {
		return status.Convert(f.outside).Message(), nil
	}
	if err := f.shown(ctx); err != nil { // what was cut off meanwhile is no beginning
		return "", err
	}
	by := f.sink.Place.Rights()
	if !by.Enabled {
		return "", nil
	}
	_, err = f.ask(ctx, by, r.Key, r.RangeEnd, true)
	if c := status.Code(err); err == nil || c == codes.Unavailable || ctx.Err() != nil {
		return "", err
	}
	return status.Convert(err).Message(), nil
}
