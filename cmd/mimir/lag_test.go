package main

import (
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
