package replication_test

import (
	"context"
	"errors"
	"log/slog"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/mimir-kv/mimir/replication"
)

// taken notes of which regions copies are asked for, by the log.
type taken struct {
	slog.Handler
	region string // that logs
	mu     *sync.Mutex
	asked  map[string][]string // by the region that asks, each once, in the order of the first time
}

func newTaken() taken {
	return taken{slog.NewTextHandler(testOutput(), nil), "", &sync.Mutex{}, map[string][]string{}}
}

func (l taken) Handle(ctx context.Context, r slog.Record) error {
	if r.Message == bootstraps {
		r.Attrs(func(a slog.Attr) bool {
			l.mu.Lock()
			defer l.mu.Unlock()
			if from := a.Value.String(); a.Key == "source" && !slices.Contains(l.asked[l.region], from) {
				l.asked[l.region] = append(l.asked[l.region], from)
			}
			return true
		})
	}
	return l.Handler.Handle(ctx, r)
}

func (l taken) WithAttrs(attrs []slog.Attr) slog.Handler {
	for _, a := range attrs {
		if a.Key == "region" {
			l.region = a.Value.String()
		}
	}
	l.Handler = l.Handler.WithAttrs(attrs)
	return l
}

func (l taken) by(region string) []string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return slices.Clone(l.asked[region])
}

// A region takes its copy from the one that it is to follow, which is nearer, and from the primary where that does not
// give one, or dies while it does.
func TestACopyComesFromTheNearerRegion(t *testing.T) {
	for _, c := range []struct {
		name string
		away func(f *growingFleet) // while ap is away
		then func(f *growingFleet) // once ap is back
		from []string
	}{
		{"the log is gone", func(*growingFleet) {}, func(*growingFleet) {}, []string{"eu"}},
		{"the disk is gone", func(f *growingFleet) { f.nodes["ap-1"].disk = freshDisk() }, func(*growingFleet) {},
			[]string{"eu"}},
		{"it is cut off from the primary", func(f *growingFleet) { f.network.Cut("us-1", "eu-1") },
			func(*growingFleet) {}, []string{"us"}},
		{"it dies while it gives", func(*growingFleet) {}, func(f *growingFleet) {
			f.within(time.Minute, "the copy is on its way", func() bool { return f.of("ap-1", "ap").Bootstrap != nil })
			f.kill("eu-1")
		}, []string{"eu", "us"}},
	} {
		t.Run(c.name, func(t *testing.T) {
			said := newTaken()
			shaped(t, map[string]int{"us": 1, "eu": 1, "ap": 1}, shortLogs(said), func(plain *testFleet) {
				f := &growingFleet{testFleet: plain}
				f.comesBack(c.away, c.then)
				if got := said.by("ap"); !slices.Equal(got, c.from) {
					f.t.Errorf("copies were asked of %v, want %v", got, c.from)
				}
			})
		})
	}
}

// shortLogs is of nodes that keep little log, and tell said what they do.
func shortLogs(said taken) func(*replication.Config) {
	return func(c *replication.Config) {
		c.RetainBytes, c.CompactBytes, c.SegmentBytes = 8<<10, 4<<10, 4<<10
		c.Logger = slog.New(said)
	}
}

// outgrowsItsLog writes so much that no node has all of the log, and returns it once eu has it.
func (f *growingFleet) outgrowsItsLog() (written []string) {
	for range 4 {
		written = append(written, f.putMany("us-1", "away", 40)...)
		time.Sleep(5 * time.Second)
	}
	f.within(time.Minute, "eu has it", func() bool {
		return f.nodes["eu-1"].Health().Position == f.nodes["us-1"].Health().Position
	})
	return written
}

// comesBack has ap, which is to follow eu, need a copy.
func (f *growingFleet) comesBack(away, then func(f *growingFleet)) {
	want := f.putMany("us-1", "before", 4)
	f.eventually(want)
	f.source("ap", "eu")
	f.follows("ap", "eu")
	f.kill("ap-1")
	want = append(want, f.outgrowsItsLog()...)
	f.network.SetDelay("eu-1", "ap-1", 300*time.Millisecond, 0)
	away(f)
	time.Sleep(20 * time.Second)
	f.start("ap-1")
	then(f)
	f.within(2*time.Minute, "ap has everything", func() bool {
		return f.nodes["ap-1"].Health().Position >= f.nodes["us-1"].Health().Position
	})
	f.network.HealAll()
	if !f.nodes["eu-1"].up.Load() {
		f.start("eu-1")
	}
	f.eventually(want)
	f.follows("ap", "eu")
	want = append(want, f.putMany("us-1", "after", 4)...)
	f.eventually(want)
}

// A region that cannot reach the primary, and of which nobody has the log, has its copy of any other that follows.
func TestACopyComesFromAnotherRegionWhileThePrimaryIsSilent(t *testing.T) {
	said := newTaken()
	shaped(t, map[string]int{"us": 3, "eu": 1, "ap": 1}, shortLogs(said), func(plain *testFleet) {
		f := &growingFleet{testFleet: plain}
		want := f.putMany("us-1", "before", 4)
		f.eventually(want)
		f.kill("ap-1")
		want = append(want, f.outgrowsItsLog()...)
		for _, name := range f.regions["us"] { // who asks them waits, one after the other
			f.network.Cut(name, "ap-1")
		}
		f.start("ap-1")
		f.eventually(want)
		if got := said.by("ap"); !slices.Equal(got, []string{"eu"}) {
			f.t.Errorf("copies were asked of %v", got)
		}
		want = append(want, f.putMany("us-1", "cut", 4)...) // it follows on by eu
		f.eventually(want)
		f.network.HealAll()
		want = append(want, f.putMany("us-1", "after", 4)...)
		f.eventually(want)
	})
}

// A region that is added with a source has its first copy of that.
func TestANewRegionHasItsCopyOfItsSource(t *testing.T) {
	said := newTaken()
	growing(t, func(c *replication.Config) {
		c.RetainBytes, c.CompactBytes, c.SegmentBytes = 8<<10, 4<<10, 4<<10
		c.Logger = slog.New(said)
	}, func(f *growingFleet) {
		var want []string
		for range 4 { // so much that no node has all of the log
			want = append(want, f.putMany("us-1", "before", 40)...)
			time.Sleep(5 * time.Second)
		}
		f.eventually(want)
		f.found("sa", 1)
		f.add("us-1", "sa") // from now on nobody serves a region that is none of the fleet
		f.eventually(want)
		f.found("ap", 3)
		time.Sleep(10 * time.Second)
		change, err := f.nodes["us-1"].Topology().Add(f.t.Context(), replication.RegionAddition{
			Region: "ap", Peers: []string{"ap-1", "ap-2", "ap-3"}, Source: "eu",
		})
		if err != nil || change.Source != "eu" {
			f.t.Fatalf("%+v, %v", change, err)
		}
		f.eventually(want)
		if got := said.by("ap"); !slices.Equal(got, []string{"eu"}) {
			f.t.Errorf("copies were asked of %v", got)
		}
		f.follows("ap", "eu")
		_, err = f.nodes["us-1"].Topology().Add(f.t.Context(), replication.RegionAddition{
			Region: "eu", Source: "ap",
		})
		if !errors.Is(err, replication.ErrArgument) {
			f.t.Errorf("two that follow each other: %v", err)
		}
	})
}

// The primary keeps the log from where the copy of the nearer region is, which is behind it, although much is written
// meanwhile: where nobody else leads on from that copy, the primary does.
func TestThePrimaryKeepsTheLogBehindACopyOfANearerRegion(t *testing.T) {
	said := newTaken()
	shape := func(c *replication.Config) {
		c.RetainBytes, c.CompactBytes, c.SegmentBytes = 16<<10, 16<<10, 4<<10
		c.Logger = slog.New(said)
		c.RegionRate = func(string, time.Time) replication.RegionRate { return replication.RegionRate{Copy: 128 << 10} }
	}
	shaped(t, map[string]int{"us": 1, "eu": 1, "ap": 1}, shape, func(plain *testFleet) {
		f := &growingFleet{testFleet: plain}
		want := f.putMany("us-1", "before", 4)
		f.eventually(want)
		f.source("ap", "eu")
		f.follows("ap", "eu")
		f.kill("ap-1")
		for i := range 4 { // so much that no node has all of the log, and a copy takes a while
			want = append(want, strings.Repeat(string(rune('a'+i)), 500<<10))
			f.put("us-1", want[len(want)-1])
			time.Sleep(2 * time.Second)
		}
		f.within(time.Minute, "eu has it", func() bool {
			return f.nodes["eu-1"].Health().Position == f.nodes["us-1"].Health().Position
		})
		f.network.Cut("us-1", "eu-1")
		want = append(want, f.putMany("us-1", "cut", 16)...) // eu is well for all that is known
		f.start("ap-1")
		f.within(time.Minute, "the copy is on its way", func() bool { return len(said.by("ap")) > 0 })
		for range 4 {
			want = append(want, f.putMany("us-1", "during", 40)...)
			time.Sleep(5 * time.Second)
		}
		f.within(2*time.Minute, "ap has everything", func() bool {
			return f.nodes["ap-1"].Health().Position == f.nodes["us-1"].Health().Position
		})
		if got := said.by("ap"); !slices.Equal(got, []string{"eu"}) {
			t.Errorf("copies were asked of %v", got)
		}
		f.network.HealAll()
		f.eventually(want)
	})
}
