package server

import (
	"cmp"
	"encoding/binary"
	"slices"
	"sync"
	"time"
)

// Codes of resets (RFC 9113, section 7), by what clients of gRPC make of them: an internal error, after which a watch
// goes on elsewhere; unavailable, as nothing was done of what was asked for, so that they ask again by themselves; and
// too much.
const codeInternal, codeRefused, codeCalm = 0x2, 0x7, 0xb

// resets are those that are to be said of requests that this side ends by itself: before whatever gRPC, which makes of
// it that the client has cancelled them, says of their end. It is safe for concurrent use.
type resets struct {
	mu     sync.Mutex
	frames []byte
	ids    []uint32
}

func (r *resets) add(id, code uint32) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.frames = append(r.frames, 0, 0, 4, frameReset, 0)
	r.frames = binary.BigEndian.AppendUint32(r.frames, id)
	r.frames = binary.BigEndian.AppendUint32(r.frames, code)
	r.ids = append(r.ids, id)
}

// take returns them, with the requests that they end.
func (r *resets) take() (frames []byte, ids []uint32) {
	r.mu.Lock()
	defer r.mu.Unlock()
	frames, ids, r.frames, r.ids = r.frames, r.ids, nil, nil
	return frames, ids
}

func (r *resets) none() bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	return len(r.ids) == 0
}

// unserved is the code of a request that is ended because it did not come in time.
func (r *request) unserved() uint32 {
	if r.taken || r.answered {
		return codeInternal
	}
	return codeRefused
}

// refuse ends a request, of which nothing is kept any more: what is returned is to be called without mu, which is held,
// and has gRPC end it.
func (u *underway) refuse(id uint32, r *request, code uint32) (cancel func()) {
	u.release(r)
	u.reset(id, code)
	cancel, r.cancel, r.refused = r.cancel, nil, true
	return cancel
}

// relieve refuses requests of a client of whom more is kept than may be, until that is no longer so: those that say one
// message before others, and of each kind what began last, so that what began before comes to its end. What has come
// whole is not refused unless all says so: it is about to be taken. It reports whether there still is too much.
func (u *underway) relieve(all bool) (beyond bool) {
	u.mu.Lock()
	if beyond = u.beyond(); !beyond {
		u.mu.Unlock()
		return false
	}
	var ids []uint32
	for id, r := range u.streams {
		if r.cancel != nil && r.kept() > 0 && (all || len(r.whole) == 0) {
			ids = append(ids, id)
		}
	}
	slices.SortFunc(ids, func(a, b uint32) int {
		if one := u.streams[a].one; one != u.streams[b].one {
			if one {
				return -1
			}
			return 1
		}
		return cmp.Compare(b, a)
	})
	var ends []func()
	for len(ids) > 0 && beyond {
		ends = append(ends, u.refuse(ids[0], u.streams[ids[0]], codeCalm))
		ids, beyond = ids[1:], u.beyond()
	}
	u.mu.Unlock()
	for _, end := range ends {
		end()
		u.much()
	}
	return beyond
}

// beyond reports whether more is kept of the client than may be. mu is held.
func (u *underway) beyond() bool { return u.kept != nil && u.kept.beyond(u.bytes) }

// proves says that the client has had an answer: what is kept of him is from now on beside what is of others that had.
func (u *underway) proves(kept *kept) {
	u.mu.Lock()
	defer u.mu.Unlock()
	n := u.bytes
	u.keep(-n)
	u.kept = kept
	u.keep(n)
}

// deaf says that the client was not heard for so long.
func (u *underway) deaf(d time.Duration) {
	u.mu.Lock()
	defer u.mu.Unlock()
	u.unheard += d
}
