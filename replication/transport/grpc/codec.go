package grpctransport

import (
	"fmt"

	"google.golang.org/grpc/mem"
)

// message is what this package hands to gRPC's SendMsg and RecvMsg: bytes as they are.
type message struct{ bytes []byte }

// rawCodec puts messages on the wire as they are. Sending copies nothing. Receiving copies once, out of gRPC's pooled
// buffers into a slice of the exact size that the caller may keep: a reference instead would pin a whole pooled buffer
// for a short message.
type rawCodec struct{}

func (rawCodec) Name() string { return "mimir" }

func (rawCodec) Marshal(v any) (mem.BufferSlice, error) {
	m, ok := v.(*message)
	if !ok {
		return nil, fmt.Errorf("transport: cannot send a %T", v)
	}
	return mem.BufferSlice{mem.SliceBuffer(m.bytes)}, nil
}

func (rawCodec) Unmarshal(data mem.BufferSlice, v any) error {
	m, ok := v.(*message)
	if !ok {
		return fmt.Errorf("transport: cannot receive a %T", v)
	}
	m.bytes = data.Materialize()
	return nil
}
