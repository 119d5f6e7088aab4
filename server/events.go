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
	a.Kind = alarmName(a.Kind)
	e.log.Add(replication.Event{
		ID:   fmt.Sprintf("alarm/%d/%d/%s/%x/%t", a.Epoch, a.Position, a.Kind, a.Member, a.Raised),
		Kind: replication.EventAlarm, Epoch: a.Epoch, Position: a.Position,
		Alarm: &replication.AlarmEvent{Kind: a.Kind, Member: a.Member, Raised: a.Raised},
	})
}

// alarmName is what people are told of a kind of alarm, as the history has it: those that etcd has not are numbers
// there.
func alarmName(kind string) string {
	switch kind {
	case command.AlarmFollows.String():
		return admin.Follows
	case command.AlarmDiffers.String():
		return admin.Differs
	case command.AlarmUnsure.String():
		return admin.Unsure
	}
	return kind
}
