package etcdapi

import (
	"time"

	"github.com/mimir-kv/mimir/replication"
)

// looks is how often in LeaderTimeout a stream that requires a leader looks for one. A third of it is also how long a
// request waits for a primary that has been silent for longer than a request may take.
const looks = 3

// patience is how long a request waits for those who have to answer it. The longer a primary was silent the less is
// to be hoped: a request that waits its whole time in vain keeps its client from the other regions, which may be well.
func (a *API) patience() time.Duration {
	bound := a.limits.now()
	if unheard(a.recentHealth()) < bound.RequestTimeout {
		return bound.RequestTimeout
	}
	return min(bound.RequestTimeout, bound.LeaderTimeout/looks)
}

// silences is how many times LeaderTimeout a stream that requires a leader outlives the silence of the primary: longer
// than a failover takes, so that watches outlast that, and shorter than a client would take to give up the connection.
const silences = 5

// abandoned reports whether the primary has been silent for too long for streams that require a leader: nothing comes
// that they wait for, however well the region's own leader is. A region that is behind, and hears the primary, is not;
// nor is one that shows its history late on purpose.
func abandoned(h *replication.HealthStatus, leaderTimeout time.Duration) bool {
	return h.Late == nil && unheard(h) >= silences*leaderTimeout
}

// unheard returns for how long the primary, another region, had no leader that hears a majority and answers, as far as
// it was asked; zero if it has one.
func unheard(h *replication.HealthStatus) time.Duration {
	if decides(h) {
		return 0
	}
	for i := range h.Peers {
		if p := &h.Peers[i]; p.ID == h.Primary {
			return time.Duration(p.SilentSeconds * float64(time.Second))
		}
	}
	return 0
}
