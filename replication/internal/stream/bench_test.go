package stream

import (
	"context"
	"fmt"
	"math/rand/v2"
	"sync"
	"testing"

	"github.com/mimir-kv/mimir/replication/timeline"
)

// drain is a taker that commits at once and keeps nothing.
type drain struct {
	mu      sync.Mutex
	tracker *tracker
	reigns  []timeline.Reign
	changed chan struct{}
	target  timeline.Position
	done    chan struct{}
}

func newDrain() *drain {
	return &drain{tracker: newTracker(timeline.Cursor{}), changed: make(chan struct{}), done: make(chan struct{}, 1)}
}

func (d *drain) Cursor() timeline.Cursor {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.tracker.at
}

func (d *drain) Reigns() []timeline.Reign {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.reigns
}

func (d *drain) Changed() <-chan struct{} {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.changed
}

func (d *drain) Settle(context.Context) error { return nil }

func (d *drain) Take(ctx context.Context, payloads [][]byte) error {
	d.mu.Lock()
	defer d.mu.Unlock()
	for _, p := range payloads {
		h, _ := timeline.ReadHeader(p)
		if h.Kind == timeline.KindReign {
			if _, err := d.tracker.next(p); err != nil {
				return err
			}
		}
		d.tracker.at.Position = h.Last()
	}
	close(d.changed)
	d.changed = make(chan struct{})
	if d.tracker.at.Position >= d.target {
		select {
		case d.done <- struct{}{}:
		default:
		}
	}
	return nil
}

// fill writes frames of about 64 KiB until there are so many bytes.
func (p *pair) fill(bytes int, random bool) {
	rnd := rand.New(rand.NewPCG(1, 1))
	for written := 0; written < bytes; {
		var commands []string
		for range 64 {
			value := make([]byte, 1000)
			for i := range value {
				value[i] = "0123456789abcdef"[rnd.IntN(16)]
			}
			if !random {
				copy(value[100:], fmt.Appendf(nil,
					`{"kind":"Pod","apiVersion":"v1","metadata":{"name":"pod-%d",`+
						`"labels":{"app":"web","tier":"front"}},"status":"Running"}`,
					rnd.IntN(1000)))
				copy(value[300:], value[100:300])
				copy(value[500:], value[:500])
			}
			commands = append(commands, string(value))
			written += len(value)
		}
		p.us.write(commands...)
	}
}

// BenchmarkCatchUp streams 32 MiB of log from disk to a secondary that takes everything.
func BenchmarkCatchUp(b *testing.B) {
	for _, kind := range []string{"text", "random"} {
		b.Run(kind, func(b *testing.B) {
			p := newPair(b)
			defer p.close()
			p.fill(32<<20, kind == "random")
			p.serve()
			b.SetBytes(int64(p.us.counted))
			for b.Loop() {
				d := newDrain()
				d.target = p.us.Cursor().Position
				p.run(b, d, func() { <-d.done })
			}
		})
	}
}

// BenchmarkCommits commits frames one at a time, and waits until the last has arrived.
func BenchmarkCommits(b *testing.B) {
	p := newPair(b)
	defer p.close()
	p.serve()
	d := newDrain()
	p.run(b, d, func() {
		for b.Loop() {
			p.us.write("a command of some sixty bytes, which is what a small put takes up")
		}
		d.mu.Lock()
		d.target = p.us.Cursor().Position
		arrived := d.tracker.at.Position >= d.target
		d.mu.Unlock()
		if !arrived {
			<-d.done
		}
	})
}

// run lets d follow while f runs.
func (p *pair) run(b *testing.B, d *drain, f func()) {
	node := p.network.Node(euAddress)
	defer node.Close()
	sink := NewSink(SinkConfig{
		Region: "eu", Transport: node, Taker: d, Logger: quiet, WindowBytes: testWindow,
		Addresses: func() []string { return []string{usAddress} },
	})
	ctx, cancel := context.WithCancel(context.Background())
	var g sync.WaitGroup
	g.Go(func() {
		if err := sink.Run(ctx); err != context.Canceled {
			b.Error(err)
		}
	})
	f()
	cancel()
	g.Wait()
}
