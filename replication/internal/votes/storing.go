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

// stores are those of the regions that vote, but for the own one, on the leader of the primary.
type stores map[string]*storing

// look takes note of what they acknowledged.
func (r stores) look(now ballot.Instant, s *timeline.State, slots []timeline.Slot) {
	for _, voter := range s.Charter().Voters {
		if voter.Witness() || voter.ID == s.Region {
			continue
		}
		has := timeline.Position(0)
		for _, o := range slots {
			if o.Region == voter.ID {
				has = o.Position
			}
		}
		if r[voter.ID] == nil {
			r[voter.ID] = &storing{since: now}
		}
		r[voter.ID].look(now, s.Cursor.Position, has)
	}
}
