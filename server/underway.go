package server

import (
	"encoding/binary"
	"sync"
)

// underway are the requests of a connection that speaks HTTP/2, as they are on the wire: each from its headers to the
// last frame of its answer, or to a reset of either side. It is safe for concurrent use, and waits for nobody.
type underway struct {
	begin func() (end func()) // is told when there are some, and again when there are none

	mu      sync.Mutex
	streams map[uint32]bool
	end     func() // not nil while there are some
	last    uint32 // the last that was begun
	retired bool   // none is begun any more
}

func streamOf(header [frameHeaderBytes]byte) uint32 {
	return binary.BigEndian.Uint32(header[5:]) &^ (1 << 31)
}

// heard follows a frame of the client.
func (u *underway) heard(header [frameHeaderBytes]byte) {
	u.mu.Lock()
	defer u.mu.Unlock()
	if u.retired {
		return
	}
	switch id := streamOf(header); header[3] {
	case frameHeaders:
		if u.last = id; u.end == nil {
			u.end = u.begin()
		}
		if u.streams == nil {
			u.streams = map[uint32]bool{}
		}
		u.streams[id] = true
	case frameReset:
		u.forget(id)
	case frameWindow: // it takes what it was sent
		if u.end == nil {
			u.begin()()
		}
	}
}

// ends says whether a frame of this side is the last of a request.
func ends(header [frameHeaderBytes]byte) bool {
	kind, flags := header[3], header[4]
	return kind == frameReset || (kind == frameHeaders || kind == frameData) && flags&flagEndStream != 0
}

// said follows frames of this side that end requests.
func (u *underway) said(ended []uint32) {
	u.mu.Lock()
	defer u.mu.Unlock()
	for _, id := range ended {
		u.forget(id)
	}
}

func (u *underway) forget(id uint32) {
	delete(u.streams, id)
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
