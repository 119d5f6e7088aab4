package stream

import (
	"context"
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/mimir-kv/mimir/replication/clock"
	"github.com/mimir-kv/mimir/replication/clock/virtual"
	"github.com/mimir-kv/mimir/replication/timeline"
	"github.com/mimir-kv/mimir/replication/transport"
	"github.com/mimir-kv/mimir/replication/transport/memory"
)

// place is a region that follows the one before it and serves the one after it.
type place struct {
	*region
	network *memory.Network
	before  *place // nil for the primary
	node    transport.Transport
	sink    *Sink
	stop    func()
	random  *rand.Rand
}

func (p *place) start() {
	p.node = p.network.Node(p.name)
	source := NewSource(SourceConfig{
		Region: p.name, Log: p.log, History: p.region, Logger: quiet,
		WindowBytes: 128 << 10, BatchBytes: 64 << 10,
	})
	if err := p.node.Serve(map[string]transport.Handler{Service: source.Handle}); err != nil {
		p.t.Fatal(err)
	}
	p.stop = func() {}
	if p.before == nil {
		return
	}
	p.sink = NewSink(SinkConfig{
		Region: p.name, Transport: p.node, Taker: p.region, Logger: quiet, WindowBytes: 96 << 10,
		Addresses: func() []string { return []string{p.before.name} },
		Rand:      rand.New(rand.NewPCG(p.random.Uint64(), 0)),
	})
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	sink := p.sink
	go func() { done <- sink.Run(ctx) }()
	p.stop = func() {
		cancel()
		if err := <-done; err != context.Canceled {
			p.t.Errorf("sink of %s ended with %v", p.name, err)
		}
	}
}

// halt ends the process; the disk loses what was not synced if crash is set.
func (p *place) halt(crash bool) {
	p.network.Crash(p.name)
	p.stop()
	p.node.Close()
	if crash {
		p.restart()
	}
}

// chaos does one thing that may happen.
func (p *place) chaos(all []*place) {
	r := p.random
	other := all[r.IntN(len(all))]
	switch r.IntN(10) {
	case 0:
		p.network.Break(p.name, other.name)
	case 1:
		p.network.Cut(p.name, other.name)
	case 2, 3:
		p.network.HealAll()
	case 4:
		p.halt(true)
		p.start()
	case 5:
		p.halt(false)
		p.start()
	case 6:
		p.mu.Lock()
		p.refuseAfter = 1 + r.IntN(20)
		p.mu.Unlock()
	case 7: // commits stall for a while
		p.mu.Lock()
		p.hold = true
		p.mu.Unlock()
	case 8:
		p.mu.Lock()
		p.hold = false
		p.commit()
		p.mu.Unlock()
	case 9: // another leader: what did not commit is replaced, and whoever fed the old one has to stop
		p.halt(false)
		p.mu.Lock()
		p.hold = false
		p.replace()
		p.mu.Unlock()
		p.start()
	}
}

// writes lets the primary do one thing that changes the log.
func (p *place) writes(step int) {
	r := p.random
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.last > p.index { // a leader knows what it proposed; one proposal in the dark is enough here
		return
	}
	s := p.machine.State()
	at := s.Cursor
	control := func(c timeline.Control) []byte {
		b, err := timeline.EncodeControl(&c)
		if err != nil {
			p.t.Fatal(err)
		}
		return b
	}
	switch r.IntN(8) {
	case 0:
		p.propose(reignAt(at, at.Epoch+1+timeline.Epoch(r.IntN(2)), p.name))
	case 1: // a handoff that is aborted
		p.propose(
			control(timeline.Control{Op: timeline.OpSeal, Epoch: at.Epoch, Handoff: s.Handoffs + 1, To: "eu"}),
			control(timeline.Control{Op: timeline.OpUnseal, Epoch: at.Epoch, Handoff: s.Handoffs + 1}))
	case 2: // entries that do not continue the history
		gap, old := at, at
		gap.Position += 10
		p.propose(frame(gap, "from nowhere"))
		if old.Epoch--; old.Epoch > 0 {
			p.propose(frame(old, "of an old epoch"))
		}
		if at.Position > 0 {
			p.propose(frame(timeline.Cursor{Epoch: 1}, "twice"))
		}
	default:
		p.propose(frame(at, numbered(fmt.Sprint(step, strings.Repeat("-", r.IntN(300))), 0, 1+r.IntN(40))...))
	}
}

// Whatever breaks, each region's history is at every moment a prefix of that of the region before it, and in the end
// they are equal.
func TestFaults(t *testing.T) {
	seeds := 15
	if testing.Short() {
		seeds = 5
	}
	for seed := range uint64(seeds) {
		t.Run(fmt.Sprint(seed), func(t *testing.T) {
			virtual.Test(t, func(t *testing.T) { runFaults(t, seed) })
		})
	}
}

func runFaults(t *testing.T, seed uint64) {
	network := memory.NewNetwork(clock.Real, seed)
	random := rand.New(rand.NewPCG(seed, 7))
	var all []*place
	for i, name := range []string{"us", "eu", "asia"} {
		p := &place{region: newRegion(t, name), network: network, random: random}
		if i > 0 {
			p.before = all[i-1]
			network.SetDelay(name, p.before.name, time.Duration(random.IntN(50))*time.Millisecond, 5*time.Millisecond)
		}
		all = append(all, p)
	}
	us := all[0]
	us.begin(1)
	for _, p := range all {
		p.start()
	}
	defer func() {
		if t.Failed() {
			for _, p := range all {
				t.Logf("%s is at %+v", p.name, p.Cursor())
				if p.sink != nil {
					t.Logf("%s: %+v", p.name, p.sink.Status())
				}
			}
		}
		for i := len(all) - 1; i >= 0; i-- {
			all[i].halt(false)
			all[i].log.Close()
		}
	}()
	for step := range 150 {
		for range random.IntN(4) {
			us.writes(step)
		}
		if random.IntN(3) == 0 {
			all[random.IntN(len(all))].chaos(all)
		}
		time.Sleep(time.Duration(random.IntN(200)) * time.Millisecond)
		for _, p := range all[1:] {
			mine, source := p.texts(), p.before.texts()
			if len(mine) > len(source) || !slices.Equal(mine, source[:len(mine)]) {
				t.Fatalf("step %d: history of %s (%d) is no prefix of that of %s (%d)", step, p.name, len(mine),
					p.before.name, len(source))
			}
		}
	}
	network.HealAll()
	for _, p := range all {
		p.mu.Lock()
		p.hold, p.refuseAfter = false, 0
		p.commit()
		p.mu.Unlock()
	}
	wait(t, "all regions are equal", func() bool {
		return us.Cursor() == all[1].Cursor() && us.Cursor() == all[2].Cursor() || t.Failed()
	})
}
