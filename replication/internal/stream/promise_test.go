package stream

import (
	"context"
	"errors"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/mimir-kv/mimir/replication/clock/virtual"
	"github.com/mimir-kv/mimir/replication/timeline"
)

// Invariant 3.
func TestOnlyCommittedIsSent(t *testing.T) {
	bubble(t, func(t *testing.T, p *pair) {
		p.us.write("a")
		p.us.mu.Lock()
		p.us.hold = true
		p.us.mu.Unlock()
		p.us.write("never committed")
		p.serve()
		p.follow()
		p.converge()
		time.Sleep(10 * time.Second)
		p.us.mu.Lock()
		p.us.hold = false
		p.us.replace() // another leader had something else in its place
		p.us.mu.Unlock()
		p.us.write("b")
		p.converge()
		if got := p.eu.texts(); !slices.Equal(got, []string{"a", "b"}) {
			t.Errorf("eu holds %v", got)
		}
	})
}

// What is taken but not committed by the secondary's quorum is not acknowledged.
func TestAcknowledgesOnlyWhatIsCommitted(t *testing.T) {
	bubble(t, func(t *testing.T, p *pair) {
		var mu sync.Mutex
		var acked []timeline.Position
		p.us.write("a", "b")
		p.serve(func(c *SourceConfig) {
			c.OnAck = func(region string, _ timeline.Epoch, position timeline.Position) {
				mu.Lock()
				defer mu.Unlock()
				if held := p.eu.Cursor().Position; region != "eu" || position > held {
					t.Errorf("%s acknowledged %d, and holds %d", region, position, held)
				}
				acked = append(acked, position)
			}
		})
		p.eu.hold = true
		p.follow()
		wait(t, "eu has taken everything", func() bool {
			p.eu.mu.Lock()
			defer p.eu.mu.Unlock()
			return p.eu.last == 2
		})
		time.Sleep(10 * time.Second)
		if slot := p.source.Slots(); len(slot) != 1 || slot[0].Acknowledged != 0 || slot[0].Sent != 2 {
			t.Errorf("slots are %+v", slot)
		}
		p.eu.mu.Lock()
		p.eu.hold = false
		p.eu.commit()
		p.eu.mu.Unlock()
		wait(t, "it is acknowledged", func() bool { return p.source.Slots()[0].Acknowledged == 2 })
		mu.Lock()
		defer mu.Unlock()
		if !slices.Equal(acked, []timeline.Position{0, 2}) {
			t.Errorf("acknowledged %v", acked)
		}
	})
}

// A secondary that commits nothing is sent no more than its window, and nothing else of the source waits for it.
func TestWindowBoundsWhatIsOnItsWay(t *testing.T) {
	bubble(t, func(t *testing.T, p *pair) {
		const window = 256 << 10
		p.serve(func(c *SourceConfig) { c.BatchBytes = 64 << 10 })
		p.eu.hold = true
		p.follow(func(c *SinkConfig) { c.WindowBytes = window })
		for range 100 {
			p.us.write(strings.Repeat("x", 10<<10))
		}
		time.Sleep(time.Minute) // pings go on: a slow secondary is not a dead one
		slots := p.source.Slots()
		if len(slots) != 1 || p.eu.last < 10 || p.eu.last > window/(10<<10)+1 {
			t.Fatalf("%d entries arrived with a window of %d bytes; slots are %+v", p.eu.last, window, slots)
		}
		if l := slots[0].Lag; l.Commands != 100 || l.Bytes < 100*10<<10 || l.Seconds < 60 && l.Known {
			t.Errorf("lag is %+v", l)
		}
		if slots[0].Since.After(time.Now().Add(-time.Minute)) {
			t.Errorf("the session was lost: since %v", slots[0].Since)
		}
		p.eu.mu.Lock()
		p.eu.hold = false
		p.eu.commit()
		p.eu.mu.Unlock()
		p.converge()
	})
}

// The log stays for what a connected secondary still needs, and goes once it is acknowledged.
func TestPinsWhatIsNotAcknowledged(t *testing.T) {
	bubble(t, func(t *testing.T, p *pair) {
		p.serve()
		p.eu.hold = true
		p.follow()
		wait(t, "the session runs", func() bool { return len(p.source.Slots()) == 1 })
		for range 50 {
			p.us.write(strings.Repeat("x", 10<<10))
		}
		time.Sleep(time.Second)
		compact := func() timeline.Position {
			if err := p.us.log.Compact(p.us.View().Index); err != nil {
				t.Fatal(err)
			}
			first, _ := p.us.log.FirstPosition()
			return first
		}
		if first := compact(); first > 0 {
			t.Errorf("log begins after %d, nothing is acknowledged", first)
		}
		p.eu.mu.Lock()
		p.eu.hold = false
		p.eu.commit()
		p.eu.mu.Unlock()
		p.converge()
		time.Sleep(time.Second)
		if first := compact(); first < 30 {
			t.Errorf("log begins after %d, everything is acknowledged", first)
		}
	})
}

func TestSessionsAreTold(t *testing.T) {
	bubble(t, func(t *testing.T, p *pair) {
		var told []bool
		p.serve(func(c *SourceConfig) {
			c.OnSession = func(region string, connected bool) { told = append(told, connected) }
		})
		p.follow()
		p.converge()
		p.network.Break(usAddress, euAddress)
		p.us.write("a")
		p.converge()
		p.stop()
		wait(t, "the session is over", func() bool { return len(p.source.Slots()) == 0 })
		virtual.Wait()
		if !slices.Equal(told, []bool{true, false, true, false}) {
			t.Errorf("told %v", told)
		}
	})
}

// A silent link ends the session on both sides, and the next one goes on.
func TestSilence(t *testing.T) {
	bubble(t, func(t *testing.T, p *pair) {
		p.network.SetDetection(time.Hour)
		p.serve()
		p.follow()
		p.converge()
		p.network.Cut(usAddress, euAddress)
		p.us.write("a")
		time.Sleep(7 * time.Second)
		if slots := p.source.Slots(); len(slots) != 0 {
			t.Errorf("slots are %+v", slots)
		}
		if s := p.sink.Status(); s.Connected || !errors.Is(s.Err, ErrSilent) {
			t.Errorf("status is %+v", s)
		}
		p.network.HealAll()
		p.converge()
	})
}

// Invariant 14, in virtual time: what the sink reports is never less than what is true.
func TestLagIsAnUpperBound(t *testing.T) {
	bubble(t, func(t *testing.T, p *pair) {
		const delay = 40 * time.Millisecond
		p.network.SetDelay(usAddress, euAddress, delay, 10*time.Millisecond)
		var written []time.Time
		p.serve()
		p.follow()
		if p.sink.Lag().Known {
			t.Error("lag known before anything was heard")
		}
		for i := range 400 {
			if i == 150 {
				p.network.Cut(usAddress, euAddress)
			}
			if i == 250 {
				p.network.HealAll()
			}
			p.us.write(numbered("w", i, 1)...)
			written = append(written, time.Now())
			time.Sleep(time.Duration(1+i%7) * 10 * time.Millisecond)
			held := len(p.eu.texts())
			lag := p.sink.Lag()
			slots := p.source.Slots()
			real := 0.0
			if held < len(written) {
				real = time.Since(written[held]).Seconds()
			}
			if lag.Known && lag.Seconds < real {
				t.Fatalf("write %d: lag of %.3fs reported, %.3fs real", i, lag.Seconds, real)
			}
			if len(slots) == 0 || !slots[0].Lag.Known {
				continue
			}
			bytes := p.us.View().Bytes - p.eu.View().Bytes
			if l := slots[0].Lag; l.Seconds < real || int(l.Commands) < len(written)-held || l.Bytes < bytes {
				t.Fatalf("write %d: slot %+v, real are %.3fs, %d commands and %d bytes", i, slots[0], real,
					len(written)-held, bytes)
			}
		}
		p.converge()
		time.Sleep(3 * time.Second)
		if lag := p.sink.Lag(); !lag.Known || lag.Commands != 0 || lag.Bytes != 0 || lag.Seconds > 1.2 {
			t.Errorf("idle, the lag is %+v", lag)
		}
	})
}

// A follower that does not hear its own leader serves what it has, but does not make the secondary believe that it is
// up to date.
func TestLagSeesPastALaggingSource(t *testing.T) {
	bubble(t, func(t *testing.T, p *pair) {
		var committed timeline.Position // in us
		var mu sync.Mutex
		p.serve(func(c *SourceConfig) {
			c.Committed = func(ctx context.Context) (timeline.Position, error) {
				mu.Lock()
				defer mu.Unlock()
				return committed, nil
			}
		})
		p.follow()
		p.converge()
		time.Sleep(5 * time.Second)
		if l := p.sink.Lag(); !l.Known || l.Seconds > 1.1 {
			t.Errorf("lag is %+v", l)
		}
		mu.Lock()
		committed = 5 // and this node has none of it
		mu.Unlock()
		time.Sleep(20 * time.Second)
		if l := p.sink.Lag(); l.Known && l.Seconds < 19 || !p.sink.Status().Connected {
			t.Errorf("lag is %+v, status %+v", l, p.sink.Status())
		}
		p.us.write("1", "2", "3", "4", "5")
		p.converge()
		time.Sleep(2 * time.Second)
		if l := p.sink.Lag(); l.Seconds > 2 {
			t.Errorf("lag is %+v", l)
		}
	})
}

// What came after the seal of a reign is in the log of the old primary and in no history, whether a subscriber was
// there or comes later.
func TestFramesAfterASealAreNotSent(t *testing.T) {
	for _, late := range []bool{false, true} {
		bubble(t, func(t *testing.T, p *pair) {
			p.us.write("a")
			p.serve()
			if !late {
				p.follow()
				p.converge()
			}
			at := p.us.Cursor()
			p.us.control(&timeline.Control{Op: timeline.OpSeal, Epoch: 1, Handoff: 1, To: "asia"})
			p.us.write("refused")
			p.us.write("refused as well")
			time.Sleep(5 * time.Second)
			p.us.mu.Lock()
			p.us.propose(reignAt(at, 2, "asia"))
			p.us.propose(frame(at, "of a reign that is over"))
			p.us.mu.Unlock()
			p.us.write("b")
			if late {
				p.follow()
			}
			p.converge()
			if got := p.eu.texts(); !slices.Equal(got, []string{"a", "b"}) {
				t.Errorf("eu holds %v", got)
			}
		})
	}
}
