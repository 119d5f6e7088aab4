package server

import (
	"container/heap"
	"context"
	"encoding/binary"
	"time"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"github.com/mimir-kv/mimir/server/door"
)

// Codes of resets (RFC 9113, section 7), by what clients of gRPC make of them: an internal error, after which a watch
// goes on elsewhere; unavailable, as nothing was done of what was asked for, so that they ask again by themselves, and
// a watch goes on too; and too much, of which nothing was done either, and after which a watch would end for good.
const codeInternal, codeRefused, codeCalm = 0x2, 0x7, 0xb

// refusedErrors are what a client is told of a request that was refused in the moment in which it was taken.
var refusedErrors = map[uint32]error{
	codeInternal: status.Error(codes.Internal, "the server ends the request"),
	codeRefused:  status.Error(codes.Unavailable, "nothing was done of the request: ask again"),
	codeCalm:     status.Error(codes.ResourceExhausted, "too much is kept of this client"),
}

// refusalTime is how long it may take until a request that was refused is ended: where a client stops within a frame,
// or takes nothing of what he is sent, gRPC does not come to it, and keeps what it has. Then the connection is closed.
const refusalTime = door.DefaultPatience

// unserved is the code of a request that is refused: of whose messages one was taken, something may have been done.
// That it was too much is told of one that says one message; a stream may be opened again.
func (r *request) unserved(code uint32) uint32 {
	if !r.one {
		code = codeRefused
	}
	if r.taken || r.answered && code == codeRefused {
		return codeInternal
	}
	return code
}

// refuse has a request ended: gRPC hears of it before it hears more of the client, ends it, and keeps nothing of it,
// whatever of its answer waits. Until then what is kept of it counts. told is to be called afterwards, without mu,
// which is held.
func (u *underway) refuse(id uint32, r *request, code uint32) {
	r.refused, r.code, r.asked, r.going = true, code, time.Now(), r.kept
	u.goes(r.going)
	u.refused = append(u.refused, id)
	if u.ending.Add(1) > 1 || u.gone {
		return
	}
	if u.stuck == nil {
		u.stuck = time.AfterFunc(refusalTime, u.endStuck)
	} else {
		u.stuck.Reset(refusalTime)
	}
}

// told has gRPC hear of n requests that were refused, and has them counted.
func (u *underway) told(n int, count func()) {
	if n > 0 {
		u.wake()
	}
	for range n {
		count()
	}
}

// endOf returns what ends a request over gRPC, of whose context it is told, whatever of its answer its client has left
// unread; nil if it came by no connection that knows of it. It keeps nothing of gRPC's.
func endOf(ctx context.Context) (end func()) {
	c, _ := ctx.Value(comingKey{}).(*coming)
	if c == nil {
		return nil
	}
	return c.end
}

// end ends a request that is not over, once.
func (c *coming) end() {
	u, n := c.of, 0
	u.mu.Lock()
	if u.streams[c.id] == c.request && !c.refused {
		u.refuse(c.id, c.request, c.unserved(codeCalm))
		n = 1
	}
	u.mu.Unlock()
	u.told(n, u.much)
}

// endStuck closes the connection if a request that was refused is not ended in time.
func (u *underway) endStuck() {
	u.mu.Lock()
	now, left := time.Now(), refusalTime
	for _, r := range u.streams {
		if r.refused {
			left = min(left, r.asked.Add(refusalTime).Sub(now))
		}
	}
	if left > 0 && u.ending.Load() > 0 && !u.gone {
		u.stuck.Reset(left)
	}
	u.mu.Unlock()
	if left <= 0 {
		u.close()
	}
}

// endings returns frames by which gRPC ends the requests that were refused: windows that grow by nothing, which is an
// error of a stream. It answers each with a reset, and what it said of the request before is before that.
func (u *underway) endings() (frames []byte) {
	u.mu.Lock()
	defer u.mu.Unlock()
	for _, id := range u.refused {
		if u.streams[id] != nil { // it is not over by itself
			frames = append(frames, 0, 0, 4, frameWindow, 0)
			frames = binary.BigEndian.AppendUint32(frames, id)
			frames = append(frames, 0, 0, 0, 0)
		}
	}
	u.refused = nil
	return frames
}

// owing reports whether there are any.
func (u *underway) owing() bool {
	if u.ending.Load() == 0 {
		return false
	}
	u.mu.Lock()
	defer u.mu.Unlock()
	return len(u.refused) > 0
}

// codeOf returns the code that is to be said instead of that of a reset, if it is of a request that was refused, else
// nil.
func (u *underway) codeOf(id uint32) []byte {
	u.mu.Lock()
	defer u.mu.Unlock()
	r := u.streams[id]
	if r == nil || !r.refused || r.over {
		return nil
	}
	return binary.BigEndian.AppendUint32(nil, r.code)
}

// victims are requests that may be refused, the first to be before others: those that say one message, and of each kind
// what began last.
type victims []victim

type victim struct {
	id  uint32
	one bool
}

func (v victims) Len() int      { return len(v) }
func (v victims) Swap(i, j int) { v[i], v[j] = v[j], v[i] }
func (v *victims) Push(x any)   { *v = append(*v, x.(victim)) }

func (v victims) Less(i, j int) bool {
	if v[i].one != v[j].one {
		return v[i].one
	}
	return v[i].id > v[j].id
}

func (v *victims) Pop() any {
	last := (*v)[len(*v)-1]
	*v = (*v)[:len(*v)-1]
	return last
}

// relieve has a client lose what is too much, if more is kept of him than may be, and reports whether there still is
// too much.
func (u *underway) relieve(all bool) (beyond bool) {
	u.mu.Lock()
	n := 0
	if beyond = u.beyond(); beyond {
		n = u.lose(all)
		beyond = u.beyond()
	}
	u.mu.Unlock()
	u.told(n, u.much)
	return beyond
}

// lose refuses requests of a client who has more than his share kept, until some of it is free, or of all: those that
// say one message before others, and of each kind what began last, so that what began before comes to its end. What has
// come whole is not refused unless all says so: it is about to be taken; nor is what was taken, to be answered once. It
// returns how many were, which are to be told of. mu is held.
func (u *underway) lose(all bool) (n int) {
	most := func() bool { return u.kept != nil && u.kept.wellBeyond(u) }
	if !most() {
		return 0
	}
	var may victims
	for id, r := range u.streams {
		if r.opened && !r.refused && r.kept > 0 && (all || len(r.whole) == 0 && !(r.one && r.taken)) {
			may = append(may, victim{id, r.one})
		}
	}
	heap.Init(&may)
	for ; len(may) > 0 && most(); n++ {
		id := heap.Pop(&may).(victim).id
		r := u.streams[id]
		u.refuse(id, r, r.unserved(codeCalm))
	}
	return n
}

// lessen has all who have more than their share kept lose it, where there is too much, who has most first, until some
// is free; and then this client, if there still is too much, and more of him than of others. It reports whether there
// is afterwards.
func (u *underway) lessen(all bool, now time.Time) (beyond bool) {
	u.mu.Lock()
	mine, urgent := u.kept, u.beyond()
	u.mu.Unlock()
	if mine == nil {
		return false
	}
	for _, k := range []*kept{mine, mine.others} {
		if k != nil {
			k.lessen(u, all, urgent, now)
		}
	}
	return u.relieve(all)
}

// lessen is that for one kind of clients. Of u, who is heard, what came whole is refused if all says so.
func (k *kept) lessen(u *underway, all, urgent bool, now time.Time) {
	who, late := k.hoarders(urgent, now)
	vain := 0
	for _, one := range who {
		if !k.full(slack) {
			break
		}
		one.mu.Lock()
		n := one.lose(late && one.underway != u || all && one.underway == u)
		one.mu.Unlock()
		if one.told(n, one.much); n == 0 {
			vain++
		}
	}
	if len(who) > 1 {
		k.mu.Lock()
		k.vain = time.Duration(vain) * lookEachVain
		k.mu.Unlock()
	}
}

// beyond reports whether more is kept of the client than may be. mu is held.
func (u *underway) beyond() bool {
	return u.kept != nil && u.kept.beyond(u)
}

// proves says that the client has had an answer: what is kept of him is from now on beside what is of others that had.
func (u *underway) proves(kept *kept) {
	u.mu.Lock()
	defer u.mu.Unlock()
	n, going := u.bytes.Load(), u.going.Load()
	u.goes(-going)
	u.keep(-n)
	u.kept = kept
	u.keep(n)
	u.goes(going)
}

// deaf says that the client was not heard for so long.
func (u *underway) deaf(d time.Duration) {
	u.mu.Lock()
	defer u.mu.Unlock()
	u.unheard += d
}
