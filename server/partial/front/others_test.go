package front

import (
	"testing"

	"github.com/mimir-kv/mimir/etcdapi"
)

// TestWhichUsersAndRolesMayJudgeOtherwise: what was judged stays so where only more is known of the same ones.
func TestWhichUsersAndRolesMayJudgeOtherwise(t *testing.T) {
	of := func(at int64, revision uint64, enabled bool) etcdapi.Rights {
		return etcdapi.Rights{At: at, Revision: revision, Enabled: enabled}
	}
	const far = 1 << 40 // of another reign, behind a failover
	for _, c := range []struct {
		by, now etcdapi.Rights
		want    bool
	}{
		{of(0, 0, false), of(7, 1, false), false}, // heard of for the first time: there are none
		{of(0, 0, false), of(7, 1, true), true},
		{of(7, 3, true), of(9, 3, true), false},
		{of(7, 3, true), of(7, 3, false), true},
		{of(7, 3, true), of(9, 4, true), true},
		{of(7, 3, true), of(9, 2, true), true}, // of a fleet that was restored
		{of(7, 3, true), of(far, 3, true), true},
	} {
		if got := others(c.by, c.now); got != c.want {
			t.Errorf("judged by %v, and known are %v: %t", c.by, c.now, got)
		}
	}
}
