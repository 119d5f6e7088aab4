package stream

import (
	"context"
	"errors"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/mimir-kv/mimir/replication/transport"
)

// ways are by whom a test has a sink follow, and what that told of it.
type ways struct {
	mu     sync.Mutex
	now    Way
	missed []string
}

func (w *ways) set(to Way) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.now = to
}

func (w *ways) of(c *SinkConfig) {
	c.Way = func() Way {
		w.mu.Lock()
		defer w.mu.Unlock()
		return w.now
	}
	c.Missed = func(m Way) {
		w.mu.Lock()
		defer w.mu.Unlock()
		w.missed = append(w.missed, m.Region)
		w.now = Way{}
	}
}

// withAP calls do with a region ap that has the history of us so far and serves it.
func withAP(t *testing.T, do func(p *pair, ap *region, w *ways)) {
	bubble(t, func(t *testing.T, p *pair) {
		ap := newRegion(t, "ap")
		defer ap.log.Close()
		p.serve()
		p.us.write("a")
		eu := p.eu
		p.eu = ap
		p.follow()
		p.converge()
		p.stop()
		p.eu = eu
		p.join("ap-1", ap, func(c *SourceConfig) { c.Region, c.Log = "ap", ap.log })
		do(p, ap, &ways{now: Way{Region: "ap", Addresses: []string{"ap-1"}, Epoch: 1}})
	})
}

// A sink follows by another region while it is to, and the source itself as soon as nobody serves there or it is told.
func TestTheSourceIsFollowedByAnotherRegion(t *testing.T) {
	withAP(t, func(p *pair, ap *region, w *ways) {
		p.follow(w.of)
		by := func(region string) {
			t.Helper()
			wait(t, "eu follows by "+region, func() bool {
				s := p.sink.Status()
				return s.Connected && s.Way == region && p.eu.Cursor() == ap.Cursor()
			})
		}
		by("ap")
		p.us.write("b") // which ap has not
		time.Sleep(10 * time.Second)
		if p.eu.Cursor() != ap.Cursor() || len(w.missed) != 0 {
			t.Errorf("at %+v, ap is at %+v, missed %v", p.eu.Cursor(), ap.Cursor(), w.missed)
		}
		w.set(Way{})
		began := time.Now()
		p.converge()
		if d := time.Since(began); d > 2*time.Second {
			t.Errorf("the source was followed after %v", d)
		}
		w.set(Way{Region: "ap", Addresses: []string{"ap-1"}, Epoch: 1}) // which is behind by now
		time.Sleep(1500 * time.Millisecond)
		if s := p.sink.Status(); s.Connected {
			t.Errorf("does not wait for ap: %+v", s)
		}
		p.us.write("c")
		p.converge()
		if !slices.Equal(w.missed, []string{"ap"}) {
			t.Errorf("missed %v", w.missed)
		}
		w.set(Way{Region: "ap", Addresses: []string{"nobody"}})
		time.Sleep(5 * time.Second)
		p.us.write("d")
		p.converge()
	})
}

// What a region on the way says of forks and copies is not the source's word, and one that is not in the source's epoch
// yet is not followed.
func TestARegionOnTheWayDecidesNothing(t *testing.T) {
	for name, spoil := range map[string]func(p *pair, ap *region, w *ways){
		"a fork": func(p *pair, ap *region, _ *ways) {
			p.us.begin(2)
			p.follow()
			p.converge()
			p.stop()
			ap.write("else")
			ap.begin(3)
		},
		"an old epoch": func(p *pair, _ *region, w *ways) { p.us.begin(2); w.now.Epoch = 2 },
	} {
		withAP(t, func(p *pair, ap *region, w *ways) {
			spoil(p, ap, w)
			p.follow(w.of)
			p.us.write("b")
			p.converge()
			if !slices.Contains(w.missed, "ap") {
				t.Errorf("%s: missed %v", name, w.missed)
			}
		})
	}
}

// That a copy has to be taken another region is believed while the source is silent, and not at once.
func TestAGapIsTheWordOfAnotherRegionWhileTheSourceIsSilent(t *testing.T) {
	for name, silent := range map[string]bool{"the source is silent": true, "the source answers": false} {
		withAP(t, func(p *pair, ap *region, w *ways) {
			for range 40 {
				ap.write(strings.Repeat("x", 8<<10))
			}
			if err := ap.log.Compact(ap.index - 2); err != nil {
				t.Fatal(err)
			}
			p.network.Crash(usAddress)
			if !silent {
				p.join(usAddress, p.us, func(c *SourceConfig) {
					c.Bars = func(string) error { return errors.New("not you") }
				})
			}
			defer p.newSink(func(c *SinkConfig) { c.Way = func() Way { return w.now } })()
			ctx, cancel := context.WithTimeout(context.Background(), 2*time.Minute)
			defer cancel()
			began := time.Now()
			err := p.sink.Run(ctx)
			var gap *BootstrapError
			if errors.As(err, &gap) != silent || time.Since(began) < silentSource {
				t.Errorf("%s: after %v %v", name, time.Since(began), err)
			}
		})
	}
}

// A source that did not answer once, and served since, has not been silent since then.
func TestASourceThatServedIsNotSilentYet(t *testing.T) {
	withAP(t, func(p *pair, ap *region, w *ways) {
		by := w.now
		w.set(Way{})
		p.network.Crash(usAddress)
		defer p.newSink(func(c *SinkConfig) { w.of(c); c.Missed = nil })()
		ended := make(chan error, 1)
		ctx, cancel := context.WithTimeout(context.Background(), 10*time.Minute)
		defer cancel()
		go func() { ended <- p.sink.Run(ctx) }()
		time.Sleep(2 * time.Second) // it does not answer
		p.join(usAddress, p.us)
		p.converge()
		time.Sleep(time.Minute)
		for range 40 {
			ap.write(strings.Repeat("x", 8<<10))
		}
		if err := ap.log.Compact(ap.index - 2); err != nil {
			t.Fatal(err)
		}
		p.network.Crash(usAddress)
		w.set(by)
		began := time.Now()
		err := <-ended
		var gap *BootstrapError
		if took := time.Since(began); !errors.As(err, &gap) || took < silentSource {
			t.Errorf("after a silence of %v: %v", took, err)
		}
	})
}

// TestASilenceOfManyNodesIsOne: the nodes of a source that is cut off answer nothing, one after the other, for longer
// than it takes until the region that told of the gap is one to follow again.
func TestASilenceOfManyNodesIsOne(t *testing.T) {
	withAP(t, func(p *pair, ap *region, w *ways) {
		for range 40 {
			ap.write(strings.Repeat("x", 8<<10))
		}
		if err := ap.log.Compact(ap.index - 2); err != nil {
			t.Fatal(err)
		}
		by, missed := w.now, time.Now().Add(-time.Hour)
		defer p.newSink(func(c *SinkConfig) {
			c.Addresses = func() []string { return []string{"us-1", "us-2", "us-3"} }
			c.Transport = deaf{c.Transport}
			c.Missed = func(Way) { w.mu.Lock(); defer w.mu.Unlock(); missed = time.Now() }
			c.Way = func() Way {
				w.mu.Lock()
				defer w.mu.Unlock()
				if time.Since(missed) < 10*time.Second {
					return Way{}
				}
				return by
			}
		})()
		ctx, cancel := context.WithTimeout(context.Background(), 10*time.Minute)
		defer cancel()
		began := time.Now()
		err := p.sink.Run(ctx)
		var gap *BootstrapError
		if took := time.Since(began); !errors.As(err, &gap) || took < silentSource || took > 2*time.Minute {
			t.Errorf("after %v: %v", took, err)
		}
	})
}

// deaf is a network that brings nothing to us.
type deaf struct{ transport.Transport }

func (d deaf) Open(ctx context.Context, addr, service string) (transport.Stream, error) {
	if strings.HasPrefix(addr, "us-") {
		<-ctx.Done()
		return nil, ctx.Err()
	}
	return d.Transport.Open(ctx, addr, service)
}
