package main

import (
	"strings"
	"testing"

	"github.com/mimir-kv/mimir/replication"
)

// TestAGateThatHoldsBackIsAWarning, with the way to open it; one that is open is none.
func TestAGateThatHoldsBackIsAWarning(t *testing.T) {
	const why = "eu is behind"
	for name, c := range map[string]struct {
		gate *replication.GateStatus
		want string
	}{
		"open":   {nil, ""},
		"slow":   {&replication.GateStatus{DelaySeconds: 0.25, Why: why}, "takes a batch of writes every 250ms"},
		"closed": {&replication.GateStatus{Refuses: true, Why: why}, "refuses writes by its lag gate: eu is"},
	} {
		f := &fleetReport{FleetStatus: &replication.FleetStatus{}, Regions: []regionReport{{nodes: []nodeReport{
			{name: "us-1", health: &replication.HealthStatus{Gate: c.gate}}, {name: "us-2"},
		}}}}
		f.tellGate()
		text := strings.Join(f.Warnings, "\n")
		if (c.want == "") != (text == "") || !strings.Contains(text, c.want) {
			t.Errorf("%s: %q", name, text)
		}
		told := len(f.Warnings)
		if f.tellGate(); len(f.Warnings) != told {
			t.Errorf("%s, and the leader of the primary told: %q", name, f.Warnings)
		}
	}
}
