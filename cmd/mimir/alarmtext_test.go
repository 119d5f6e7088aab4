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

// What an alarm keeps from being written is said as it is: room alone does not bring writes back where a client said
// that the data are corrupt, and then deletes are refused too.
func TestWhatAnAlarmRefusesIsSaid(t *testing.T) {
	for want, kind := range map[string]string{
		"alarm NOSPACE of member 1f: no region takes writes that need space, until there is room and etcdctl alarm " +
			"disarm was called": "NOSPACE",
		"alarm CORRUPT of member 1f, raised by a client: no region takes any write, until etcdctl alarm disarm was " +
			"called": "CORRUPT",
	} {
		if got := (&alarmReport{Alarm: admin.Alarm{Kind: kind, Member: 0x1f}}).text(); got != want {
			t.Errorf("%q, want %q", got, want)
		}
	}
}
