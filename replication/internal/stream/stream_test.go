package stream

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/mimir-kv/mimir/replication/clock/virtual"
)

// bubble runs f in virtual time on a fresh pair.
func bubble(t *testing.T, f func(t *testing.T, p *pair)) {
	t.Helper()
	virtual.Test(t, func(t *testing.T) {
		p := newPair(t)
		defer p.close()
		f(t, p)
	})
}

func TestFollows(t *testing.T) {
	bubble(t, func(t *testing.T, p *pair) {
		p.us.write(numbered("before", 0, 100)...)
		p.serve()
		p.follow()
		p.converge()
		for i := range 50 {
			p.us.write(numbered(fmt.Sprint("live-", i), 0, 1+i%7)...)
		}
		p.converge()
	})
}

func TestSentAtOnce(t *testing.T) {
	bubble(t, func(t *testing.T, p *pair) {
		p.network.SetDelay(usAddress, euAddress, 20*time.Millisecond, 0)
		p.serve()
		p.follow()
		p.converge()
		p.us.write("a")
		start := time.Now()
		p.converge()
		if d := time.Since(start); d > 25*time.Millisecond {
			t.Errorf("a commit took %v over a link of 20ms", d)
		}
	})
}

func TestManyReignsWithoutCommands(t *testing.T) {
	bubble(t, func(t *testing.T, p *pair) {
		p.us.begin(2)
		p.us.begin(3)
		p.us.write("a", "b")
		p.us.begin(4)
		p.serve()
		p.follow()
		p.converge()
		p.us.begin(5)
		p.us.begin(7)
		p.converge()
		if n := len(p.eu.Reigns()); n != 6 {
			t.Errorf("%d reigns arrived, want 6", n)
		}
	})
}

func TestLargeBacklog(t *testing.T) {
	bubble(t, func(t *testing.T, p *pair) {
		for i := range 200 {
			p.us.write(strings.Repeat(fmt.Sprintf("%08d", i), 4<<10), "tail")
		}
		p.serve(func(c *SourceConfig) { c.WindowBytes, c.BatchBytes = 256<<10, 64<<10 })
		p.follow()
		p.converge()
	})
}
