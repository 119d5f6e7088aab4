package replication

import (
	"time"

	"github.com/mimir-kv/mimir/replication/clock"
	"github.com/mimir-kv/mimir/replication/internal/throttle"
)

// caps hold what this node sends to other regions; nil throttles hold nothing.
type caps struct{ copies, stream *throttle.Throttle }

// newCaps returns the caps of a node. The stream to a region is not held while awaited says that writes pause until the
// region has the last of them.
func newCaps(
	c clock.Clock, rate func(region string, now time.Time) RegionRate, awaited func(region string) bool,
) caps {
	if rate == nil {
		return caps{}
	}
	return caps{
		copies: throttle.New(c, func(region string, now time.Time) int64 { return rate(region, now).Copy }),
		stream: throttle.New(c, func(region string, now time.Time) int64 {
			if awaited(region) {
				return 0
			}
			return rate(region, now).Stream
		}),
	}
}

// forget forgets a region that is not one of the fleet any more.
func (c caps) forget(region string) {
	c.copies.Forget(region)
	c.stream.Forget(region)
}

// status tells how the regions of the fleet are held to which something goes, or went.
func (c caps) status(others map[string][]string) (list []HeldStatus) {
	for _, of := range []struct {
		what     string
		throttle *throttle.Throttle
	}{{"copy", c.copies}, {"stream", c.stream}} {
		for _, s := range of.throttle.Status() {
			if _, is := others[s.Region]; !is || s.Rate == 0 && s.Held == 0 {
				continue // it is none any more, or never had a bound that mattered
			}
			list = append(list, HeldStatus{
				Region: s.Region, Of: of.what, BytesPerSecond: s.Rate, HeldSeconds: s.Held.Seconds(),
			})
		}
	}
	return list
}
