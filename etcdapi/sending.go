package etcdapi

import (
	"runtime"
	"sync/atomic"

	"google.golang.org/grpc/encoding"
	"google.golang.org/grpc/encoding/proto"
	"google.golang.org/grpc/mem"
)

// countedBytes is how large a message is that is counted until its client has read it.
const countedBytes = 64 << 10

// codec is gRPC's own, which counts among the answers what is encoded and waits: gRPC takes a message as a whole, and
// has it until the client reads.
type codec struct {
	encoding.CodecV2
	answers *answers
}

func newCodec(a *answers) codec { return codec{encoding.GetCodecV2(proto.Name), a} }

// Marshal implements encoding.CodecV2.
func (c codec) Marshal(v any) (mem.BufferSlice, error) {
	encoded, err := c.CodecV2.Marshal(v)
	if err != nil || encoded.Len() < countedBytes {
		return encoded, err
	}
	bytes := encoded.Materialize()
	encoded.Free()
	return mem.BufferSlice{mem.NewBuffer(&bytes, c.answers.send(int64(len(bytes))))}, nil
}

// sending is a message that gRPC has.
type sending struct {
	of    *answers
	bytes int64
	over  atomic.Bool
}

func (s *sending) end() {
	if !s.over.Swap(true) {
		s.of.bytes.Add(-s.bytes)
	}
}

// send counts a message. The pool that its buffer is made with hears when gRPC needs it no more; where gRPC does not
// say so, as of a connection that is gone, the collector does.
func (a *answers) send(bytes int64) mem.BufferPool {
	s := &sending{of: a, bytes: bytes}
	a.bytes.Add(bytes)
	pool := &sentPool{s}
	runtime.AddCleanup(pool, (*sending).end, s)
	return pool
}

// sentPool keeps nothing.
type sentPool struct{ *sending }

// Get implements mem.BufferPool.
func (*sentPool) Get(bytes int) *[]byte { return new(make([]byte, bytes)) }

// Put implements mem.BufferPool.
func (p *sentPool) Put(*[]byte) { p.end() }
