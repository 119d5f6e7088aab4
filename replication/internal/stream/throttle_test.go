package stream

import (
	"math/rand/v2"
	"sync/atomic"
	"testing"
	"time"

	"github.com/mimir-kv/mimir/replication/clock"
	"github.com/mimir-kv/mimir/replication/internal/throttle"
)

// noise is a command that cannot be compressed.
func noise(random *rand.Rand, bytes int) string {
	p := make([]byte, bytes)
	for i := range p {
		p[i] = byte(random.Uint32())
	}
	return string(p)
}

// capped serves a stream that is held to a cap, which can be another one.
func capped(p *pair) (rate *atomic.Int64) {
	rate = new(atomic.Int64)
	p.serve(func(c *SourceConfig) {
		c.Throttle = throttle.New(clock.Real, func(region string, _ time.Time) int64 {
			if region == "eu" {
				return rate.Load()
			}
			return 0
		})
	})
	return rate
}

// A region that is held to a cap gets no more than that in any time, is not taken for silent, and its lag is never told
// as less than it is, by either side.
func TestAStreamIsHeldToItsCap(t *testing.T) {
	bubble(t, func(t *testing.T, p *pair) {
		const cap, size, count = 64 << 10, 16 << 10, 160
		rate, random := capped(p), rand.New(rand.NewPCG(1, 2))
		rate.Store(cap)
		var met []error
		p.follow(func(c *SinkConfig) { c.Logger = lossesTo(&met) })
		wait(t, "the session runs", func() bool { return len(p.source.Slots()) == 1 })
		time.Sleep(2300 * time.Millisecond) // not at the moment at which both speak
		began := time.Now()
		for range count {
			p.us.write(noise(random, size))
		}
		for p.us.Cursor() != p.eu.Cursor() {
			time.Sleep(time.Second)
			there := p.eu.Cursor().Position
			missing := uint64(p.us.Cursor().Position - there)
			if most := int64(time.Since(began).Seconds()+1)*cap + 2*size; int64(there)*size > most {
				t.Fatalf("after %v %d commands came, the cap allows %d bytes", time.Since(began), there, most)
			}
			slots, lag := p.source.Slots(), p.sink.Lag()
			if len(slots) != 1 || slots[0].Lag.Commands < missing || slots[0].Lag.Bytes < missing*size {
				t.Fatalf("%d commands are missing, the source tells %+v", missing, slots)
			}
			if !lag.Known || lag.AtLeast || lag.Commands < missing || lag.Bytes < missing*size {
				t.Fatalf("%d commands are missing, the sink tells %+v", missing, lag)
			}
			if old := time.Since(began).Seconds() - 1; missing > 0 && lag.Seconds < old {
				t.Fatalf("after %v the sink tells of %v s", time.Since(began), lag.Seconds)
			}
			if slots[0].Since.After(began) || time.Since(began) > time.Hour {
				t.Fatalf("after %v: %+v", time.Since(began), slots)
			}
		}
		if took := time.Since(began); took < count*size/cap*time.Second || took > 60*time.Second || len(met) > 0 {
			t.Errorf("%d bytes took %v, ended by %v", count*size, took, met)
		}
		p.converge()
	})
}

// A command that is larger than what a cap allows in a minute goes at once, and what follows waits for it: no side
// takes the other for silent. Without the cap it goes on within a second.
func TestALargeCommandIsPaidForByWhatFollows(t *testing.T) {
	bubble(t, func(t *testing.T, p *pair) {
		rate, random := capped(p), rand.New(rand.NewPCG(1, 2))
		rate.Store(throttle.Least)
		var met []error
		p.follow(func(c *SinkConfig) { c.Logger = lossesTo(&met) })
		p.us.write(noise(random, 2<<20))
		p.converge()
		p.us.write("small")
		time.Sleep(time.Minute)
		if l := p.sink.Lag(); p.us.Cursor() == p.eu.Cursor() || l.AtLeast || l.Commands != 1 || l.Seconds < 59 {
			t.Errorf("a minute later the lag is %+v", l)
		}
		rate.Store(0)
		time.Sleep(time.Second)
		if p.us.Cursor() != p.eu.Cursor() || len(met) > 0 {
			t.Errorf("without the cap nothing comes; ended by %v", met)
		}
	})
}

// A source that may serve no more ends the session also while it is held.
func TestASourceThatServesNoMoreIsLeftThoughItHolds(t *testing.T) {
	bubble(t, func(t *testing.T, p *pair) {
		rate, random := capped(p), rand.New(rand.NewPCG(1, 2))
		rate.Store(throttle.Least)
		p.follow()
		p.us.write(noise(random, 2<<20))
		p.converge()
		p.us.write("small")
		time.Sleep(2 * time.Second)
		p.us.mu.Lock()
		p.us.serving = ErrRefused
		p.us.mu.Unlock()
		time.Sleep(2 * time.Second)
		if slots := p.source.Slots(); len(slots) != 0 {
			t.Errorf("still serves %+v", slots)
		}
	})
}

// The first batch of a session is no larger than others: where it took longer on the link than anybody waits for a
// word, each session would end with it, and nothing would ever come.
func TestTheFirstBatchIsHeldToTheCapToo(t *testing.T) {
	bubble(t, func(t *testing.T, p *pair) {
		const cap, size, count = 64 << 10, 16 << 10, 40
		rate, random := capped(p), rand.New(rand.NewPCG(1, 2))
		rate.Store(cap)
		for range count {
			p.us.write(noise(random, size))
		}
		p.follow()
		wait(t, "something comes", func() bool { return p.eu.Cursor().Position > 0 })
		if at := p.eu.Cursor().Position; at*size > cap+size {
			t.Errorf("%d bytes come at once, in a second %d may", at*size, cap)
		}
		p.converge()
	})
}
