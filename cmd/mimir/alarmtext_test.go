package main

import (
	"testing"

	"github.com/mimir-kv/mimir/replication"
	"github.com/mimir-kv/mimir/server/admin"
)

// What others found out about a member was not raised by it.
func TestAlarmText(t *testing.T) {
	for want, a := range map[string]replication.AlarmEvent{
		"alarm NOSPACE is raised by member 1f":    {Kind: "NOSPACE", Member: 0x1f, Raised: true},
		"alarm NOSPACE of member 1f is cleared":   {Kind: "NOSPACE", Member: 0x1f},
		"alarm DIFFERS is raised about member 1f": {Kind: admin.Differs, Member: 0x1f, Raised: true},
		"alarm UNSURE about member 1f is cleared": {Kind: admin.Unsure, Member: 0x1f},
	} {
		if got := alarmText(&a); got != want {
			t.Errorf("%q, want %q", got, want)
		}
	}
}
