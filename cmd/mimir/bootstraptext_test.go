package main

import (
	"errors"
	"strings"
	"testing"

	"github.com/mimir-kv/mimir/replication"
)

// What is not known of a bootstrap is called so, and no more is drawn than is done.
func TestABootstrapIsShown(t *testing.T) {
	mib := func(n float64) *int64 { return new(int64(n * (1 << 20))) }
	rate, left := new(float64(2<<20)), new(32.4)
	for _, c := range []struct {
		b         replication.Bootstrap
		want, bar string
	}{
		{replication.Bootstrap{Transfer: replication.Transfer{Phase: "looking"}},
			"bootstrap from us: looks for a copy that the region has", ""},
		{replication.Bootstrap{Transfer: replication.Transfer{Phase: "asking", From: "a:1", QuietSeconds: 12.7}},
			"bootstrap from us: waits for a copy of a:1; nothing came for 12s", ""},
		{replication.Bootstrap{Transfer: replication.Transfer{Phase: "making", From: "a:1", DoneBytes: mib(3)}},
			"bootstrap from us: a:1 makes a copy and sums it, 3.0 MiB of unknown, pace unknown, time left unknown", ""},
		{replication.Bootstrap{Transfer: replication.Transfer{Phase: "fetching", From: "a:1", DoneBytes: mib(35.99),
			TotalBytes: mib(100), BytesPerSecond: rate, LeftSeconds: left}}, "bootstrap from us: fetches a copy from " +
			"a:1, 36.0 MiB of 100.0 MiB (35 %), pace 2.0 MiB/s, time left about 32s", "[########----------------] "},
		{replication.Bootstrap{Transfer: replication.Transfer{Phase: "staging"}, Have: 1, Needed: 2},
			"bootstrap from us: the copy is on 1 of 2 nodes that have to have it, the next: unknown of unknown, pace " +
				"unknown, time left unknown", ""},
		{replication.Bootstrap{Transfer: replication.Transfer{Phase: "installing"}},
			"bootstrap from us: the region installs the copy", ""},
		{replication.Bootstrap{Transfer: replication.Transfer{Phase: "polishing"}},
			"bootstrap from us: polishing, unknown of unknown, pace unknown, time left unknown", ""},
	} {
		c.b.Source = "us"
		if got := bootstrapText(&c.b); got != c.want {
			t.Errorf("%s\nwant %s", got, c.want)
		}
		if got := bar(&c.b.Transfer); got != c.bar {
			t.Errorf("%q, want %q", got, c.bar)
		}
		r := replication.RegionStatus{Heard: true, Role: replication.RoleSecondary, Connected: true, Bootstrap: &c.b}
		if follows(&r) || stageOf(&r) != c.want || (&regionReport{RegionStatus: r}).problems() != c.want {
			t.Errorf("a region that bootstraps is said to be elsewhere: %+v", c.b)
		}
	}
	n := replication.NodeStatus{Reachable: true, ReachableKnown: true, Transfer: &replication.Transfer{
		Phase: "fetching", DoneBytes: mib(1), TotalBytes: mib(3)}}
	if got := nodeState(&n); got != "voter, takes a copy, 33 %" {
		t.Errorf("a node that takes a copy is shown as %q", got)
	}
}

// Only a region that may take a copy is watched.
func TestWhoseBootstrapIsWatched(t *testing.T) {
	f := &replication.FleetStatus{Asked: "us-1", Regions: []replication.RegionStatus{
		{Name: "eu", Role: replication.RoleSecondary}, {Name: "us", Role: replication.RolePrimary},
	}}
	if r, err := bootstrapping(f, "eu"); err != nil || r.Name != "eu" {
		t.Errorf("%+v, %v", r, err)
	}
	if _, err := bootstrapping(f, "ap"); !errors.Is(err, errUsage) || !strings.Contains(err.Error(), "but eu, us") {
		t.Error(err)
	}
	if _, err := bootstrapping(f, "us"); err == nil || !strings.Contains(err.Error(), "is the primary") {
		t.Error(err)
	}
}
