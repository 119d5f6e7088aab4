package replication_test

import (
	"context"
	"log/slog"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/mimir-kv/mimir/replication"
	"github.com/mimir-kv/mimir/replication/contract"
)

// blob is a large write that ends with a name.
func blob(name string) string { return strings.Repeat("x", 512) + name }

// putMany writes count large commands at a node and returns them.
func (f *testFleet) putMany(node, prefix string, count int) (written []string) {
	f.t.Helper()
	for i := range count {
		v := blob(prefix + string(rune('a'+i%26)))
		f.put(node, v)
		written = append(written, v)
	}
	return written
}

// A region that is away while another takes over has no slot; the log does not grow with what is written meanwhile.
func TestALogIsBoundedThoughARegionIsAwaySinceTheTakeover(t *testing.T) {
	small := func(c *replication.Config) {
		c.RetainBytes, c.CompactBytes, c.SegmentBytes = 16<<10, 4<<10, 4<<10
	}
	shaped(t, map[string]int{"us": 1, "eu": 3}, small, func(f *testFleet) {
		var want []string
		for range 3 { // so much that no node has all of the log
			want = append(want, f.putMany("us-1", "before", 30)...)
			time.Sleep(5 * time.Second)
		}
		f.eventually(want)
		f.kill("us-1")
		if _, err := f.nodes["eu-1"].Failover(f.t.Context(), "eu", true); err != nil {
			t.Fatal(err)
		}
		for range 8 {
			want = append(want, f.putMany("eu-1", "away", 40)...)
			time.Sleep(5 * time.Second)
			for _, name := range f.regions["eu"] {
				if n := f.nodes[name].Health().LogBytes; n > 64<<10 {
					t.Fatalf("%s holds %d bytes of log after %d writes of 512 bytes, RetainBytes is 16 KiB", name, n,
						len(want))
				}
			}
		}
		given := false
		for _, name := range f.regions["eu"] {
			for _, s := range f.nodes[name].Health().Slots {
				given = given || s.Region == "us" && s.Lost
			}
		}
		if !given {
			t.Error("no node says that us will bootstrap")
		}
		f.start("us-1")
		f.eventually(want)
	})
}

// A bootstrap takes one copy, however much more than RetainBytes is written before the region follows again, whatever
// becomes of the node that gave the copy, and of a node that should have it.
func TestABootstrapTakesOneCopyWhileWritesGoOn(t *testing.T) {
	for _, c := range []struct {
		name string
		act  func(f *testFleet) // once the copy is on its way
	}{
		{"in peace", func(*testFleet) {}},
		{"a sibling is silent", func(f *testFleet) {
			f.network.SetDetection(time.Hour)
			leader := f.whoLeads("eu")
			for _, name := range f.regions["eu"] {
				if name != leader {
					f.network.Isolate(name)
					return
				}
			}
		}},
		{"the node that gave the copy is gone", func(f *testFleet) {
			f.within(time.Minute, "the copy is installed", func() bool {
				return f.said.of("installed the state of the source") > 0
			})
			f.kill(f.giver)
		}},
	} {
		t.Run(c.name, func(t *testing.T) {
			said := &lines{count: map[string]int{}}
			small := func(c *replication.Config) {
				c.RetainBytes, c.CompactBytes, c.SegmentBytes = 8<<10, 4<<10, 4<<10
				c.Logger = slog.New(said)
			}
			shaped(t, map[string]int{"us": 3, "eu": 3}, small, func(f *testFleet) {
				f.bootstrapUnderLoad(said, c.act)
			})
		})
	}
}

func (f *testFleet) bootstrapUnderLoad(said *lines, act func(f *testFleet)) {
	f.said = said
	f.eventually(f.putMany("us-1", "before", 4))
	for _, us := range f.regions["us"] {
		for _, eu := range f.regions["eu"] {
			f.network.SetDelay(us, eu, 300*time.Millisecond, 0)
		}
	}
	for _, name := range f.regions["eu"] {
		f.stop(name)
	}
	f.putMany("us-1", "away", 100)
	time.Sleep(10 * time.Second)
	ctx, cancel := context.WithCancel(f.t.Context())
	var writing sync.WaitGroup
	writing.Go(func() { f.keepWriting(ctx) })
	for _, name := range f.regions["eu"] {
		f.start(name)
	}
	f.within(time.Minute, "the copy is on its way", func() bool {
		b := f.nodes[f.whoLeads("eu")].Health().Bootstrap
		if b != nil && b.Phase == contract.BootstrapFetching {
			f.giver = b.From
		}
		return f.giver != ""
	})
	if f.nodes[f.giver].IsLeader() {
		f.t.Errorf("%s gives the copy, which leads us", f.giver)
	}
	act(f)
	from := f.nodes[f.whoLeads("us")].Health().Position
	f.within(time.Minute, "eu follows again", func() bool {
		h := f.nodes[f.whoLeads("eu")].Health()
		return h.Position > from && h.Lag.Seconds >= 0 && h.Lag.Seconds < 10
	})
	cancel()
	writing.Wait()
	f.network.HealAll()
	if n := said.of("sends its state"); n != 1 {
		f.t.Errorf("%d copies were sent", n)
	}
}

// keepWriting writes more in a second than is retained.
func (f *testFleet) keepWriting(ctx context.Context) {
	for i := 0; ctx.Err() == nil; i++ {
		name := f.regions["us"][i%3]
		if !f.nodes[name].up.Load() {
			continue
		}
		putting, cancel := context.WithTimeout(ctx, time.Second)
		_, _ = f.nodes[name].Propose(putting, []*replication.Command{{Data: []byte(blob("during"))}})
		cancel()
		time.Sleep(50 * time.Millisecond)
	}
}

// whoLeads waits for a node that leads a region, whatever nodes that are cut off believe.
func (f *testFleet) whoLeads(region string) (leader string) {
	f.t.Helper()
	f.within(time.Minute, region+" has a leader", func() bool {
		for _, name := range f.regions[region] {
			if f.nodes[name].up.Load() && f.nodes[name].IsLeader() {
				leader = name
				return true
			}
		}
		return false
	})
	return leader
}
