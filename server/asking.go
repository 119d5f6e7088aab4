package server

import (
	"context"
	"errors"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/proto"

	"github.com/mimir-kv/mimir/etcdapi"
	"github.com/mimir-kv/mimir/etcdapi/share"
)

const (
	// mostAsked is how many bytes those requests of a port may have together that were taken and are under way, and
	// mostPatient those that wait for others as long as those like, or that streams are answered. One that is smaller
	// than largeAsk is not counted: it takes no more than any request does.
	mostAsked, mostPatient = 256 << 20, 64 << 20
	largeAsk               = 16 << 10
	// mostStreams is how many streams of a port may be open together, with the requests that wait for others: each
	// takes some 11 KiB for as long as its client likes, and a connection may have thousands.
	mostStreams = 128 << 10
	// enterTime is how long one waits until there is room.
	enterTime = etcdapi.DefaultRequestTimeout
)

// asks bounds what is held of requests that were taken, until they are answered: where nobody takes writes, or a disk
// stands still, they wait. And it bounds how many may go on for as long as their clients like. The nil asks bounds
// nothing. It is safe for concurrent use.
type asks struct {
	all, patient *share.Room
	streams      *share.Room // of one each
}

func newAsks() *asks {
	return &asks{all: share.New(mostAsked), patient: share.New(mostPatient), streams: share.New(mostStreams)}
}

// What a client is told of a request of which nothing was done.
var (
	errManyAsks = status.Error(codes.ResourceExhausted, "mimir: the requests under way are as large as all may be "+
		"together: nothing was done, try again later")
	errManyPatient = status.Error(codes.ResourceExhausted, "mimir: the requests that wait for a lock or an election, "+
		"and those that streams answer, name as much as all may together: nothing was done, use shorter names and "+
		"values, or try again later")
	errManyStreams = status.Error(codes.ResourceExhausted, manyStreams)
	// Of one of many messages: clients open it elsewhere then, and would end a watch for good else.
	errManyWatches = status.Error(codes.Unavailable, manyStreams)
)

const manyStreams = "mimir: as many streams are open at this node as may be, or from this address: nothing was " +
	"done, use one for many watches or leases, or try again later"

// enter returns when there is room for a request of so many bytes from an address. Which may wait for long is refused
// at once if there is none.
func (a *asks) enter(ctx context.Context, from, method string, bytes int64) (leave func(), err error) {
	if a == nil || bytes < largeAsk {
		return func() {}, nil
	}
	if patients[method] {
		return a.stay(from, bytes)
	}
	bounded, cancel := context.WithTimeoutCause(ctx, enterTime, errManyAsks)
	defer cancel()
	leave, err = a.all.Acquire(bounded, from, min(bytes, a.all.Alone()))
	switch {
	case err == nil:
		return leave, nil
	case errors.Is(context.Cause(bounded), errManyAsks):
		return nil, errManyAsks
	}
	return nil, status.FromContextError(err).Err()
}

// stay returns if there is room for so many bytes, that are more than few, of a request which may wait for long.
func (a *asks) stay(from string, bytes int64) (leave func(), err error) {
	leave, ok := a.patient.Try(from, min(bytes, a.patient.Alone()))
	if !ok {
		return nil, errManyPatient
	}
	return leave, nil
}

// open counts a stream, or a request that waits for others, and returns false if there are too many.
func (a *asks) open(from string) (leave func(), ok bool) {
	if a == nil {
		return func() {}, true
	}
	return a.streams.Try(from, 1)
}

// takeUnary is the interceptor of a gRPC server that has a request taken once there is room for it: until then it is
// kept as what nobody has taken.
func takeUnary(ctx context.Context, request any, info *grpc.UnaryServerInfo, handle grpc.UnaryHandler) (any, error) {
	c, _ := ctx.Value(comingKey{}).(*coming)
	if c == nil {
		return handle(ctx, request)
	}
	if patients[info.FullMethod] {
		leave, ok := c.of.asks.open(c.of.from)
		if !ok {
			return nil, errManyStreams
		}
		defer leave()
	}
	bytes := int64(0)
	if m, ok := request.(proto.Message); ok {
		bytes = int64(proto.Size(m))
	}
	leave, err := c.of.asks.enter(ctx, c.of.from, info.FullMethod, bytes)
	if err != nil {
		return nil, err
	}
	defer leave()
	if err := c.took(); err != nil {
		return nil, err
	}
	return handle(ctx, request)
}

// takeStream is the interceptor that has the messages of a stream taken. What a stream was asked in one message it may
// go on with for as long as its client likes: that is counted until it is over.
func takeStream(srv any, s grpc.ServerStream, info *grpc.StreamServerInfo, handle grpc.StreamHandler) error {
	c, _ := s.Context().Value(comingKey{}).(*coming)
	if c == nil {
		return handle(srv, s)
	}
	leave, ok := c.of.asks.open(c.of.from)
	switch {
	case !ok && info.IsClientStream:
		return errManyWatches
	case !ok:
		return errManyStreams
	}
	defer leave()
	t := &taking{ServerStream: s, of: c, one: !info.IsClientStream, leave: func() {}}
	defer func() { t.leave() }()
	return handle(srv, t)
}

// taking is a stream that tells which messages are taken.
type taking struct {
	grpc.ServerStream
	of    *coming
	one   bool   // its client says one message, which has to find room
	leave func() // ends that
}

// RecvMsg implements grpc.ServerStream.
func (t *taking) RecvMsg(m any) error {
	if err := t.ServerStream.RecvMsg(m); err != nil {
		return err
	}
	if asked, ok := m.(proto.Message); ok && t.one {
		if err := t.enter(int64(proto.Size(asked))); err != nil {
			return err
		}
	}
	return t.of.took()
}

// enter finds room for the one message of a stream, unless it is small.
func (t *taking) enter(bytes int64) error {
	asks := t.of.of.asks
	if asks == nil || bytes < largeAsk {
		return nil
	}
	leave, err := asks.stay(t.of.of.from, bytes)
	if err == nil {
		t.leave = leave
	}
	return err
}
