package main

import (
	"context"
	"fmt"
	"io"
	"time"

	"google.golang.org/grpc"
)

// aloudAfter is how long a stream may bring nothing before it is said that it is waited for.
const aloudAfter = time.Second

// aloud is a connection of which it is said, once a stream, that its node is waited for when nothing came yet.
type aloud struct {
	*grpc.ClientConn
	who   string
	bound time.Duration // after which the node is given up
	to    io.Writer
}

// NewStream implements grpc.ClientConnInterface.
func (a *aloud) NewStream(
	ctx context.Context, desc *grpc.StreamDesc, method string, options ...grpc.CallOption,
) (grpc.ClientStream, error) {
	late := time.AfterFunc(aloudAfter, func() {
		if ctx.Err() == nil {
			fmt.Fprintf(a.to, "mimir: waiting for %s: nothing came for %v; it is given up after %v\n", a.who,
				aloudAfter, a.bound)
		}
	})
	s, err := a.ClientConn.NewStream(ctx, desc, method, options...)
	if err != nil {
		late.Stop()
		return nil, err
	}
	return &aloudStream{ClientStream: s, late: late}, nil
}

type aloudStream struct {
	grpc.ClientStream
	late *time.Timer
}

func (s *aloudStream) RecvMsg(m any) error {
	defer s.late.Stop()
	return s.ClientStream.RecvMsg(m)
}
