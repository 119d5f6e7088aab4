package mirror

import (
	"math"
	"testing"

	"github.com/mimir-kv/mimir/backup/sides"
)

// IDs lead from the fleet to the etcd and back, to none that is no lease, and to others for each place: to the same
// ones only where there can be no other place, so that nothing has to be compared there that is of before.
func TestIDsOfAPlace(t *testing.T) {
	seen := map[int64]string{}
	for _, to := range []string{"", "a/", "b/"} {
		l := newLeases(sides.Side{}, sides.Side{}, to)
		for _, id := range []int64{1, 2, -1, math.MaxInt64, math.MinInt64, l.mask} {
			there := l.there(id)
			if id == 0 {
				continue
			}
			if there == 0 || l.there(there) != id {
				t.Errorf("to %q: %x is %x, and back %x", to, id, there, l.there(there))
			}
			if other, is := seen[there]; is {
				t.Errorf("%x is of %q and of %q", there, other, to)
			}
			seen[there] = to
		}
		if l.there(1) == 1 != (to == "") {
			t.Errorf("to %q: lease 1 is %x", to, l.there(1))
		}
		for _, version := range []int{sharedLeaseVersion, placeVersion} {
			p := place{Version: version, ToPrefix: text(to)}
			if p.sharesLeases() != (version == sharedLeaseVersion && to != "") {
				t.Errorf("to %q, version %d: %t", to, version, p.sharesLeases())
			}
		}
	}
}
