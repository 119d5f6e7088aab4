package server

import "time"

const (
	// trifleRate is how many frames a second that carry nothing a client of HTTP/2 may send for long, and trifleBurst
	// how many at once. They are answered by this side or end a request that has just begun, and so cost it more than
	// him. A client that cancels its requests stays below.
	trifleRate, trifleBurst = 500, 1000
	// largeHeaders is what headers have at most that count as one of them.
	largeHeaders = 4 << 10
)

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
	budget float64
	at     time.Time
	heard  func(header [frameHeaderBytes]byte) // is called with that of each frame
	// answered reports whether something was sent to the client that he may measure with a ping, since it was asked
	// last: clients that find out what a connection can carry send one for it. Nil: nothing ever is.
	answered func() bool
}

func newPace(now time.Time, heard func([frameHeaderBytes]byte)) pace {
	return pace{skip: len(preface), budget: trifleBurst, at: now, heard: heard}
}

// most returns how many of n bytes are to be read: in debt, no more than trifles that are paid for by longestWait.
func (c *pace) most(n int, now time.Time) int {
	if c.budget >= 0 || c.budget+now.Sub(c.at).Seconds()*trifleRate >= 0 {
		return n
	}
	return min(n, trifleRate*frameHeaderBytes*int(longestWait/time.Second))
}

// hear follows what was read, which may end anywhere in a frame.
func (c *pace) hear(p []byte, now time.Time) (wait time.Duration) {
	n := min(c.skip, len(p))
	c.skip, p = c.skip-n, p[n:]
	trifles := 0
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
		trifles += c.trifle()
		c.heard(c.header)
	}
	if trifles == 0 {
		return 0
	}
	c.budget = min(trifleBurst, c.budget+now.Sub(c.at).Seconds()*trifleRate) - float64(trifles)
	c.at = now
	if c.budget >= 0 {
		return 0
	}
	return time.Duration(-c.budget / trifleRate * float64(time.Second))
}

// trifle returns for how many trifles the frame counts whose header was read.
func (c *pace) trifle() int {
	switch kind, flags := c.header[3], c.header[4]; kind {
	case framePing:
		if c.answered != nil && c.answered() {
			return 0
		}
		return 1
	case frameReset, framePriority, frameSettings:
		return 1
	case frameData:
		if c.left == 0 && flags&flagEndStream == 0 {
			return 1
		}
	case frameHeaders, frameContinuation:
		return 10 * (c.left / largeHeaders)
	}
	return 0
}
