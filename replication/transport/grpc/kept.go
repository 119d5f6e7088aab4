package grpctransport

import (
	"context"

	"google.golang.org/grpc/codes"
	grpcpeer "google.golang.org/grpc/peer"
	"google.golang.org/grpc/status"
	"google.golang.org/grpc/tap"

	"github.com/mimir-kv/mimir/replication/transport"
)

// kept is what this side keeps of one stream: bytes of messages that its handler has not taken. It is kept until the
// handler has returned and the stream has ended on the wire too: by the last frame of this side, or by a reset of
// either.
type kept struct {
	meter *meter

	// Guarded by meter.mu.
	id    uint32
	bytes int64
	reset bool // nothing more is kept of it
	left  bool // its handler has returned
}

type keptKey struct{}

// keptOf returns that of a handler's stream, nil if its connection has no meter.
func keptOf(ctx context.Context) *kept {
	k, _ := ctx.Value(keptKey{}).(*kept)
	return k
}

// opening has the meter of a connection count a stream that gRPC has just read the headers of.
func opening(ctx context.Context, _ *tap.Info) (context.Context, error) {
	from, ok := grpcpeer.FromContext(ctx)
	if !ok {
		return ctx, nil
	}
	m, ok := withoutLine(from.AuthInfo).(meterInfo)
	if !ok {
		return ctx, nil
	}
	k, err := m.meter.open()
	if err != nil {
		return ctx, status.Error(codes.Unavailable, err.Error())
	}
	return context.WithValue(ctx, keptKey{}, k), nil
}

// open counts the stream whose headers were read last.
func (m *meter) open() (*kept, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if len(m.kept) >= memberStreams { // which never had a handler: gRPC has fewer at a time
		return nil, errManyStreams
	}
	k := &kept{meter: m, id: m.opened}
	if m.kept == nil {
		m.kept = map[uint32]*kept{}
	}
	m.kept[k.id] = k
	return k, nil
}

// took says that a message of so many bytes was taken.
func (k *kept) took(n int) {
	if k == nil {
		return
	}
	m := k.meter
	m.mu.Lock()
	defer m.mu.Unlock()
	taken := min(int64(n)+messagePrefix, k.bytes)
	k.bytes -= taken
	_ = m.add(-taken) // which refuses nothing
}

// leave says that the handler has returned.
func (k *kept) leave() {
	if k == nil {
		return
	}
	k.meter.mu.Lock()
	defer k.meter.mu.Unlock()
	if k.left = true; k.reset {
		k.drop()
	}
}

// end says that the stream was reset. meter.mu is held.
func (k *kept) end() {
	if k.reset = true; k.left {
		k.drop()
	}
}

// drop forgets the stream. meter.mu is held.
func (k *kept) drop() {
	delete(k.meter.kept, k.id)
	_ = k.meter.add(-k.bytes)
	k.bytes, k.reset = 0, true
}

// begin counts the stream as one of a caller, to whom the connection belongs if it is its first. end is to be called
// with it.
func (k *kept) begin(fleet string, caller transport.Caller) (end func(), err error) {
	if k == nil {
		return func() {}, nil
	}
	return k.meter.begin(member{fleet, caller})
}

// tune sets what can be set on a connection by which somebody was admitted, once.
func (k *kept) tune(o *sockets) {
	if k != nil {
		k.meter.tuning.Do(func() { o.tune(k.meter.raw) })
	}
}
