package main

import (
	"bytes"
	"slices"
	"strings"
	"testing"

	"github.com/mimir-kv/mimir/replication"
	"github.com/mimir-kv/mimir/server/admin"
)

// A fleet that takes no puts is not shown as if nothing were wrong.
func TestAlarmsAreWarnings(t *testing.T) {
	const member = 0xf123456789abcdef
	fleet := func(primary, secondary []admin.Alarm) *fleetReport {
		node := replication.NodeStatus{ID: member, Name: "eu-2"}
		f := &fleetReport{FleetStatus: &replication.FleetStatus{Primary: "us"}, Regions: []regionReport{
			{RegionStatus: replication.RegionStatus{Name: "eu", Nodes: []replication.NodeStatus{node}},
				Revision: 3, alarms: secondary},
			{RegionStatus: replication.RegionStatus{Name: "us", TakesWrites: true}, Revision: 5, alarms: primary},
		}}
		f.tellAlarms()
		return f
	}
	raised := []admin.Alarm{{Kind: "NOSPACE", Member: member}, {Kind: "NOSPACE", Member: 0xab}}
	f := fleet(raised, raised[:1])
	var out bytes.Buffer
	f.print(&out)
	for _, want := range []string{
		"WARNING: alarm NOSPACE of eu-2 of region eu: ", "WARNING: alarm NOSPACE of member ab: ",
	} {
		if strings.Count(out.String(), want) != 1 {
			t.Errorf("%q is not there once:\n%s", want, out.String())
		}
	}
	if f.verdict(true, false) == nil || f.verdict(false, false) != nil {
		t.Error("an alarm is wrong with --check, and only then")
	}
	text, err := admin.Marshal(f)
	if err != nil || !bytes.Contains(text, []byte(`"member":"17375808098319191535"`)) {
		t.Errorf("%s: %v", text, err)
	}
	if f := fleet(nil, raised); len(f.Alarms)+len(f.Warnings) != 0 {
		t.Errorf("what the primary has disarmed is shown: %v", f.Warnings)
	}
	f = fleet(nil, raised)
	f.Regions[1].Revision, f.Regions[1].TakesWrites = -1, false
	if f.tellAlarms(); !slices.Equal(f.Alarms, []alarmReport{f.whose(raised[0]), f.whose(raised[1])}) {
		t.Errorf("without the primary, what others know: %v", f.Alarms)
	}
}
