package server

import (
	"testing"
	"time"

	"github.com/mimir-kv/mimir/backup/archive"
	"github.com/mimir-kv/mimir/replication"
)

// An archive that is kept in a region which follows is behind the primary by what the region is behind, too.
func TestTheArchiveOfASecondaryIsBehindThePrimary(t *testing.T) {
	own := archive.Status{Active: true, Known: true, Position: 90, Behind: 3, Lag: time.Second}
	for name, c := range map[string]struct {
		role     replication.Role
		lag      replication.Lag
		archived archive.Status
		behind   int64
		late     time.Duration
	}{
		"primary": {replication.RolePrimary, replication.Lag{Seconds: -1}, own, 3, time.Second},
		"follows": {replication.RoleSecondary, replication.Lag{Commands: 7, Seconds: 60}, own, 10, 61 * time.Second},
		"cut off": {replication.RoleSecondary, replication.Lag{Seconds: -1}, own, -1, -1},
		"silent":  {replication.RoleSecondary, replication.Lag{Commands: 7, Seconds: 60, AtLeast: true}, own, -1, -1},
		"unread": {replication.RoleSecondary, replication.Lag{Commands: 7, Seconds: 60},
			archive.Status{Active: true, Behind: -1, Lag: -1}, -1, -1},
	} {
		s := c.archived
		behindPrimary(&s, &replication.HealthStatus{Role: c.role, Lag: c.lag})
		if s.Behind != c.behind || s.Lag != c.late {
			t.Errorf("%s: %+v, want %d and %v behind", name, s, c.behind, c.late)
		}
	}
}
