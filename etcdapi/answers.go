package etcdapi

import (
	"context"
	"runtime"
	"sync"
	"time"

	"golang.org/x/sync/semaphore"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"github.com/mimir-kv/mimir/etcdapi/share"
)

// answers bounds the memory of large answers, of all together: those that are being made, of which what is less than a
// megabyte is not counted by its bytes but by making, and from smallBytes on those that wait for other regions, and
// those that wait in gRPC, or in the JSON gateway, until their clients read them. A connection that has left something
// unread gets no more than is free beside it, so that there is always something left for others; one that has left
// nothing is not refused for what others did, below a megabyte, until all of that has come to half as much again, of
// which an address has no more than its share, over however many connections. What streams send is bounded alike, by
// itself: no range is refused for what watches have left. Where others wait or are refused, what lies unread for too
// long is ended with its request.
type answers struct {
	// making has room for those of more than countedBytes that are being made, or encoded, at a time. Whoever has room
	// waits for nobody.
	making *semaphore.Weighted

	mu        sync.Mutex
	limit     int64
	bytes     int64
	unread    map[string]*account // by connection, none of nothing
	sources   *share.Room         // the same by address, and the rest as of nobody
	waiting   map[string]int      // messages, by connection, none that is 0
	pending   int64               // bytes of messages that wait
	freed     chan struct{}       // closed when some bytes are free again; nil if nobody waits for it
	waiters   int                 // for that
	looks     *time.Timer         // looks for what lies unread for too long; nil if nobody waits
	going     int64               // bytes of what was ended, and lies there yet
	collected time.Time

	// ends is Options.Ends, or nil. It is set before anything is counted.
	ends func(ctx context.Context) (end func())
}

const (
	// countedBytes is how large an answer is that waits for its turn to be made.
	countedBytes = 64 << 10
	// mostMaking is how many large answers are made at a time, and madeBytes what each has before it is counted.
	mostMaking = 64
	madeBytes  = 1 << 20
)

// collectEvery is how often a refusal, or who waits, lets the collector look for what connections left that are gone.
// It comes by itself when much is allocated, which is seldom where answers are refused.
const collectEvery = 10 * time.Second

func newAnswers(limit int64) *answers {
	return &answers{
		limit: limit, making: semaphore.NewWeighted(mostMaking), sources: share.New(mostOf(limit)),
		unread: make(map[string]*account), waiting: make(map[string]int),
	}
}

// bound sets the limit. What is there stays.
func (a *answers) bound(limit int64) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.limit = limit
	a.sources.Bound(mostOf(limit))
	a.wake()
}

// answer is one that is being made. It is used by one goroutine.
type answer struct {
	ctx    context.Context
	of     *answers
	grown  int64 // and is not counted
	bytes  int64 // counted
	making bool
}

func (a *answers) begin(ctx context.Context) *answer { return &answer{ctx: ctx, of: a} }

// take takes memory for a part of the answer, or refuses it.
func (a *answer) take(bytes int64) error {
	if a.grown += bytes; a.grown < countedBytes {
		return nil
	}
	if !a.making {
		if err := a.of.making.Acquire(a.ctx, 1); err != nil {
			return err
		}
		a.making = true
	}
	if a.grown < madeBytes {
		return nil
	}
	return a.count(func() int64 { return a.of.limit })
}

// count counts what has grown, and refuses it where all together come to more than most.
func (a *answer) count(most func() int64) error {
	a.of.mu.Lock()
	defer a.of.mu.Unlock()
	a.of.bytes += a.grown
	a.of.sources.Hold("", a.grown)
	a.bytes, a.grown = a.bytes+a.grown, 0
	if a.of.bytes <= most() {
		return nil
	}
	return a.of.refusal("the answers under way, and those that their clients do not read,")
}

// made says that the answer is there, and has its way to go.
func (a *answer) made() {
	if a.making {
		a.making = false
		a.of.making.Release(1)
	}
}

// waits says that the answer is there, and that others decide when it is told: it is counted from now on, and holds up
// nobody who makes another. A nil answer is one that is not counted.
func (a *answer) waits() error {
	if a == nil {
		return nil
	}
	defer a.made()
	if a.grown < smallBytes {
		return nil
	}
	return a.count(a.of.most)
}

// holds says how much there is of an answer that took nothing while it was made.
func (a *answer) holds(bytes int) {
	if a.bytes == 0 {
		a.grown = max(a.grown, int64(bytes))
	}
}

func (a *answer) close() {
	a.made()
	a.of.free("", a.bytes)
}

// most is what all together may come to: beyond the limit is only what is below a megabyte, of connections that have
// nothing unread. The caller holds mu.
func (a *answers) most() int64 { return mostOf(a.limit) }

func mostOf(limit int64) int64 { return limit + limit/2 }

// fits reports whether who asked may have that much more that waits for it. An address has no more than its share of
// all, unless nothing else is there, or nothing of its site: then one answer may be of all that is free. What is small
// is not held up for others where its connection has left nothing. The caller holds mu.
func (a *answers) fits(to sender, bytes int64) bool {
	shared := a.sources.Fits(to.connection, bytes)
	switch {
	case a.bytes == 0, a.leftBy(to.connection) == 0 && bytes > 0 && bytes <= trifleBytes*to.copies():
		return true
	case !shared && a.sources.Holds(to.connection):
		return false
	}
	return a.leaves(to, bytes, shared)
}

// leaves reports whether there is that much more for who asked, whatever its address has: of what is large, no more
// than all together may; and what has left something unread, no more than is free beside it. What is little and of a
// connection that has left nothing may be half as much again. The caller holds mu.
func (a *answers) leaves(to sender, bytes int64, little bool) bool {
	unread := a.leftBy(to.connection)
	if little && unread == 0 && bytes < madeBytes*to.copies() {
		return a.bytes+bytes <= a.most()
	}
	return unread+bytes <= a.limit-a.bytes
}

// reserve counts bytes, unless the connection may not have them.
func (a *answers) reserve(to sender, bytes int64) error {
	a.mu.Lock()
	defer a.mu.Unlock()
	if !a.fits(to, bytes) {
		return a.refusal("this answer, and those that its connection and others have not read,")
	}
	a.add(to.connection, bytes)
	return nil
}

// begins refuses what is begun for a connection that may have nothing more. The share of its address counts for what
// is answered, and not for this: what is begun may be answered with little.
func (a *answers) begins(to sender) error {
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.bytes == 0 || a.leaves(to, 0, true) {
		return nil
	}
	return a.refusal("what this connection and others have not read")
}

// count counts what cannot be refused.
func (a *answers) count(connection string, bytes int64) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.add(connection, bytes)
}

// await counts bytes as soon as the connection may have them. With 0 bytes it waits until it may have any, and nothing
// of it waits, nor too much of all: each message that waits is held.
func (a *answers) await(ctx context.Context, to sender, bytes int64) error {
	connection := to.connection
	a.mu.Lock()
	defer a.mu.Unlock()
	if bytes > 0 {
		a.waiting[connection]++
		a.pending += bytes
		defer a.waited(connection, bytes)
	}
	for !a.fits(to, bytes) || bytes == 0 && (a.waiting[connection] > 0 || a.pending > a.most()) {
		freed := a.wants()
		a.mu.Unlock()
		select {
		case <-freed:
		case <-ctx.Done():
		}
		a.mu.Lock()
		a.waiters--
		if err := ctx.Err(); err != nil {
			return err
		}
	}
	a.add(connection, bytes)
	return nil
}

// waited ends a wait. The caller holds mu.
func (a *answers) waited(connection string, bytes int64) {
	a.pending -= bytes
	if a.waiting[connection]--; a.waiting[connection] == 0 {
		delete(a.waiting, connection)
	}
	a.wake()
}

// wake lets those who wait look again. The caller holds mu.
func (a *answers) wake() {
	if a.freed != nil {
		close(a.freed)
		a.freed = nil
	}
}

// refusal says what there is no room for. The caller holds mu.
func (a *answers) refusal(what string) error {
	if a.collect(time.Now()) {
		go a.endLate()
	}
	return status.Errorf(codes.ResourceExhausted, "mimir: %s take more than max-answer-bytes allows, which is %d: "+
		"read what was answered, ask for less with a limit, or try again later", what, a.limit)
}

// collect has the collector look for what connections left that are gone, unless it just did. The caller holds mu.
func (a *answers) collect(now time.Time) (looks bool) {
	if now.Sub(a.collected) < collectEvery {
		return false
	}
	a.collected = now
	go runtime.GC()
	return true
}
