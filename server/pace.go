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
// when that is over.
const mostCredit = 10_000

// debtors are those clients of a port that wait because of trifles. It is safe for concurrent use.
type debtors struct{ n atomic.Int64 }

// rate is how many trifles a second each of them may send.
func (d *debtors) rate() float64 {
	return min(trifleRate, allTrifles/float64(max(1, d.n.Load())))
}

// Kinds of frames (RFC 9113, section 6).
const (
	frameData, frameHeaders, frameReset, frameContinuation = 0, 1, 3, 9
	framePriority, frameSettings, framePing, frameWindow   = 2, 4, 6, 8

	flagEndStream, flagEndHeaders = 1, 4
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
	at     time.Time
	others *debtors
	heard  func(header [frameHeaderBytes]byte) // is called with that of each frame
	// measured reports whether something was sent to the client that he may measure with a ping since it was asked
	// last: clients that find out what a connection can carry send one for it. Nil: nothing ever is.
	measured func() bool
}

func newPace(now time.Time, others *debtors, heard func([frameHeaderBytes]byte)) pace {
	return pace{
		skip: len(preface), budget: freshBurst * whole, most: freshBurst * whole, at: now, others: others, heard: heard,
	}
}

// bytes returns how many of n bytes are to be read: no more than trifles that there is budget for, and that are paid
// for by longestWait.
func (c *pace) bytes(n int, now time.Time) int {
	c.pay(0, now)
	frames := c.others.rate() * longestWait.Seconds()
	if c.budget >= 0 {
		frames = c.budget/whole + trifleRate*longestWait.Seconds()
	}
	return min(n, max(1, int(frames))*frameHeaderBytes)
}

// pay takes parts from the budget, which has grown meanwhile: as that of all debtors while it is a debt.
func (c *pace) pay(parts int, now time.Time) {
	passed, rate := now.Sub(c.at).Seconds(), c.others.rate()*whole
	if c.budget < 0 {
		owed := min(passed, -c.budget/rate)
		c.budget, passed = c.budget+owed*rate, passed-owed
	}
	c.budget = min(c.most, c.budget+passed*trifleRate*whole) - float64(parts)
	c.at = now
}

// answered gives back what so many requests cost that were answered, and has the client be trusted more for each.
// Refusals cost something, unless he has credit, and no more than longestWait pays: he may have asked long ago.
func (c *pace) answered(requests, refusals int, now time.Time) {
	c.most = min(trifleBurst*whole, c.most+float64(requests*whole))
	c.budget = min(c.most, c.budget+float64(requests*requestCost))
	c.credit = min(mostCredit, c.credit+requests)
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

// hear follows what was read, which may end anywhere in a frame.
func (c *pace) hear(p []byte, now time.Time) {
	n := min(c.skip, len(p))
	c.skip, p = c.skip-n, p[n:]
	parts := 0
	for len(p) > 0 {
		if c.left > 0 {
			n := min(c.left, len(p))
			c.left, p = c.left-n, p[n:]
			continue
		}
		n := copy(c.header[c.have:], p)
		c.have, p = c.have+n, p[n:]
		if c.have < frameHeaderBytes {
			break
		}
		c.have, c.left = 0, int(c.header[0])<<16|int(c.header[1])<<8|int(c.header[2])
		parts += c.parts()
		c.heard(c.header)
	}
	if parts > 0 {
		c.pay(parts, now)
	}
}

// parts returns what the frame costs whose header was read.
func (c *pace) parts() int {
	switch kind, flags := c.header[3], c.header[4]; kind {
	case framePing:
		if c.measured != nil && c.measured() {
			return 0
		}
		return whole
	case frameReset:
		return whole * (1 - c.spend(1))
	case framePriority, frameSettings:
		return whole
	case frameData:
		if c.left == 0 && flags&flagEndStream == 0 {
			return whole
		}
	case frameHeaders:
		large := 10 * whole * (c.left / largeHeaders)
		if c.most < trifleBurst*whole {
			return large + requestCost
		}
		return large
	case frameContinuation:
		return 10 * whole * (c.left / largeHeaders)
	}
	return 0
}
