package server

import (
	"slices"
	"testing"
	"time"
)

// hoard is a port without connections: what its clients say is counted and not kept, and what is refused of it is ended
// at once.
type hoard struct {
	clients
	now   time.Time
	woken []*underway
	most  int64 // that was kept, without what was being ended
}

const hoardFrame = 16 << 10

// client returns one who has unfinished messages of so many frames.
func (h *hoard) client(known bool, frames int) *underway {
	u := &underway{kept: &h.fresh, begin: func() func() { return func() {} }, much: func() {}, room: func() {}}
	u.wake, u.close = func() { h.woken = append(h.woken, u) }, func() {}
	if known {
		u.kept = &h.known
	}
	for n := range frames {
		h.say(u, uint32(1+2*n))
	}
	return u
}

// say begins a request that says a frame of a message, as a connection does that reads 100 MB/s.
func (h *hoard) say(u *underway, id uint32) {
	u.lessen(false, h.now)
	for _, woken := range h.woken {
		var over []uint32
		for id, r := range woken.streams {
			if r.refused {
				over = append(over, id)
			}
		}
		woken.endings()
		woken.said(over)
	}
	h.woken = nil
	u.heard([9]byte{3: frameHeaders, 4: flagEndHeaders, 7: byte(id >> 8), 8: byte(id)})
	u.opens(false, 0)
	u.heard([9]byte{1: byte(hoardFrame >> 8), 3: frameData, 7: byte(id >> 8), 8: byte(id)})
	h.now = h.now.Add(hoardFrame * time.Second / 100e6)
	h.most = max(h.most, h.known.all.bytes.Load()-h.known.all.going.Load()+
		h.fresh.all.bytes.Load()-h.fresh.all.going.Load())
}

// What is kept stays within its bound, however many clients have what there is, each no more than the others, and
// whoever comes then, each below his share: who is silent loses what is above his.
func TestManyWhoAreSilentLoseWhatIsTooMuch(t *testing.T) {
	for name, c := range map[string]struct {
		silent, frames int
		known          bool // whoever comes then
		come, say      int
	}{
		"few":         {250, 64, true, 100, 120},
		"many":        {4000, 4, true, 100, 120},
		"very many":   {15_000, 1, true, 100, 120},
		"of one kind": {8000, 2, false, 4000, 1},
	} {
		h := &hoard{now: time.Unix(1, 0)}
		h.bound(mostKept, mostKeptFresh)
		for range c.silent {
			h.client(false, c.frames)
		}
		if h.most < (mostKept+mostKeptFresh)*7/8 {
			t.Errorf("%s: there is room left beside %d MiB", name, h.most>>20)
		}
		newcomers := make([]*underway, c.come)
		for n := range newcomers {
			newcomers[n] = h.client(c.known, 0)
		}
		for n := range c.say {
			for _, u := range newcomers {
				h.say(u, uint32(1+2*n))
			}
		}
		const between = 100e6 * int64(lookEach) / int64(time.Second) // what comes until it is looked again
		if beyond := h.most - mostKept - mostKeptFresh; beyond > between+hoardFrame {
			t.Errorf("%s: %d MiB are kept beyond the bound", name, beyond>>20)
		}
	}
}

// Where nobody has anything to lose, they are not all asked for it all the time, until what came whole is no longer
// waited for: then they lose it.
func TestManyWhoHaveNothingToLoseAreAskedSeldom(t *testing.T) {
	h := &hoard{now: time.Unix(1, 0)}
	h.bound(0, 0)
	for range 3000 {
		for _, r := range h.client(false, 1).streams {
			r.whole = []int64{hoardFrame}
		}
	}
	h.bound(1<<20, 1<<20)
	u, looked, times := h.client(true, 0), h.fresh.looked, 0
	for began := h.now; h.now.Sub(began) < longestWait; h.now = h.now.Add(lookEach) {
		if u.lessen(false, h.now); h.fresh.looked != looked {
			looked = h.fresh.looked
			times++
		}
	}
	if most := int(longestWait/(lookEach+3000*lookEachVain)) + 1; times < 2 || times > most || len(h.woken) > 0 {
		t.Errorf("they are asked %d times, want %d at most, and %d lose something", times, most, len(h.woken))
	}
	h.now = h.now.Add(longestWait)
	if u.lessen(false, h.now); len(h.woken) == 0 {
		t.Error("nobody loses anything")
	}
}

// Once those are gone who had nothing to lose it is looked as often as ever.
func TestAfterManyWhoHadNothingToLoseItIsLookedAsEver(t *testing.T) {
	h := &hoard{now: time.Unix(1, 0)}
	h.bound(0, 0)
	var many []*underway
	for range 3000 {
		u := h.client(false, 1)
		many = append(many, u)
		for _, r := range u.streams {
			r.whole = []int64{hoardFrame}
		}
	}
	h.bound(1<<20, 1<<20)
	u := h.client(true, 0)
	u.lessen(false, h.now)
	for _, u := range many {
		u.leave()
	}
	h.now = h.now.Add(time.Second)
	for n := range 3 { // who has more each time, and is silent
		now := h.now
		h.bound(0, 0)
		silent := h.client(false, 200<<n)
		h.bound(1<<20, 1<<20)
		h.now, h.woken = now.Add(lookEach), nil
		if u.lessen(false, h.now); !slices.Contains(h.woken, silent) {
			t.Errorf("number %d loses nothing of what is too much", n)
		}
	}
}
