package replication_test

import (
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/mimir-kv/mimir/replication"
	"github.com/mimir-kv/mimir/replication/contract"
)

// A region takes a copy at the rate that it is held to, and neither writes nor another region wait for that. Meanwhile
// every node tells how far it is, and never that it is further, or sooner there.
func TestABootstrapThatIsHeldToARateTellsHowFarItIs(t *testing.T) {
	const rate = 128 << 10
	small := func(c *replication.Config) {
		c.RetainBytes, c.CompactBytes, c.SegmentBytes = 128<<10, 1<<20, 32<<10
		c.RegionRate = func(region string, _ time.Time) (r replication.RegionRate) {
			if region == "eu" {
				r.Copy, r.Stream = rate, rate
			}
			return r
		}
	}
	shaped(t, map[string]int{"us": 3, "eu": 3, "ap": 1}, small, func(f *testFleet) {
		f.eventually(f.putMany("us-1", "before", 4))
		for _, name := range f.regions["eu"] {
			f.stop(name)
		}
		for i := range 30 {
			f.put("us-1", strings.Repeat(string(rune('a'+i%26)), 100<<10))
			time.Sleep(time.Second / 10)
		}
		for _, name := range f.regions["eu"] {
			f.start(name)
		}
		began, looks := time.Now(), f.watchBootstrap("eu", rate)
		if took := time.Since(began); took < 2500<<10/rate*time.Second { // the last chunk is not waited for
			t.Errorf("3 MB took %v at %d bytes a second", took, rate)
		}
		last := looks[len(looks)-1].at
		fetching := slices.DeleteFunc(slices.Clone(looks), func(l look) bool {
			return l.b.Phase != contract.BootstrapFetching
		})
		if len(fetching) < 10 {
			t.Fatalf("of %d looks %d saw files come", len(looks), len(fetching))
		}
		done := fetching[len(fetching)-1].at
		for _, l := range fetching {
			if l.b.LeftSeconds == nil {
				continue
			}
			if left := done.Sub(l.at); *l.b.LeftSeconds < left.Seconds()-2 {
				t.Errorf("%v before the files were here %v s were told to be left", left, *l.b.LeftSeconds)
			}
		}
		t.Logf("%d looks in %v", len(looks), last.Sub(began))
		var held replication.HeldStatus
		for _, name := range f.regions["us"] {
			for _, s := range f.nodes[name].Health().Held {
				if s.Of == "copy" && s.HeldSeconds > held.HeldSeconds {
					held = s
				}
			}
		}
		if held.Region != "eu" || held.BytesPerSecond != rate || held.HeldSeconds < 15 {
			t.Errorf("held %+v", held)
		}
		f.eventually(f.nodes["us-1"].ledger.commands())
	})
}

// look is what a node told of a bootstrap.
type look struct {
	at time.Time
	b  replication.Bootstrap
}

// watchBootstrap looks once a second how far a region is that takes a copy, until it follows, and returns what was
// told. Meanwhile writes go on, and reach the region ap at once.
func (f *testFleet) watchBootstrap(region string, rate float64) (looks []look) {
	f.t.Helper()
	for range 600 {
		time.Sleep(time.Second)
		wrote := time.Now()
		at := f.put("us-1", "meanwhile").Position
		f.within(time.Second, "ap has what was written", func() bool { return f.nodes["ap-1"].Health().Position >= at })
		if took := time.Since(wrote); took > time.Second {
			f.t.Errorf("a write took %v", took)
		}
		r := regionOf(f.nodes["us-1"].Fleet(f.t.Context()), region)
		if r.Bootstrap == nil {
			if r.Connected && len(looks) > 0 {
				return looks
			}
			continue
		}
		b := r.Bootstrap
		if b.DoneBytes != nil && b.TotalBytes != nil && *b.DoneBytes > *b.TotalBytes ||
			b.Phase == contract.BootstrapFetching && b.BytesPerSecond != nil && *b.BytesPerSecond > 1.3*rate {
			f.t.Errorf("told %+v: %d of %d bytes, %v a second", b, *b.DoneBytes, *b.TotalBytes, *b.BytesPerSecond)
		}
		looks = append(looks, look{time.Now(), *b})
	}
	f.t.Fatalf("%s does not follow; %d looks", region, len(looks))
	return nil
}
