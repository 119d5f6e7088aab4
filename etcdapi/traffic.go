package etcdapi

import (
	"context"
	"sync/atomic"

	"google.golang.org/grpc"
	"google.golang.org/grpc/encoding"
	grpcproto "google.golang.org/grpc/encoding/proto"
	"google.golang.org/grpc/mem"
)

// Traffic counts the bytes of messages over gRPC, the JSON gateway's included, before they are compressed. It is safe
// for concurrent use.
type Traffic struct{ Sent, Received atomic.Uint64 }

// sendPlain has gRPC not compress what it sends because the client does: compressed it would lie there, and not be
// counted ([sending]). That there is a compressor at all is so because some library wants one for itself.
func sendPlain(ctx context.Context) error {
	s, ok := grpc.ServerTransportStreamFromContext(ctx).(interface{ SendCompress() string })
	if !ok || s.SendCompress() == "" {
		return nil
	}
	return grpc.SetSendCompressor(ctx, encoding.Identity)
}

// codec is gRPC's own, which knows messages that are counted, and counts the bytes of all.
type codec struct {
	encoding.CodecV2
	traffic *Traffic
}

func newCodec(t *Traffic) codec { return codec{encoding.GetCodecV2(grpcproto.Name), t} }

// Marshal implements encoding.CodecV2.
func (c codec) Marshal(v any) (p mem.BufferSlice, err error) {
	if s, ok := v.(*sending); ok {
		p = mem.BufferSlice{mem.NewBuffer(&s.encoded, s)}
	} else if p, err = c.CodecV2.Marshal(v); err != nil {
		return nil, err
	}
	c.traffic.Sent.Add(uint64(p.Len()))
	return p, nil
}

// Unmarshal implements encoding.CodecV2.
func (c codec) Unmarshal(p mem.BufferSlice, v any) error {
	c.traffic.Received.Add(uint64(p.Len()))
	return c.CodecV2.Unmarshal(p, v)
}
