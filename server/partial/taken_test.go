package partial

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/mimir-kv/mimir/replication/clock"
)

// hasty is a clock by which ten minutes are over in less than a second.
type hasty struct{ clock.Clock }

const haste = 1000

// Elapsed implements clock.Clock.
func (h hasty) Elapsed() time.Duration { return haste * h.Clock.Elapsed() }

// NewTicker implements clock.Clock.
func (h hasty) NewTicker(d time.Duration) clock.Timer { return h.Clock.NewTicker(max(d/haste, 1)) }

// Who takes nothing of a copy, and yet is there, does not have the store keep what it had for ever.
func TestACopyThatNobodyTakesEnds(t *testing.T) {
	w := startWhole(t, "us-1")
	for i := range 16 {
		w.write(put(fmt.Sprintf("/a/%d", i), strings.Repeat("x", 1<<20)))
	}
	w.Source.Clock = hasty{clock.Real}
	s := w.follow(ask{Fleet: "f", Secret: secret, Prefixes: prefixes(t, "/a/", "/c/")})
	if kind, _, err := receive(s); err != nil || kind != isBegun {
		t.Fatalf("%q, %v", kind, err)
	}
	until(t, "nobody follows any more", func() bool { return len(w.Report()[0].Nodes) == 0 })
}
