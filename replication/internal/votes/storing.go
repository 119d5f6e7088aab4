package votes

import (
	"github.com/mimir-kv/mimir/replication/internal/ballot"
	"github.com/mimir-kv/mimir/replication/timeline"
)

// storing is how far a region has what the primary has, by what it acknowledged.
type storing struct {
	has, want timeline.Position // what there was at since
	since     ballot.Instant
}

// look takes note that it has everything up to has, where there is everything up to is.
func (s *storing) look(now ballot.Instant, is, has timeline.Position) {
	if s.has = has; has >= s.want {
		s.want, s.since = is, now
	}
}

// lacks reports whether it lacks something that was there so long ago.
func (s *storing) lacks(now, long ballot.Instant) bool { return s.has < s.want && now-s.since >= long }

// stored takes note of what the regions that vote acknowledged, on the leader of the primary. The caller holds mu.
func (v *Votes) stored(s *timeline.State, slots []timeline.Slot, now ballot.Instant) {
	if v.stores == nil {
		v.stores = map[string]*storing{}
	}
	for _, voter := range s.Charter().Voters {
		if voter.Witness() || voter.ID == v.config.Region {
			continue
		}
		has := timeline.Position(0)
		for _, o := range slots {
			if o.Region == voter.ID {
				has = o.Position
			}
		}
		if v.stores[voter.ID] == nil {
			v.stores[voter.ID] = &storing{since: now}
		}
		v.stores[voter.ID].look(now, s.Cursor.Position, has)
	}
}
