package etcdapi

import (
	"context"
	"runtime"
	"sync/atomic"

	pb "go.etcd.io/etcd/api/v3/etcdserverpb"
	"google.golang.org/grpc"
	"google.golang.org/grpc/encoding"
	grpcproto "google.golang.org/grpc/encoding/proto"
	"google.golang.org/grpc/mem"
	"google.golang.org/grpc/metadata"
	grpcpeer "google.golang.org/grpc/peer"
	"google.golang.org/protobuf/proto"

	"github.com/mimir-kv/mimir/kv/command"
)

// countedBytes is how large a message is that is counted until its client has read it.
const countedBytes = 64 << 10

// sending is a message that is counted: gRPC takes it as a whole, and has it until the client reads. The pool that its
// buffer is made with hears when gRPC needs it no more; where gRPC does not say so, as of a connection that is gone,
// the collector does.
type sending struct {
	message proto.Message
	counted *counted
}

// counted is what a message takes, of which connection.
type counted struct {
	of         *answers
	connection string
	bytes      int64
	over       atomic.Bool
}

func (c *counted) end() {
	if !c.over.Swap(true) {
		c.of.free(c.connection, c.bytes)
	}
}

// newSending is made of what was counted already.
func newSending(a *answers, message proto.Message, connection string, bytes int64) *sending {
	s := &sending{message, &counted{of: a, connection: connection, bytes: bytes}}
	runtime.AddCleanup(s, (*counted).end, s.counted)
	return s
}

// Get implements mem.BufferPool.
func (*sending) Get(bytes int) *[]byte { return new(make([]byte, bytes)) }

// Put implements mem.BufferPool. Nothing is kept.
func (s *sending) Put(*[]byte) { s.counted.end() }

// codec is gRPC's own, which knows messages that are counted.
type codec struct{ encoding.CodecV2 }

func newCodec() codec { return codec{encoding.GetCodecV2(grpcproto.Name)} }

// Marshal implements encoding.CodecV2.
func (c codec) Marshal(v any) (mem.BufferSlice, error) {
	s, ok := v.(*sending)
	if !ok {
		return c.CodecV2.Marshal(v)
	}
	encoded, err := c.CodecV2.Marshal(s.message)
	if err != nil {
		return nil, err
	}
	s.message = nil
	bytes := encoded.Materialize()
	encoded.Free()
	return mem.BufferSlice{mem.NewBuffer(&bytes, s)}, nil
}

// reply counts the response to a request if it is large. It is refused if it only reads and its connection may not have
// it: what has been done must be told.
func (a *API) reply(ctx context.Context, request, response any) (any, error) {
	message, ok := response.(proto.Message)
	if !ok {
		return response, nil
	}
	bytes := int64(proto.Size(message))
	if bytes < countedBytes {
		return response, nil
	}
	connection := connectionOf(ctx)
	if onlyReads(request) {
		if err := a.answers.reserve(connection, bytes); err != nil {
			return nil, err
		}
	} else {
		a.answers.count(connection, bytes)
	}
	return newSending(a.answers, message, connection, bytes), nil
}

func onlyReads(request any) bool {
	switch r := request.(type) {
	case *pb.RangeRequest:
		return true
	case *pb.TxnRequest:
		return command.IsReadOnly(r)
	}
	return false
}

// sentStream is a stream of which a large message waits while its connection may not have it.
type sentStream struct {
	grpc.ServerStream
	messages   *answers
	connection string
}

// SendMsg implements grpc.ServerStream.
func (s *sentStream) SendMsg(m any) error {
	message, ok := m.(proto.Message)
	if !ok {
		return s.ServerStream.SendMsg(m)
	}
	bytes := int64(proto.Size(message))
	if bytes < countedBytes {
		return s.ServerStream.SendMsg(m)
	}
	if err := s.messages.await(s.Context(), s.connection, bytes); err != nil {
		return err
	}
	return s.ServerStream.SendMsg(newSending(s.messages, message, s.connection, bytes))
}

// room waits until the connection of a stream may have more of what is large: what its client does not read is not even
// made.
func (a *API) room(ctx context.Context) error {
	return a.messages.await(ctx, connectionOf(ctx), 0)
}

// gatewayConnectionKey is the metadata by which the JSON gateway says whose request it is: all share its connection.
const gatewayConnectionKey = "mimir-gateway-connection"

// connectionOf names the connection of a request.
func connectionOf(ctx context.Context) string {
	from, ok := grpcpeer.FromContext(ctx)
	if !ok || from.Addr == nil {
		return "unknown"
	}
	if from.Addr.Network() == gatewayNetwork {
		if of := metadata.ValueFromIncomingContext(ctx, gatewayConnectionKey); len(of) > 0 {
			return of[0]
		}
	}
	return from.Addr.String()
}
