package main

import (
	"slices"
	"testing"

	"github.com/mimir-kv/mimir/replication"
)

// A lag that nobody confirmed lately is not shown as if nothing were missing.
func TestALagThatIsNotConfirmedIsNotShownAsNone(t *testing.T) {
	for _, c := range []struct {
		lag  replication.Lag
		want string
	}{
		{replication.Lag{Seconds: 0.5}, "0 commands, 0 B, 0.50 s"},
		{replication.Lag{Seconds: -1, AtLeast: true}, "unknown"},
		{replication.Lag{Seconds: 46, AtLeast: true}, "unknown for 46.00 s"},
		{replication.Lag{Commands: 73, Seconds: 46, AtLeast: true}, "at least 73 commands, 46.00 s"},
	} {
		if got := lagText(&replication.RegionStatus{Role: replication.RoleSecondary, Lag: c.lag}); got != c.want {
			t.Errorf("%+v is shown as %q, want %q", c.lag, got, c.want)
		}
	}
}

// The revision of a region is asked of the node that spoke for it, and of no other.
func TestWhoSpeaksForARegionIsAskedForItsRevision(t *testing.T) {
	nodes := []replication.NodeStatus{
		{Name: "us-1", Reachable: true, ClientURLs: []string{"1"}},
		{Name: "us-2", Reachable: true, Leader: true, ClientURLs: []string{"2"}},
		{Name: "us-3", ClientURLs: []string{"3"}},
	}
	for by, want := range map[string][]string{"us-2": {"2"}, "us-1": {"1"}, "": {"2", "1"}} {
		if got := clientURLs(&replication.RegionStatus{By: by, Nodes: nodes}); !slices.Equal(got, want) {
			t.Errorf("spoken for by %q: asks %q, want %q", by, got, want)
		}
	}
}
