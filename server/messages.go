package server

import (
	"cmp"
	"context"
	"encoding/binary"
	"slices"
	"sync"
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
	all     party        // of whom something is kept
	clients atomic.Int64 // how many those are
	since   atomic.Int64 // there was too much whenever that was looked at, in Unix nanoseconds; or 0

	mu     sync.Mutex
	looked time.Time     // for who has more than his share
	first  *underway     // who had most
	vain   time.Duration // it is not looked again for so much longer, as many had nothing to lose
}

// beyond reports whether there is too much, without what of a client's is being ended, and more of his than his share.
// What is being ended of others counts as gone too, up to half of what may be kept: it may take a while. The mutex of
// the client is held.
func (k *kept) beyond(u *underway) bool { return k.over(u, 0) }

// slack is which part of what may be kept is free when requests were refused: so that it is not looked through all of
// them for each that comes.
const slack = 16

// wellBeyond is as beyond, until that is free.
func (k *kept) wellBeyond(u *underway) bool { return k.over(u, slack) }

// over reports whether there is more than all but a part of what may be; of 0, than all.
func (k *kept) over(u *underway, part int64) bool {
	most, bytes, going := k.most.Load(), u.bytes.Load(), u.going.Load()
	if most == 0 || u.party == nil {
		return false
	}
	all := most + k.left()
	if part > 0 {
		all -= all / part
	}
	if k.all.bytes.Load()-going-min(most/2, k.all.going.Load()-going) <= all {
		return false
	}
	k.mu.Lock()
	share := u.party.share(most)
	k.mu.Unlock()
	if part > 0 {
		share -= share / part
	}
	return bytes-going > share
}

// left is how much the others leave of theirs.
func (k *kept) left() int64 {
	if k.others == nil {
		return 0
	}
	return max(0, k.others.most.Load()-k.others.all.bytes.Load())
}

// add counts bytes of a client of whom there were so many before. His mutex is held.
func (k *kept) add(u *underway, before, n int64) {
	if n == 0 {
		return
	}
	if before == 0 {
		k.mu.Lock()
		u.party = k.all.join(u)
		k.mu.Unlock()
		k.clients.Add(1)
	}
	u.party.keep(n)
	if before+n != 0 {
		return
	}
	k.mu.Lock()
	defer k.mu.Unlock()
	u.party.leave(u)
	if u.party = nil; k.first == u {
		k.first = nil
	}
	k.clients.Add(-1)
}

// lookEach is how long it is not looked again for who has more than his share kept, and for how much longer it is not
// for each client who had nothing to lose: what came whole of him is about to be taken.
const lookEach, lookEachVain = 20 * time.Millisecond, 20 * time.Microsecond

// full reports whether there is more than all but a part of what may be; of 0, than all.
func (k *kept) full(part int64) bool {
	most := k.most.Load()
	all := most + k.left()
	if part > 0 {
		all -= all / part
	}
	return most > 0 && k.all.bytes.Load()-min(most/2, k.all.going.Load()) > all
}

// hoarders returns the clients who have more than their share kept, who has most for it first, where there is too much,
// and whether there has been for so long that what came whole is no longer waited for. It returns none if there is not;
// and if that was just looked for, unless it is urgent: then it is who had most then.
func (k *kept) hoarders(urgent bool, now time.Time) (who []hoarder, all bool) {
	if !k.full(0) {
		if k.since.Load() != 0 { // which is looked at for all that is read, by all
			k.since.Store(0)
		}
		return nil, false
	}
	k.since.CompareAndSwap(0, now.UnixNano())
	k.mu.Lock()
	defer k.mu.Unlock()
	switch {
	case now.Sub(k.looked) >= lookEach+k.vain:
		k.looked, k.first, k.vain = now, nil, 0
		who = k.all.above(nil, float64(k.most.Load()))
		slices.SortFunc(who, func(a, b hoarder) int { return cmp.Compare(b.over, a.over) })
		if len(who) > 0 {
			k.first = who[0].underway
		}
	case urgent && k.first != nil:
		who = []hoarder{{underway: k.first}}
	}
	since := k.since.Load()
	return who, since != 0 && now.UnixNano()-since >= int64(longestWait)
}

// hoarder is a client who has so many times his share kept.
type hoarder struct {
	*underway
	over float64
}

// messagePrefix is how many bytes come before each message of gRPC: a flag, and its length.
const messagePrefix = 5

// messages are those of one request of gRPC, as they come.
type messages struct {
	opened  bool      // by gRPC, which keeps nothing of others
	one     bool      // its client says one message, and then no more
	refused bool      // by this side: it is about to be ended
	code    uint32    // by which
	asked   time.Time // for its end
	going   int64     // bytes that were kept of it then
	taken   bool      // one of its messages was

	head    [messagePrefix]byte
	have    int           // bytes of the head
	left    int64         // bytes that are to come of the message
	since   time.Time     // it comes; where there is one: the request was begun
	unheard time.Duration // of underway, then
	come    int64         // bytes since then
	bytes   int64         // that are kept of the one that comes
	whole   []int64       // and of those that nobody has taken
	kept    int64         // bytes of all these, and of headers if they are large
}

// mostUnpacked is how many times what comes a message may be that is compressed: gRPC unpacks it before anybody takes
// it. It is no more than the largest that may be.
const mostUnpacked, largestMessage = 1032, 17 << 20

// eachWhole is what it takes to know of a message that nobody has taken.
const eachWhole = 16

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
		r.bytes, r.kept = r.bytes+n, r.kept+n
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
	more := f.request.hear(p, now, u.unheard)
	if f.request.refused { // what is kept of it is known
		return
	}
	f.request.kept += more
	if u.keep(more); f.request.comes() {
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

// hear follows what comes behind what was heard before, and returns how many bytes it takes to know of it.
func (m *messages) hear(p []byte, now time.Time, unheard time.Duration) (more int64) {
	for len(p) > 0 {
		if m.have < messagePrefix {
			if m.have == 0 && !m.one {
				m.since, m.unheard, m.come = now, unheard, 0
			}
			n := copy(m.head[m.have:], p)
			m.have, m.come, p = m.have+n, m.come+int64(n), p[n:]
			if m.have < messagePrefix {
				return more
			}
			m.left = int64(binary.BigEndian.Uint32(m.head[1:]))
			if m.head[0] != 0 {
				unpacked := min(m.left*mostUnpacked, largestMessage)
				m.bytes, more = m.bytes+unpacked, more+unpacked
			}
		}
		n := min(m.left, int64(len(p)))
		m.left, m.come, p = m.left-n, m.come+n, p[n:]
		if m.left == 0 {
			m.whole, m.bytes, m.have = append(m.whole, m.bytes+eachWhole), 0, 0
			more += eachWhole
		}
	}
	return more
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

// drop takes a request out of the books, with what is still to come of a frame of it. mu is held.
func (u *underway) drop(id uint32) {
	if r := u.streams[id]; r != nil {
		if u.hearing.request == r {
			u.hearing = incoming{}
		}
		if r.refused {
			u.goes(-r.going)
			u.ending.Add(-1)
		}
		u.keep(-r.kept)
		r.bytes, r.whole, r.kept, r.going = 0, nil, 0, 0
		delete(u.streams, id)
	}
}

// keep counts bytes, less than none if they are kept no longer. mu is held.
func (u *underway) keep(n int64) {
	if u.gone {
		return
	}
	if u.kept != nil {
		u.kept.add(u, u.bytes.Load(), n)
	}
	u.bytes.Add(n)
}

// goes counts bytes, of those that are kept, of requests that are being ended. mu is held.
func (u *underway) goes(n int64) {
	if u.gone {
		return
	}
	u.party.end(n)
	u.going.Add(n)
}

// leave takes everything out of the books: the connection is closed.
func (u *underway) leave() {
	u.mu.Lock()
	defer u.mu.Unlock()
	u.goes(-u.going.Load())
	u.keep(-u.bytes.Load())
	u.gone = true
	for _, timer := range []*time.Timer{u.timer, u.stuck} {
		if timer != nil {
			timer.Stop()
		}
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
	late := 0
	now, next := time.Now(), time.Duration(0)
	for id, r := range u.streams {
		if !r.opened || r.refused || !r.comes() {
			continue
		}
		left := u.due(&r.messages).Sub(now)
		if left <= 0 {
			u.refuse(id, r, r.unserved(codeRefused))
			late++
		} else if next == 0 || left < next {
			next = left
		}
	}
	if u.looks = next > 0 && !u.gone; u.looks {
		u.timer.Reset(max(next, time.Second))
	}
	u.mu.Unlock()
	u.told(late, u.late)
}

// coming is a request that gRPC has opened.
type coming struct {
	of *underway
	id uint32
	*request
}

// opens says that gRPC has opened the request whose headers were heard last, and holds so many bytes of those.
func (u *underway) opens(one bool, headers int64) *coming {
	u.mu.Lock()
	defer u.mu.Unlock()
	r := u.streams[u.last]
	if r == nil {
		return nil
	}
	if headers > largeHeaders {
		r.kept += headers
		u.keep(headers)
	}
	if r.opened, r.one = true, one; one {
		r.since, r.unheard = time.Now(), u.unheard
		u.look()
	}
	return &coming{u, u.last, r}
}

// took says that a message was taken. It is not, and nothing is to be done for it, if the request was refused: its
// client is told so.
func (c *coming) took() error {
	c.of.mu.Lock()
	defer c.of.mu.Unlock()
	if c.refused {
		return refusedErrors[c.code]
	}
	if c.taken = true; len(c.whole) > 0 {
		n := c.whole[0]
		c.whole, c.kept = c.whole[1:], c.kept-n
		c.of.keep(-n)
		c.of.room()
	}
	return nil
}

type comingKey struct{}

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
			opened := at.client.requests.opens(m.one[info.FullMethodName], headersHeld(info))
			return context.WithValue(ctx, comingKey{}, opened), nil
		}),
		grpc.ChainUnaryInterceptor(takeUnary),
		grpc.ChainStreamInterceptor(takeStream),
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
