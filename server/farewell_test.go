package server

import (
	"bytes"
	"math/rand/v2"
	"testing"
)

// sink keeps what is written to it.
type sink struct {
	nowhere
	bytes.Buffer
}

func (s *sink) Write(p []byte) (int, error) { return s.Buffer.Write(p) }
func (s *sink) Read(p []byte) (int, error)  { return s.Buffer.Read(p) }

// A farewell stands between two frames, and not between headers and their continuation, once, wherever it is asked for
// and however the frames are cut into writes.
func TestFarewellStandsBetweenFrames(t *testing.T) {
	frame := func(body int, kind, flags byte) []byte {
		return append([]byte{byte(body >> 16), byte(body >> 8), byte(body), kind, flags, 0, 0, 0, 5},
			bytes.Repeat([]byte{0x77}, body)...)
	}
	for seed := range uint64(500) {
		random := rand.New(rand.NewPCG(seed, 1))
		var all []byte
		var ends []int
		for range 1 + random.IntN(6) {
			size := []int{0, 1, 8, 300, 70_000}[random.IntN(5)]
			if random.IntN(3) == 0 {
				all = append(append(all, frame(size, frameHeaders, 0)...), frame(size, frameContinuation, 0)...)
				all = append(all, frame(1, frameContinuation, flagEndHeaders)...)
			} else {
				all = append(all, frame(size, frameData, flagEndStream)...)
			}
			ends = append(ends, len(all))
		}
		out := &sink{}
		c := newLeavable(out, &clients{})
		asked := random.IntN(len(all) + 1)
		for at := 0; at < len(all); {
			if at >= asked {
				c.farewell()
				asked = len(all) + 1
			}
			n := 1 + random.IntN(min(len(all)-at, []int{1, 20, 1 << 20}[random.IntN(3)]))
			if more, err := c.Write(all[at : at+n]); err != nil || more != n {
				t.Fatalf("seed %d: wrote %d of %d, %v", seed, more, n, err)
			}
			at += n
		}
		if asked <= len(all) {
			c.farewell()
		}
		got := out.Buffer.Bytes()
		place := bytes.Index(got, goAway)
		if place < 0 {
			t.Fatalf("seed %d: not said", seed)
		}
		at := place == 0
		for _, end := range ends {
			at = at || place == end
		}
		rest := append(append([]byte(nil), got[:place]...), got[place+len(goAway):]...)
		if !at || !bytes.Equal(rest, all) {
			t.Fatalf("seed %d: said at %d, frames end at %v", seed, place, ends)
		}
	}
}
