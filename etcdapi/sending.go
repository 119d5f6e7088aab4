package etcdapi

import (
	"context"
	"runtime"
	"sync/atomic"
	"time"

	pb "go.etcd.io/etcd/api/v3/etcdserverpb"
	"go.etcd.io/etcd/server/v3/etcdserver/api/v3election/v3electionpb"
	"google.golang.org/grpc"
	"google.golang.org/protobuf/proto"

	"github.com/mimir-kv/mimir/kv/command"
)

const (
	// smallBytes is how large a message is that is counted until its client has read it, and what a stream may have
	// sent in smaller ones that is not: about what gRPC holds of a stream anyway.
	smallBytes = 4 << 10
	// pooledBytes is the least buffer of which gRPC says that it needs it no more.
	pooledBytes = 1<<10 + 1
)

// sending is a message that is counted: gRPC takes it as a whole, and has it until the client reads. The pool that its
// buffer is made with hears when gRPC needs it no more; where gRPC does not say so, as of a connection that is gone,
// the collector does.
type sending struct {
	encoded []byte
	counted *counted
}

// counted is what a message takes, of which connection.
type counted struct {
	of         *answers
	connection string
	bytes      int64
	over       atomic.Bool

	// ends ends its request with it; nil: nothing does. It holds nothing of gRPC, which may have the message.
	ends  func()
	since time.Time // it lies there
	at    int       // of its account's
	going bool      // it is ended
}

func (c *counted) end() {
	if c.over.Swap(true) {
		return
	}
	c.of.mu.Lock()
	defer c.of.mu.Unlock()
	if c.of.rises(c); c.going {
		c.of.going -= c.bytes
	}
	c.of.give(c.connection, c.bytes)
}

// newSending encodes a message of which bytes were counted already.
func (a *answers) newSending(ctx context.Context, m proto.Message, connection string, bytes int64) (*sending, error) {
	c := &counted{of: a, connection: connection, bytes: bytes}
	if err := a.making.Acquire(ctx, 1); err != nil {
		c.end()
		return nil, err
	}
	defer a.making.Release(1)
	encoded, err := proto.MarshalOptions{}.MarshalAppend(make([]byte, 0, max(proto.Size(m), pooledBytes)), m)
	if err != nil {
		c.end()
		return nil, err
	}
	if a.ends != nil {
		c.ends = a.ends(ctx)
	}
	if c.ends != nil {
		a.lies(c)
	}
	s := &sending{encoded, c}
	runtime.AddCleanup(s, (*counted).end, c)
	return s, nil
}

// Get implements mem.BufferPool.
func (*sending) Get(bytes int) *[]byte { return new(make([]byte, bytes)) }

// Put implements mem.BufferPool. Nothing is kept.
func (s *sending) Put(*[]byte) { s.counted.end() }

// reply counts the response to a request unless it is small. It is refused if it only reads and its connection may not
// have it: what has been done must be told.
func (a *API) reply(ctx context.Context, request, response any) (any, error) {
	message, ok := response.(proto.Message)
	if !ok {
		return response, nil
	}
	bytes := int64(proto.Size(message))
	if bytes < smallBytes {
		return response, nil
	}
	to := a.senderOf(ctx)
	bytes *= to.copies()
	if onlyReads(request) {
		if err := a.answers.reserve(to, bytes); err != nil {
			return nil, err
		}
	} else {
		a.answers.count(to.connection, bytes)
	}
	if to.gateway != nil {
		to.gateway.hold(a.answers, bytes)
		return response, nil
	}
	encoded, err := a.answers.newSending(ctx, message, to.connection, bytes)
	if err != nil {
		return nil, a.statusOf(ctx, err)
	}
	return encoded, nil
}

// onlyReads reports whether a request does nothing: its answer may be refused when it is there.
func onlyReads(request any) bool {
	switch r := request.(type) {
	case *pb.RangeRequest, *pb.LeaseTimeToLiveRequest, *pb.LeaseLeasesRequest, *v3electionpb.LeaderRequest,
		*pb.MemberListRequest, *pb.StatusRequest, *pb.HashRequest, *pb.HashKVRequest, *pb.AuthStatusRequest,
		*pb.AuthUserGetRequest, *pb.AuthUserListRequest, *pb.AuthRoleGetRequest, *pb.AuthRoleListRequest:
		return true
	case *pb.AlarmRequest:
		return r.Action == pb.AlarmRequest_GET
	case *pb.TxnRequest:
		return command.IsReadOnly(r)
	}
	return false
}

// queueCopies is how often a request that waits in a queue holds what it names.
const queueCopies = 3

// hold counts what a request keeps in memory that may wait for as long as it likes, and what it is answered, unless
// that is small. done is to be called when it is over.
func hold(ctx context.Context, a *API, request proto.Message) (done func(), err error) {
	bytes := queueCopies * int64(proto.Size(request))
	if bytes < smallBytes {
		return func() {}, nil
	}
	to := a.senderOf(ctx)
	bytes *= to.copies()
	if err := a.answers.reserve(to, bytes); err != nil {
		return nil, err
	}
	return func() { a.answers.free(to.connection, bytes) }, nil
}

// sentStream is a stream of which a message waits while its connection may not have it. Small ones are counted
// together, with the last of them.
type sentStream struct {
	grpc.ServerStream
	messages *answers
	to       sender
	small    int64 // sent, and not counted
}

// SendMsg implements grpc.ServerStream.
func (s *sentStream) SendMsg(m any) error {
	message, ok := m.(proto.Message)
	if !ok {
		return s.ServerStream.SendMsg(m)
	}
	bytes := s.small + int64(proto.Size(message))*s.to.copies()
	if s.small = 0; bytes < smallBytes*s.to.copies() {
		s.small, bytes = bytes, 0
	} else if err := s.messages.await(s.Context(), s.to, bytes); err != nil {
		return err
	}
	switch {
	case s.to.gateway != nil:
		s.to.gateway.hold(s.messages, bytes)
	case bytes > 0:
		encoded, err := s.messages.newSending(s.Context(), message, s.to.connection, bytes)
		if err != nil {
			return err
		}
		m = encoded
	}
	return s.ServerStream.SendMsg(m)
}

// room waits until the connection of a stream may have more of what is large: what its client does not read is not even
// made.
func (a *API) room(ctx context.Context) error {
	return a.messages.await(ctx, a.senderOf(ctx), 0)
}
