package server

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"
)

// Rates hold at the times that are written, by UTC, from the first minute on and before the last one.
func TestRatesOfRegionsHoldAtTheirTimes(t *testing.T) {
	all, err := parseRates("eu=20MiB,eu=08:00-18:00=5MiB,eu=18:00-18:30=0,ap=22:00-06:00=0 ap=64KiB," +
		"sa=12:00-24:00=1MiB,*=1GiB,own=0")
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		region, at string
		want       Bytes
	}{
		{"eu", "07:59:59", 20 << 20}, {"eu", "08:00:00", 5 << 20}, {"eu", "17:59:59", 5 << 20}, {"eu", "18:00:00", 0},
		{"eu", "18:30:00", 20 << 20}, {"ap", "21:59:59", 64 << 10}, {"ap", "22:00:00", 0}, {"ap", "00:00:00", 0},
		{"ap", "05:59:00", 0}, {"ap", "06:00:00", 64 << 10}, {"sa", "11:59:00", 0}, {"sa", "23:59:59", 1 << 20},
		{"sa", "00:00:00", 0}, {"xx", "12:00:00", 1 << 30}, {"own", "12:00:00", 0},
	} {
		for _, zone := range []*time.Location{time.UTC, time.FixedZone("", 5*3600)} {
			at, err := time.Parse(time.DateTime, "2026-03-01 "+c.at)
			if err != nil {
				t.Fatal(err)
			}
			if got := all.at(c.region, at.In(zone)); got != int64(c.want) {
				t.Errorf("%s at %s: %s, want %s", c.region, c.at, Bytes(got), c.want)
			}
		}
	}
	if none, err := parseRates(""); err != nil || none.at("eu", time.Now()) != 0 {
		t.Errorf("without a rate %v, %v", none, err)
	}
}

// What could mean two things is refused.
func TestRatesOfRegionsThatAreNoneAreRefused(t *testing.T) {
	for text, why := range map[string]string{
		"eu":                                    "want REGION=RATE",
		"=1MiB":                                 "want REGION=RATE",
		"eu=1=2=3":                              "want REGION=RATE",
		"eu=fast":                               "is not a size",
		"eu=1KiB":                               "16KiB a second is the least",
		"eu=8:00-18:00=1MiB":                    "no times as",
		"eu=08:00=1MiB":                         "no times as",
		"eu=08:00-25:00=1MiB":                   "no times as",
		"eu=08:60-09:00=1MiB":                   "no times as",
		"eu=08:00-08:00=1MiB":                   "no times as",
		"eu=24:00-08:00=1MiB":                   "no times as",
		"eu=1MiB,eu=2MiB":                       "another rate of eu",
		"eu=08:00-18:00=1MiB,eu=17:00-19:00=0":  "another rate of eu",
		"eu=22:00-06:00=1MiB,eu=05:00-05:30=0":  "another rate of eu",
		"eu=05:00-05:30=1MiB,eu=22:00-06:00=0":  "another rate of eu",
		"eu=08:00-18:00=1MiB,eu=08:00-18:00=0":  "another rate of eu",
		"eu=00:00-24:00=1MiB,eu=23:00-23:30=64": "16KiB a second is the least",
	} {
		if _, err := parseRates(text); err == nil || !strings.Contains(err.Error(), why) {
			t.Errorf("%q: %v, want %q", text, err, why)
		}
	}
	if _, err := (RegionRate{Stream: "eu"}).caps(); err == nil || !strings.Contains(err.Error(), "region-rate.stream") {
		t.Error(err)
	}
}

// The rates of a node that runs are those that were read last.
func TestRatesOfRegionsAreReadAnew(t *testing.T) {
	c := DefaultConfig()
	s := server{settled: newSettled(&c, nil)}
	now := time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)
	if got := s.settled.regionRate("eu", now); got.Copy != 0 || got.Stream != 0 {
		t.Errorf("without a setting %+v", got)
	}
	next := DefaultConfig()
	next.RegionRate = RegionRate{Copy: "eu=1MiB", Stream: "eu=11:00-13:00=2MiB"}
	changed, waits := merge(&c, &next)
	if len(changed) != 2 || len(waits) != 0 {
		t.Fatalf("changed %v, waits %v", changed, waits)
	}
	for _, ch := range changes {
		if ch.keys[0] == "region-rate.copy" {
			ch.apply(&s, &c)
		}
	}
	if got := s.settled.regionRate("eu", now); got.Copy != 1<<20 || got.Stream != 2<<20 {
		t.Errorf("read anew %+v", got)
	}
}

// A rate for a region that the fleet does not have is told: in the log, at the start and when settings are read anew,
// and by the node, for as long as it is so. All others, and this one, are regions that there are.
func TestARateForARegionThatIsNotThereIsTold(t *testing.T) {
	c := testConfig(t, "solo")
	c.RegionRate = RegionRate{Copy: "*=2MiB,ue=1MiB", Stream: "solo-region=1MiB,ue=1MiB"}
	told, log := make(chan struct{}), &logged{}
	var stream atomic.Pointer[string]
	stop := runNodeWith(t, c, Options{LogTo: log, HungUp: told, Reload: func() (*Config, error) {
		read := *c
		read.RegionRate = RegionRate{Stream: *stream.Load()}
		return &read, nil
	}})
	defer stop()
	client := adminClient(t, c, TLS{})
	idle := func(want ...string) {
		t.Helper()
		eventually(t, fmt.Sprintf("the node says of its rates %q", want), func(ctx context.Context) bool {
			n, err := client.Node(ctx)
			return err == nil && slices.EqualFunc(n.IdleSettings, want, strings.Contains)
		})
	}
	const line = "a setting means nothing in this fleet"
	idle("region-rate has a rate for ue, and the fleet has no region of that name")
	eventually(t, "the log tells it", func(context.Context) bool { return strings.Count(log.String(), line) == 1 })
	for _, next := range []string{"eu=1MiB", "solo-region=1MiB"} {
		stream.Store(&next)
		told <- struct{}{}
		if next == "eu=1MiB" {
			idle("a rate for eu,")
		} else {
			idle()
		}
	}
	if n := strings.Count(log.String(), line); n != 2 {
		t.Errorf("the log tells it %d times:\n%s", n, log.String())
	}
}
