package e2e

import (
	"context"
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	clientv3 "go.etcd.io/etcd/client/v3"

	"github.com/mimir-kv/mimir/localfleet"
)

// pulse is what clients of all nodes do during one fault: at every node some workers use registers, one request after
// the other, and one puts keys of its own at a fixed rate, whatever became of those before. So a time without an
// acknowledgement is measured to within pulseEvery, however long requests hang.
type pulse struct {
	prefix  string
	began   time.Time
	cancel  context.CancelFunc
	workers sync.WaitGroup
	clients []*clientv3.Client
	regions []string       // of each client
	acks    []atomic.Int64 // of each client

	mu      sync.Mutex
	history []operation
}

const (
	pulseEvery     = 10 * time.Millisecond // over all nodes
	pulseTimeout   = 10 * time.Second      // so that one lives on beyond the lease of whom it waits for
	pulseLimit     = 1000                  // requests under way at one node
	pulseRegisters = 6
)

// startPulse begins at all nodes. The caller ends it.
func startPulse(ctx context.Context, nodes []*localfleet.Node, prefix string, rng *rand.Rand) (*pulse, error) {
	ctx, cancel := context.WithCancel(ctx)
	p := &pulse{prefix: prefix, began: time.Now(), cancel: cancel, acks: make([]atomic.Int64, len(nodes))}
	for _, n := range nodes {
		c, err := connect(n.Config.ListenClient)
		if err != nil {
			p.end()
			return nil, err
		}
		p.clients, p.regions = append(p.clients, c), append(p.regions, n.Config.Region)
	}
	for i := range nodes {
		for j := range workersPerNode {
			seed := rng.Uint64()
			p.workers.Go(func() { p.work(ctx, i, i*workersPerNode+j, rand.New(rand.NewPCG(seed, 0))) })
		}
		p.workers.Go(func() { p.beat(ctx, i, pulseEvery*time.Duration(len(nodes))) })
	}
	return p, nil
}

// end stops everything, and returns what happened. The outcome of what is interrupted is unknown.
func (p *pulse) end() []operation {
	p.cancel()
	p.workers.Wait()
	for _, c := range p.clients {
		c.Close()
	}
	p.clients = nil
	return p.history
}

// work does one request after the other.
func (p *pulse) work(ctx context.Context, at, id int, rng *rand.Rand) {
	known := map[string]string{}
	for i := 0; ctx.Err() == nil; i++ {
		key := fmt.Sprintf("%sregister/%d", p.prefix, rng.IntN(pulseRegisters))
		op := operation{client: id, key: key, kind: get}
		value := fmt.Sprintf("%s%d-%d", p.prefix, id, i)
		switch draw := rng.IntN(10); {
		case draw < 2:
			op.kind, op.value = put, value
		case draw < 5:
			op.kind, op.old, op.value = swap, known[key], value
		}
		pause := trafficPause
		if p.do(ctx, at, &op, trafficTimeout) != nil {
			pause = errorPause
		} else if op.kind == put || op.swapped {
			known[key] = op.value
		} else {
			known[key] = op.got
		}
		wait(ctx, pause)
	}
}

// beat puts a key of its own again and again.
func (p *pulse) beat(ctx context.Context, at int, every time.Duration) {
	var all sync.WaitGroup
	defer all.Wait()
	ticks := time.NewTicker(every)
	defer ticks.Stop()
	free := make(chan struct{}, pulseLimit)
	for i := 0; ; i++ {
		select {
		case <-ticks.C:
		case <-ctx.Done():
			return
		}
		select {
		case free <- struct{}{}:
		default:
			continue
		}
		key := fmt.Sprintf("%sown/%d/%06d", p.prefix, at, i)
		all.Go(func() {
			p.do(ctx, at, &operation{client: 1000 + at, key: key, kind: put, value: key}, pulseTimeout)
			<-free
		})
	}
}

// do does a request and notes what came of it.
func (p *pulse) do(ctx context.Context, at int, op *operation, timeout time.Duration) error {
	bounded, cancel := context.WithTimeout(ctx, timeout)
	defer cancel()
	op.at, op.began = at, time.Since(p.began)
	err := op.do(bounded, p.clients[at])
	op.ended, op.unknown = time.Since(p.began), err != nil
	p.mu.Lock()
	defer p.mu.Unlock()
	p.history = append(p.history, *op)
	if op.acknowledged() {
		p.acks[at].Add(1)
	}
	return err
}

func (op *operation) acknowledged() bool { return !op.unknown && (op.kind == put || op.swapped) }

// count is how many writes were acknowledged by the nodes of a region.
func (p *pulse) count(region string) (n int64) {
	for i := range p.regions {
		if p.regions[i] == region {
			n += p.acks[i].Load()
		}
	}
	return n
}

// more waits until the clients of each of the regions have so many acknowledgements more.
func (p *pulse) more(ctx context.Context, r *run, count int64, regions ...string) error {
	want := map[string]int64{}
	for _, name := range regions {
		want[name] = p.count(name) + count
	}
	return r.await(ctx, "clients write in "+strings.Join(regions, " and "), func(context.Context) string {
		for _, name := range regions {
			if missing := want[name] - p.count(name); missing > 0 {
				return fmt.Sprintf("%d of %d acknowledgements are missing in %s", missing, count, name)
			}
		}
		return ""
	})
}

// gap returns the longest time without an acknowledged write of any client of a region, "" for all, that touches the
// time from one instant to another.
func (p *pulse) gap(from, to time.Time, region string) (longest time.Duration) {
	p.mu.Lock()
	defer p.mu.Unlock()
	var times []time.Duration
	for _, op := range p.history {
		if op.acknowledged() && (region == "" || p.regions[op.at] == region) {
			times = append(times, op.ended)
		}
	}
	slices.Sort(times)
	for i := 1; i < len(times); i++ {
		if times[i] >= from.Sub(p.began) && times[i-1] <= to.Sub(p.began) {
			longest = max(longest, times[i]-times[i-1])
		}
	}
	return longest
}

// first returns how long after an instant the first write was acknowledged that ended then.
func (p *pulse) first(from time.Time) time.Duration {
	p.mu.Lock()
	defer p.mu.Unlock()
	least, after := time.Duration(0), from.Sub(p.began)
	for _, op := range p.history {
		if op.acknowledged() && op.ended > after && (least == 0 || op.ended-after < least) {
			least = op.ended - after
		}
	}
	return least
}
