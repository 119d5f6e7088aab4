package raftgroup

import (
	"context"
	"flag"
	"fmt"
	"math/rand/v2"
	"strings"
	"testing"
	"time"

	"github.com/mimir-kv/mimir/replication/clock/virtual"
)

var (
	seeds    = flag.Int("seeds", 20, "how many seeds TestRandomFaults runs")
	onlySeed = flag.Uint64("seed", 0, "the only seed TestRandomFaults runs, if not 0")
)

// Invariants 1 and 5 under crashes, power cuts, partitions, delays and released log: an entry that its proposer applied
// is never lost, nothing is applied twice or in another order anywhere, and once faults stop, all members agree.
func TestRandomFaults(t *testing.T) {
	if *onlySeed != 0 {
		faults(t, *onlySeed)
		return
	}
	for seed := range uint64(*seeds) {
		t.Run(fmt.Sprint(seed+1), func(t *testing.T) { faults(t, seed+1) })
	}
}

func faults(t *testing.T, seed uint64) {
	virtual.Test(t, func(t *testing.T) {
		random := rand.New(rand.NewPCG(seed, 7))
		c := newCluster(t, []int{1, 3, 3, 5}[random.IntN(4)])
		c.random = random
		c.tune = func(config *Config) { config.CompactBytes, config.MaxMessageBytes = 2<<10, 1<<10 }
		c.net.SetDetection(50 * time.Millisecond)
		c.net.SetDelay("", "", time.Millisecond, time.Duration(random.IntN(10))*time.Millisecond)
		c.startAll()
		defer c.close()
		acknowledged := map[string]bool{}
		for step := range 60 {
			c.fault(random)
			for range random.IntN(5) {
				if data := fmt.Sprint("w", step, "-", random.Uint32()); c.tryWrite(data, random.IntN(600)) {
					acknowledged[data] = true
				}
			}
		}
		c.heal()
		c.write("end")
		c.converge()
		count := map[string]int{}
		for _, r := range c.leader().machine.records() {
			key := r.Data
			for i := range key {
				if key[i] == ' ' {
					key = key[:i]
					break
				}
			}
			count[key]++
		}
		for data := range acknowledged {
			if count[data] != 1 {
				t.Errorf("seed %d: write %s was acknowledged and is there %d times", seed, data, count[data])
			}
		}
		if len(acknowledged) == 0 {
			t.Errorf("seed %d: nothing was written", seed)
		}
	})
}

// fault does one bad thing, or undoes one.
func (c *cluster) fault(random *rand.Rand) {
	id := random.Uint64N(uint64(len(c.peers))) + 1
	other := random.Uint64N(uint64(len(c.peers))) + 1
	m := c.members[id]
	switch random.IntN(12) {
	case 0, 1:
		if m.running {
			c.crash(id)
		}
	case 2, 3, 4:
		if !m.running {
			c.start(id)
		}
	case 5:
		c.net.Isolate(m.addr)
	case 6, 7:
		c.net.HealAll()
	case 8:
		if id != other {
			c.net.Cut(m.addr, c.members[other].addr)
		}
	case 9:
		if m.running {
			ctx, cancel := context.WithTimeout(context.Background(), 50*time.Millisecond)
			_ = m.group.TransferLeader(ctx, other)
			cancel()
		}
	case 10: // a power cut of everything
		if random.IntN(3) == 0 {
			for id := range uint64(len(c.peers)) {
				c.crash(id + 1)
			}
			c.startAll()
		}
	}
	time.Sleep(time.Duration(random.IntN(200)) * time.Millisecond)
}

func (c *cluster) heal() {
	c.net.HealAll()
	for id, m := range c.members {
		if !m.running {
			c.start(id)
		}
	}
}

// tryWrite proposes data, with padding, at whoever leads, and reports whether it was acknowledged in time.
func (c *cluster) tryWrite(data string, padding int) bool {
	for _, m := range c.members {
		if !m.running || !m.group.Status().IsLeader {
			continue
		}
		term := m.group.Status().Term
		payload := []byte(data + " " + strings.Repeat("x", padding)) // zeros would be six times as long in a state
		index, err := m.group.Propose(context.Background(), term, [][]byte{payload})
		if err != nil {
			continue
		}
		for range 50 {
			if m.group.Applied() >= index {
				return m.machine.holds(index, term)
			}
			time.Sleep(time.Millisecond)
		}
		return false
	}
	return false
}
