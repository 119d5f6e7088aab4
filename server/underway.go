package server

import (
	"encoding/binary"
	"net/netip"
	"sync"
	"sync/atomic"
	"time"
)

// underway are the requests of a connection that speaks HTTP/2, as they are on the wire: each from its headers to the
// last frame of its answer, or to a reset of either side. It is safe for concurrent use, and waits for nobody.
type underway struct {
	begin func() (end func()) // is told when there are some, and again when there are none
	late  func()              // is told of each request that was ended because it did not come in time
	much  func()              // and of each that was refused because too much is kept
	wake  func()              // has gRPC read on, so that it hears of those
	close func()              // ends the connection, if it does not
	room  func()              // is told when a message was taken

	site, source netip.Prefix // of whom it is, as of door.Party
	from         string       // the address
	asks         *asks        // what is held of requests that were taken

	mu      sync.Mutex
	streams map[uint32]*request
	end     func()       // not nil while there are some
	last    uint32       // the last that was begun
	retired bool         // none is begun any more
	bytes   atomic.Int64 // that are kept of all of them
	going   atomic.Int64 // of those, of requests that are being ended
	refused []uint32     // of which gRPC is to hear
	ending  atomic.Int64 // requests that are being ended
	stuck   *time.Timer  // looks whether they are; nil before the first
	kept    *kept        // of all clients as he is; nil: that is not counted
	party   *party       // whose part he is there; nil: nothing is kept of him
	gone    bool         // the connection is closed
	hearing incoming
	fed     time.Time     // until when what comes of messages has none of them be late
	timer   *time.Timer   // looks for those that are late; nil before the first
	looks   bool          // the timer runs
	unheard time.Duration // for how long the client was not heard
}

// request is one of them.
type request struct {
	open     bool // its client has not ended it
	answered bool // its answer has begun
	over     bool // the last frame of it has
	messages
}

func streamOf(header [frameHeaderBytes]byte) uint32 {
	return binary.BigEndian.Uint32(header[5:]) &^ (1 << 31)
}

func lengthOf(header [frameHeaderBytes]byte) int {
	return int(header[0])<<16 | int(header[1])<<8 | int(header[2])
}

// heard follows a frame of the client, and reports whether it is data of a request that he has not ended.
func (u *underway) heard(header [frameHeaderBytes]byte) (asked bool) {
	u.mu.Lock()
	defer u.mu.Unlock()
	u.hearing = incoming{}
	if u.retired {
		return false
	}
	ended := header[4]&flagEndStream != 0
	switch id := streamOf(header); header[3] {
	case frameHeaders:
		if u.last = id; u.end == nil {
			u.end = u.begin()
		}
		if u.streams == nil {
			u.streams = map[uint32]*request{}
		}
		u.drop(id)
		u.streams[id] = &request{open: !ended}
	case frameReset:
		u.forget(id)
	case frameData:
		r := u.streams[id]
		if asked = r != nil && r.open; asked {
			if r.open = !ended; r.refused || !r.opened { // he does not know it yet
				break
			}
			u.comes(r, lengthOf(header), header[4]&flagPadded != 0)
		}
	}
	return asked
}

// takes says that the client takes what it was sent.
func (u *underway) takes() {
	u.mu.Lock()
	defer u.mu.Unlock()
	if !u.retired && u.end == nil {
		u.begin()()
	}
}

// ends says whether a frame of this side is the last of a request.
func ends(header [frameHeaderBytes]byte) bool {
	kind, flags := header[3], header[4]
	return kind == frameReset || (kind == frameHeaders || kind == frameData) && flags&flagEndStream != 0
}

// answers says that the answer of a request begins, or ends if last, and reports whether that is all of it. What its
// client has reset is none any more.
func (u *underway) answers(id uint32, last bool) (alone bool) {
	u.mu.Lock()
	defer u.mu.Unlock()
	r := u.streams[id]
	if r == nil {
		return false
	}
	alone, r.answered, r.over = last && !r.answered, true, r.over || last
	return alone
}

// said follows frames of this side that end requests.
func (u *underway) said(ended []uint32) {
	u.mu.Lock()
	defer u.mu.Unlock()
	for _, id := range ended {
		u.forget(id)
	}
}

// forget ends a request. mu is held.
func (u *underway) forget(id uint32) {
	u.drop(id)
	if len(u.streams) == 0 && u.end != nil {
		u.end()
		u.end = nil
	}
}

// retire returns false if requests are under way. Else none is begun from now on.
func (u *underway) retire() bool {
	u.mu.Lock()
	defer u.mu.Unlock()
	u.retired = u.retired || u.end == nil
	return u.retired
}

// over returns the last request that was dealt with, once no more are.
func (u *underway) over() (last uint32, retired bool) {
	u.mu.Lock()
	defer u.mu.Unlock()
	return u.last, u.retired
}

// none reports whether there was never any.
func (u *underway) none() bool {
	u.mu.Lock()
	defer u.mu.Unlock()
	return u.last == 0
}
