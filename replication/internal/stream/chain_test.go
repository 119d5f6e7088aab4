package stream

import (
	"context"
	"errors"
	"testing"

	"github.com/mimir-kv/mimir/replication/timeline"
)

// TestChainsOfEveryPlace are told by the log, within frames too, and not from what was refused when it was applied.
func TestChainsOfEveryPlace(t *testing.T) {
	us := newRegion(t, "us")
	defer us.log.Close()
	us.begin(1)
	want := map[timeline.Position]timeline.Chain{}
	early := frame(timeline.Cursor{Epoch: 1, Position: 4, Chain: timeline.Chain{7}}, "early", "in vain")
	us.mu.Lock()
	us.propose(early) // refused: it does not continue the position
	us.mu.Unlock()
	folder := timeline.NewFolder()
	for _, words := range [][]string{{"a", "b", "c"}, {"d", "e", "f", "g"}, {"h"}} {
		at := us.Cursor()
		us.write(words...)
		for _, w := range words {
			want[at.Position] = at.Chain
			at.Chain = folder.Command(at.Chain, []byte(w))
			at.Position++
		}
	}
	at := us.Cursor()
	want[at.Position] = at.Chain
	us.begin(2)
	us.write("i")
	first := us.Reigns()[0]
	source := NewSource(SourceConfig{Region: "us", Log: us.log, History: us, Logger: quiet, WindowBytes: testWindow})
	for p, chain := range want {
		if got, err := source.Chain(first, p); err != nil || got != chain {
			t.Errorf("behind %d: %v, %v, want %v", p, got, err, chain)
		}
	}
	for p, r := range map[timeline.Position]timeline.Reign{9: first, 3: {Epoch: 1, First: 1, Primary: "eu"}} {
		if got, err := source.Chain(r, p); r != first && err == nil || r == first && err == nil {
			t.Errorf("behind %d of %s: %v", p, r.Primary, got)
		}
	}
}

// TestTwoHistoriesOfOneReign: the one that a later reign continues is that of the fleet, and the other one gives way,
// from where both are known to be one. While none does, nobody knows which one to give up.
func TestTwoHistoriesOfOneReign(t *testing.T) {
	for _, begun := range []bool{true, false} {
		bubble(t, func(t *testing.T, p *pair) {
			p.us.write("a", "b")
			parted := 0
			p.serve(func(c *SourceConfig) { c.OnParted = func(string, timeline.Cursor) { parted++ } })
			p.follow()
			p.converge()
			p.stop()
			p.us.write("c", "d", "e")
			p.eu.write("c", "other")
			if begun {
				p.us.begin(2)
			}
			var fork *ForkError
			err := p.outcome()
			switch {
			case !begun && (!errors.Is(err, context.DeadlineExceeded) || parted == 0):
				t.Errorf("Run returned %v, the source was told %d times", err, parted)
			case begun && (!errors.As(err, &fork) || fork.Fork != 0 || len(fork.Source) != 2 || parted != 0):
				t.Errorf("Run returned %v, no fork where the reign began; the source was told %d times", err, parted)
			}
		})
	}
}
