package server

import (
	"fmt"
	"log/slog"

	"github.com/mimir-kv/mimir/kv"
	"github.com/mimir-kv/mimir/kv/command"
	"github.com/mimir-kv/mimir/replication"
	"github.com/mimir-kv/mimir/server/admin"
	"github.com/mimir-kv/mimir/server/events"
)

// openEvents opens the event log, once the data directory can be used.
func openEvents(c *replication.Config, d *disk, logger *slog.Logger) *events.Log {
	return events.Open(events.Options{
		FS: d.libraryFS(), Dir: c.DataDir, Node: c.NodeID, Region: c.RegionID, Logger: logger,
	})
}

// alarmEvents keep alarms in the event log.
type alarmEvents struct{ log *events.Log }

// turned keeps that an alarm was raised or cleared.
func (e alarmEvents) turned(a kv.AlarmTurn) {
	if a.Kind == command.AlarmFollows.String() {
		a.Kind = admin.Follows
	}
	e.log.Add(replication.Event{
		ID:   fmt.Sprintf("alarm/%d/%d/%s/%x/%t", a.Epoch, a.Position, a.Kind, a.Member, a.Raised),
		Kind: replication.EventAlarm, Epoch: a.Epoch, Position: a.Position,
		Alarm: &replication.AlarmEvent{Kind: a.Kind, Member: a.Member, Raised: a.Raised},
	})
}
