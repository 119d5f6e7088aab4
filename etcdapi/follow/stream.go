package follow

import (
	"context"
	"errors"
	"io"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
)

// Caller is the node's side of one stream. It is used by one goroutine.
type Caller struct{ grpc.ServerStream }

// Tell sends a state.
func (c *Caller) Tell(s *State) error { return sendState(c, s) }

// Batch returns the commands of the next batch, of up to so many bytes; io.EOF if there are no more.
func (c *Caller) Batch(most int) ([][]byte, error) {
	batch, err := receiveBatch(c, most)
	var list [][]byte
	if err == nil {
		list, err = Commands(batch)
	}
	if errors.Is(err, ErrMalformed) {
		err = status.Error(codes.InvalidArgument, err.Error())
	}
	return list, err
}

// Handler serves a stream: it returns when that has ended.
type Handler interface{ Follow(c *Caller) error }

// Register adds the service to s.
func Register(s *grpc.Server, h Handler) {
	s.RegisterService(&grpc.ServiceDesc{
		ServiceName: service, HandlerType: (*Handler)(nil),
		Streams: []grpc.StreamDesc{{StreamName: stream, ServerStreams: true, ClientStreams: true,
			Handler: func(h any, s grpc.ServerStream) error { return h.(Handler).Follow(&Caller{s}) }}},
	}, h)
}

// Node is the caller's side of one stream. It is used by one goroutine.
type Node struct{ stream grpc.ClientStream }

// Open calls a node, and returns the stream and the node's state. The stream ends with ctx.
func Open(ctx context.Context, conn grpc.ClientConnInterface) (*Node, *State, error) {
	desc := &grpc.StreamDesc{StreamName: stream, ServerStreams: true, ClientStreams: true}
	s, err := conn.NewStream(ctx, desc, Method)
	if err != nil {
		return nil, nil, err
	}
	state, err := receiveState(s)
	return &Node{s}, state, err
}

// Apply sends a batch, and returns the state once it is applied.
func (n *Node) Apply(batch []byte) (*State, error) {
	if err := sendBatch(n.stream, batch); err != nil && !errors.Is(err, io.EOF) { // at an EOF the answer says why
		return nil, err
	}
	return receiveState(n.stream)
}

// Close says that there are no more batches, and returns once the node has heard it.
func (n *Node) Close() error {
	if err := n.stream.CloseSend(); err != nil {
		return err
	}
	if _, err := receiveState(n.stream); !errors.Is(err, io.EOF) {
		return err
	}
	return nil
}
