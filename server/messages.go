package server

import (
	"context"
	"encoding/binary"
	"sync/atomic"
	"time"

	"google.golang.org/grpc"
	grpcpeer "google.golang.org/grpc/peer"
	"google.golang.org/grpc/tap"
)

// How many bytes a port keeps of all clients that have had an answer, and of all others, beside what the ones leave of
// theirs to the others: beyond, requests of who has more kept than others are refused.
const mostKept, mostKeptFresh = 192 << 20, 64 << 20

// kept is what this side keeps of clients of a port: of messages that have not come whole, or that nobody has taken
// yet, and of headers that are large. It is safe for concurrent use.
type kept struct {
	others  *kept        // may leave some of theirs; nil: there are none
	most    atomic.Int64 // bytes; 0: any number
	bytes   atomic.Int64
	clients atomic.Int64 // of whom something is kept
}

// beyond reports whether there is too much, and more of this client than of others.
func (k *kept) beyond(bytes int64) bool {
	most := k.most.Load()
	if most == 0 || k.bytes.Load() <= most || bytes <= most/max(1, k.clients.Load()) {
		return false
	}
	left := int64(0)
	if k.others != nil {
		left = max(0, k.others.most.Load()-k.others.bytes.Load())
	}
	return k.bytes.Load() > most+left
}

// add counts bytes of a client of whom there were so many before.
func (k *kept) add(before, n int64) {
	if n == 0 {
		return
	}
	k.bytes.Add(n)
	switch {
	case before == 0:
		k.clients.Add(1)
	case before+n == 0:
		k.clients.Add(-1)
	}
}

// messagePrefix is how many bytes come before each message of gRPC: a flag, and its length.
const messagePrefix = 5

// messages are those of one request of gRPC, as they come.
type messages struct {
	cancel  func() // ends the request; nil of one that gRPC has not opened, or that is refused
	one     bool   // its client says one message, and then no more
	refused bool   // by this side: nothing is kept of it any more
	taken   bool   // one of its messages was

	head    [messagePrefix]byte
	have    int           // bytes of the head
	left    int64         // bytes that are to come of the message
	since   time.Time     // it comes; where there is one: the request was begun
	unheard time.Duration // of underway, then
	come    int64         // bytes since then
	bytes   int64         // that are kept of the one that comes
	whole   []int64       // and of those that nobody has taken
	headers int64         // bytes that are kept of those, if they are large
}

// kept is how many bytes are kept of the request.
func (m *messages) kept() int64 {
	n := m.headers + m.bytes
	for _, one := range m.whole {
		n += one
	}
	return n
}

// incoming is a frame of data that is being read.
type incoming struct {
	request *request // nil: it belongs to none
	padded  bool     // the next byte says by how much
	left    int      // bytes of messages
}

// held is about how much memory a frame of data takes that is kept: gRPC has buffers of a few sizes.
func held(n int) int64 {
	const each = 128
	for _, size := range []int{4 << 10, 16 << 10} {
		if n > 1<<10 && n <= size {
			return int64(size) + each
		}
	}
	return int64(n) + each
}

// comes begins a frame of data of a request. mu is held.
func (u *underway) comes(r *request, length int, padded bool) {
	u.hearing = incoming{r, padded, length}
	if length > 0 {
		n := held(length)
		r.bytes += n
		u.keep(n)
	}
}

// body follows bytes of a frame.
func (u *underway) body(p []byte) {
	u.mu.Lock()
	defer u.mu.Unlock()
	f := &u.hearing
	if f.request == nil || len(p) == 0 {
		return
	}
	if f.padded {
		f.padded, f.left, p = false, f.left-1-int(p[0]), p[1:]
	}
	p = p[:min(len(p), max(0, f.left))]
	f.left -= len(p)
	now := time.Now()
	u.feed(len(p), now)
	if f.request.hear(p, now, u.unheard); f.request.comes() {
		u.look()
	}
}

// feed counts bytes of messages: a client of whom as many come as from the slowest one is in time with all of them,
// however many share his connection. But what came long ago, or at once, counts for no longer than a message does of
// which nothing comes. mu is held.
func (u *underway) feed(n int, now time.Time) {
	if u.fed.Before(now) {
		u.fed = now
	}
	u.fed = u.fed.Add(time.Duration(n) * time.Second / bodyPace)
	if most := now.Add(bodyTime); u.fed.After(most) {
		u.fed = most
	}
}

// hear follows what comes behind what was heard before.
func (m *messages) hear(p []byte, now time.Time, unheard time.Duration) {
	for len(p) > 0 {
		if m.have < messagePrefix {
			if m.have == 0 && !m.one {
				m.since, m.unheard, m.come = now, unheard, 0
			}
			n := copy(m.head[m.have:], p)
			m.have, m.come, p = m.have+n, m.come+int64(n), p[n:]
			if m.have < messagePrefix {
				return
			}
			m.left = int64(binary.BigEndian.Uint32(m.head[1:]))
		}
		n := min(m.left, int64(len(p)))
		m.left, m.come, p = m.left-n, m.come+n, p[n:]
		if m.left == 0 {
			m.whole, m.bytes, m.have = append(m.whole, m.bytes), 0, 0
		}
	}
}

// comes reports whether something is to come: the rest of a message, or the end of a request that has only one, which
// nobody takes before.
func (r *request) comes() bool { return r.have > 0 || r.one && r.open }

// due is when that must be there. For how long its client was not heard meanwhile is not counted, up to as long as a
// message has of which nothing comes. mu is held.
func (u *underway) due(m *messages) time.Time {
	unheard := min(u.unheard-m.unheard, bodyTime)
	due := m.since.Add(bodyTime + unheard + time.Duration(m.come/bodyPace)*time.Second)
	if due.Before(u.fed) {
		return u.fed
	}
	return due
}

// drop takes a request out of the books. mu is held.
func (u *underway) drop(id uint32) {
	if r := u.streams[id]; r != nil {
		u.release(r)
		delete(u.streams, id)
	}
}

// release says that nothing is kept of a request any more. mu is held.
func (u *underway) release(r *request) {
	u.keep(-r.kept())
	r.bytes, r.whole, r.headers = 0, nil, 0
}

// keep counts bytes, less than none if they are kept no longer. mu is held.
func (u *underway) keep(n int64) {
	if u.gone {
		return
	}
	if u.kept != nil {
		u.kept.add(u.bytes, n)
	}
	u.bytes += n
}

// leave takes everything out of the books: the connection is closed.
func (u *underway) leave() {
	u.mu.Lock()
	defer u.mu.Unlock()
	u.keep(-u.bytes)
	u.gone = true
	if u.timer != nil {
		u.timer.Stop()
	}
}

// look has it looked for messages that do not come in time. mu is held.
func (u *underway) look() {
	switch {
	case u.looks || u.gone:
		return
	case u.timer == nil:
		u.timer = time.AfterFunc(bodyTime, u.endLate)
	default:
		u.timer.Reset(bodyTime)
	}
	u.looks = true
}

// endLate ends requests of which a message did not come in time.
func (u *underway) endLate() {
	u.mu.Lock()
	var late []func()
	now, next := time.Now(), time.Duration(0)
	for id, r := range u.streams {
		if r.cancel == nil || !r.comes() {
			continue
		}
		left := u.due(&r.messages).Sub(now)
		if left <= 0 {
			late = append(late, u.refuse(id, r, r.unserved()))
		} else if next == 0 || left < next {
			next = left
		}
	}
	if u.looks = next > 0 && !u.gone; u.looks {
		u.timer.Reset(max(next, time.Second))
	}
	u.mu.Unlock()
	for _, end := range late {
		end()
		u.late()
	}
}

// coming is a request that gRPC has opened.
type coming struct {
	of *underway
	*request
}

// opens says that gRPC has opened the request whose headers were heard last, and holds so many bytes of those.
func (u *underway) opens(cancel func(), one bool, headers int64) *coming {
	u.mu.Lock()
	defer u.mu.Unlock()
	r := u.streams[u.last]
	if r == nil {
		return nil
	}
	if headers > largeHeaders {
		r.headers = headers
		u.keep(headers)
	}
	if r.cancel, r.one = cancel, one; one {
		r.since, r.unheard = time.Now(), u.unheard
		u.look()
	}
	return &coming{u, r}
}

// took says that a message was taken.
func (c *coming) took() {
	c.of.mu.Lock()
	defer c.of.mu.Unlock()
	if c.taken = true; len(c.whole) > 0 {
		n := c.whole[0]
		c.whole = c.whole[1:]
		c.of.keep(-n)
		c.of.room()
	}
}

type comingKey struct{}

func tookOf(ctx context.Context) {
	if c, _ := ctx.Value(comingKey{}).(*coming); c != nil {
		c.took()
	}
}

// methods says of which calls of a server the client says one message: it is set before the server serves.
type methods struct{ one map[string]bool }

func (m *methods) know(s *grpc.Server) {
	m.one = map[string]bool{}
	for service, about := range s.GetServiceInfo() {
		for _, one := range about.Methods {
			m.one["/"+service+"/"+one.Name] = !one.IsClientStream
		}
	}
}

// options are those of a server whose requests are ended if they do not come in time.
func (m *methods) options() []grpc.ServerOption {
	return []grpc.ServerOption{
		grpc.InTapHandle(func(ctx context.Context, info *tap.Info) (context.Context, error) {
			from, _ := grpcpeer.FromContext(ctx)
			at, ok := from.Addr.(clientAddr)
			if !ok {
				return ctx, nil
			}
			ctx, cancel := context.WithCancel(ctx)
			opened := at.client.requests.opens(cancel, m.one[info.FullMethodName], headersHeld(info))
			return context.WithValue(ctx, comingKey{}, opened), nil
		}),
		grpc.ChainUnaryInterceptor(func(
			ctx context.Context, request any, _ *grpc.UnaryServerInfo, handle grpc.UnaryHandler,
		) (any, error) {
			tookOf(ctx)
			return handle(ctx, request)
		}),
		grpc.ChainStreamInterceptor(func(
			srv any, s grpc.ServerStream, _ *grpc.StreamServerInfo, handle grpc.StreamHandler,
		) error {
			return handle(srv, taking{s})
		}),
	}
}

// headersHeld is about how many bytes the headers of a request take.
func headersHeld(info *tap.Info) int64 {
	const each = 32
	n := len(info.FullMethodName)
	for name, values := range info.Header {
		for _, value := range values {
			n += len(name) + len(value) + each
		}
	}
	return int64(n)
}

// taking is a stream that tells which messages are taken.
type taking struct{ grpc.ServerStream }

// RecvMsg implements grpc.ServerStream.
func (t taking) RecvMsg(m any) error {
	err := t.ServerStream.RecvMsg(m)
	if err == nil {
		tookOf(t.Context())
	}
	return err
}
