package server

import (
	"fmt"

	"github.com/mimir-kv/mimir/kv"
	"github.com/mimir-kv/mimir/kv/command"
	"github.com/mimir-kv/mimir/replication"
	"github.com/mimir-kv/mimir/server/admin"
	"github.com/mimir-kv/mimir/server/events"
)

// openEvents opens the event log, once the data directory can be used.
func (s *server) openEvents() {
	c := s.config.Replication
	s.events = events.Open(events.Options{
		FS: s.disk.libraryFS(), Dir: c.DataDir, Node: c.NodeID, Region: c.RegionID, Logger: s.logger,
	})
}

// onAlarm keeps that an alarm was raised or cleared.
func (s *server) onAlarm(a kv.AlarmTurn) {
	if a.Kind == command.AlarmFollows.String() {
		a.Kind = admin.Follows
	}
	s.events.Add(replication.Event{
		ID:   fmt.Sprintf("alarm/%d/%d/%s/%x/%t", a.Epoch, a.Position, a.Kind, a.Member, a.Raised),
		Kind: replication.EventAlarm, Epoch: a.Epoch, Position: a.Position,
		Alarm: &replication.AlarmEvent{Kind: a.Kind, Member: a.Member, Raised: a.Raised},
	})
}
