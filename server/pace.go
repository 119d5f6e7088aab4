package server

import (
	"sync/atomic"
	"time"
)

// What a client of HTTP/2 may make this side do for nothing is counted in trifles.
const (
	// trifleRate is how many a second a client may send for long, and trifleBurst how many at once, once as many of his
	// requests have been answered: before, it is freshBurst. A client that cancels its requests stays below.
	trifleRate, trifleBurst, freshBurst = 500, 1000, 100
	// allTrifles is how many a second all clients of a port may send that are in debt: they share it.
	allTrifles = 1000
	// smallData is what a frame of data has at most that is a trifle, as a window is, unless it answers a frame of this
	// side: so many of them each of those is good for, and one more for each windowStep of its bytes. A client that
	// keeps a lease says that of each answer, and enlarges two windows. And where it goes with large ones of the same
	// client: for each windowStep of those one is free, since some cut what they send into unequal frames.
	smallData, answersEach, windowStep = 128, 3, 4 << 10
	// largeHeaders is what headers have at most that count as none.
	largeHeaders = 4 << 10
)

// costs, in parts of a trifle, of which there are whole.
const (
	whole       = 4
	requestCost = 2 // of a request of a client who had few answers; it is given back with the answer
	refusalCost = 2 // of an answer that is nothing but an error
)

// mostCredit bounds how many errors and resets a client has for nothing because as many of his requests were answered
// before: where a fleet has no primary, or a disk stands still, all that he asks fails, and he is to be heard at once
// when that is over. And it bounds how many frames he has for nothing because they answer what he was sent: a client
// that renews thousands of leases does so in one go, and is answered afterwards.
const mostCredit = 10_000

// debtors are those clients of a port that wait because of trifles. It is safe for concurrent use.
type debtors struct{ n atomic.Int64 }

// rate is how many trifles a second each of them may send.
func (d *debtors) rate() float64 {
	return min(trifleRate, allTrifles/float64(max(1, d.n.Load())))
}

// longest bounds how long each of them is not heard at a time: so all of them together are heard no more often than
// they may send.
func (d *debtors) longest() time.Duration {
	return max(longestWait, time.Duration(float64(d.n.Load())/allTrifles*float64(time.Second)))
}

// Kinds of frames (RFC 9113, section 6).
const (
	frameData, frameHeaders, frameReset, frameContinuation = 0, 1, 3, 9
	frameSettings, framePing, frameWindow                  = 4, 6, 8

	flagEndStream, flagEndHeaders, flagPadded = 1, 4, 8
)

// pace counts the frames that a client sends, and says how long nothing more is to be read of him.
type pace struct {
	skip   int // bytes before the first frame
	header [frameHeaderBytes]byte
	have   int
	left   int
	budget float64 // in parts, as all that follows
	most   float64 // what the budget comes to with time
	credit int     // in requests
	early  int     // frames that were paid for, and answer one of this side if that is still to come
	free   int     // small frames of data that go with large ones
	at     time.Time
	rate   float64 // in trifles, of who was in debt then
	others *debtors
	// heard is called with the header of each frame, and says of one of data whether it belongs to a request that its
	// client has not ended.
	heard func(header [frameHeaderBytes]byte) (asked bool)
	// body is called with the bytes behind those headers. Nil: nobody wants them.
	body func(p []byte)
	// measured reports whether something was sent to the client that he may measure with a ping since it was asked
	// last: clients that find out what a connection can carry send one for it. Nil: nothing ever is.
	measured func() bool
	// replies takes up to n of the frames that the client may send because of what he was sent, and returns how many.
	// Nil: there are none.
	replies func(n int) int
}

func newPace(now time.Time, others *debtors, heard func([frameHeaderBytes]byte) (asked bool)) pace {
	return pace{
		skip: len(preface), budget: freshBurst * whole, most: freshBurst * whole, at: now, rate: trifleRate,
		others: others, heard: heard,
	}
}

// bytes returns how many of n bytes are to be read: the rest of a frame, which costs nothing any more, and then no more
// than trifles that there is budget for. Of who has had answers, what longestWait pays for is read as well.
func (c *pace) bytes(n int, now time.Time) int {
	c.pay(0, now)
	frames := c.budget / whole
	if frames > 0 && c.known() {
		frames += trifleRate * longestWait.Seconds()
	}
	return min(n, c.left+max(1, int(frames))*frameHeaderBytes)
}

// known reports whether the client has had so many answers that he is trusted as far as anybody.
func (c *pace) known() bool { return c.most >= trifleBurst*whole }

// fresh reports whether the client has had no answer yet.
func (c *pace) fresh() bool { return c.most <= freshBurst*whole }

// pay takes parts from the budget, which has grown meanwhile: as that of all debtors while it is a debt, by how many
// those were then or are now.
func (c *pace) pay(parts int, now time.Time) {
	passed, others := now.Sub(c.at).Seconds(), c.others.rate()
	rate := min(c.rate, others) * whole
	if c.budget < 0 {
		owed := min(passed, -c.budget/rate)
		c.budget, passed = c.budget+owed*rate, passed-owed
	}
	c.budget = min(c.most, c.budget+passed*trifleRate*whole) - float64(parts)
	c.at, c.rate = now, others
}

// answered gives back what so many requests cost that were answered, and frames that turned out to be answers, and has
// the client be trusted more for each request.
// Refusals cost something, unless he has credit, and no more than longestWait pays: he may have asked long ago.
func (c *pace) answered(requests, refusals int, now time.Time) {
	c.most = min(trifleBurst*whole, c.most+float64(requests*whole))
	c.budget = min(c.most, c.budget+float64(requests*requestCost))
	c.credit = min(mostCredit, c.credit+requests)
	if c.early > 0 {
		n := c.replies(c.early)
		c.early -= n
		c.budget = min(c.most, c.budget+float64(n*whole))
	}
	if refusals -= c.spend(refusals); refusals > 0 {
		c.pay(0, now)
		least := min(c.budget, -c.others.rate()*longestWait.Seconds()*whole)
		c.budget = max(least, c.budget-float64(refusals*refusalCost))
	}
}

// spend takes up to n from the credit, and returns how many.
func (c *pace) spend(n int) int {
	n = min(n, c.credit)
	c.credit -= n
	return n
}

// debt returns how long nothing more is to be read.
func (c *pace) debt(now time.Time) time.Duration {
	if c.pay(0, now); c.budget >= 0 {
		return 0
	}
	return time.Duration(-c.budget / whole / c.others.rate() * float64(time.Second))
}

// between reports whether what was read ends with a frame, behind which another may stand.
func (c *pace) between() bool {
	kind, more := c.header[3], c.header[4]&flagEndHeaders == 0
	return c.skip == 0 && c.have == 0 && c.left == 0 && !(more && (kind == frameHeaders || kind == frameContinuation))
}

// hear follows what was read, which may end anywhere in a frame.
func (c *pace) hear(p []byte, now time.Time) {
	n := min(c.skip, len(p))
	c.skip, p = c.skip-n, p[n:]
	parts := 0
	for len(p) > 0 {
		if c.left > 0 {
			n := min(c.left, len(p))
			if c.body != nil {
				c.body(p[:n])
			}
			c.left, p = c.left-n, p[n:]
			continue
		}
		n := copy(c.header[c.have:], p)
		c.have, p = c.have+n, p[n:]
		if c.have < frameHeaderBytes {
			break
		}
		c.have, c.left = 0, int(c.header[0])<<16|int(c.header[1])<<8|int(c.header[2])
		parts += c.parts(c.heard(c.header))
	}
	if parts > 0 {
		c.pay(parts, now)
	}
}

// parts returns what the frame costs whose header was read. asked: of data, that it belongs to a request.
func (c *pace) parts(asked bool) int {
	large := 10 * whole * (c.left / largeHeaders)
	switch kind, flags := c.header[3], c.header[4]; kind {
	case framePing:
		if c.measured != nil && c.measured() {
			return 0
		}
		return whole
	case frameReset:
		return whole * (1 - c.spend(1))
	case frameWindow:
		return c.reply()
	case frameData:
		return c.data(flags, asked)
	case frameHeaders:
		if !c.known() {
			return large + requestCost
		}
		return large
	case frameContinuation:
		return large + whole
	}
	return whole // settings, priorities, and whatever nobody has asked for, or knows
}

// data returns what one of its frames costs. What belongs to no request has crossed the end of one, or is a trifle.
func (c *pace) data(flags byte, asked bool) int {
	switch {
	case !asked:
		return whole * (1 - c.spend(1))
	case flags&flagPadded != 0, c.left == 0 && flags&flagEndStream == 0: // nothing, in other words
		return whole
	case flags&flagEndStream == 0 && c.left < smallData: // as whoever renews a lease says
		if c.free > 0 {
			c.free--
			return 0
		}
		return c.reply()
	}
	c.free = min(mostCredit, c.free+c.left/windowStep)
	return 0
}

// reply returns what a frame costs that is nothing but an answer, if it is one.
func (c *pace) reply() int {
	if c.replies == nil {
		return whole
	}
	if c.replies(1) > 0 {
		return 0
	}
	c.early = min(mostCredit, c.early+1)
	return whole
}
