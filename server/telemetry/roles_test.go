package telemetry

import (
	"flag"
	"fmt"
	"os"
	"strings"
	"testing"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/mimir-kv/mimir/replication"
)

var update = flag.Bool("update", false, "write testdata/roles.txt anew")

const rolesFile = "testdata/roles.txt"

// testdata/roles.txt has what a node of each role exports where everything is known to it. The tests of what is shipped
// for Prometheus go by it: no incident of theirs is of a series that no node has.
func TestRolesExportWhatIsNoted(t *testing.T) {
	var text strings.Builder
	for _, role := range roles() {
		fmt.Fprintln(&text, role.name)
		for _, name := range allSeries(t, &role.health) {
			fmt.Fprintf(&text, "\t%s\n", name)
		}
	}
	if *update {
		if err := os.WriteFile(rolesFile, []byte(text.String()), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	noted, err := os.ReadFile(rolesFile)
	if err != nil {
		t.Fatal(err)
	}
	if string(noted) != text.String() {
		t.Errorf("%s is not what nodes export (-update writes it):\n%s", rolesFile, text.String())
	}
}

type roleOf struct {
	name   string // the region, and what the node is in it
	health replication.HealthStatus
}

// roles are nodes of a fleet where eu follows us, and ap follows by way of eu.
func roles() []roleOf {
	known := replication.Lag{Commands: 3, Bytes: 30, Seconds: 0.5}
	unknown := replication.Lag{Commands: 3, Seconds: -1, AtLeast: true}
	node := replication.HealthStatus{
		State: replication.StateReady, Healthy: true, Region: "us", Role: replication.RolePrimary, Primary: "us",
		LeaderID: "us-1", LeaderRaftID: 1, Position: 7,
	}
	primary, follower := node, node
	primary.IsLeader = true
	primary.Slots = []replication.SlotStatus{
		{Region: "ap", Position: 4, Lag: replication.Lag{Commands: 3, Seconds: -1}},
		{Region: "eu", Position: 4, Connected: true, Lag: known},
	}
	primary.Gate = &replication.GateStatus{DelaySeconds: 0.25, Why: "eu is behind"}
	primary.Votes = &replication.VoteStatus{
		Holds: true, MaxLoss: 10, Ceiling: 17, Voters: []replication.VoterStatus{{ID: "us", Supports: true}},
	}
	follower.Slots = []replication.SlotStatus{
		{Region: "ap", Position: 4, Lag: unknown}, {Region: "eu", Position: 4, Lag: unknown},
	}
	node.Region, node.Role, node.LeaderID = "eu", replication.RoleSecondary, "eu-1"
	node.Slots = []replication.SlotStatus{{Region: "ap", Position: 4, Connected: true, Lag: unknown}}
	secondary, behind := node, node
	secondary.IsLeader, secondary.Lag = true, known
	behind.Lag = unknown
	return []roleOf{
		{"us leads, and is primary", primary}, {"us follows its leader, and is primary", follower},
		{"eu leads, and is secondary", secondary}, {"eu follows its leader, and is secondary", behind},
	}
}

// allSeries returns what a node exports under names of its own, as Prometheus writes series.
func allSeries(t *testing.T, h *replication.HealthStatus) (list []string) {
	t.Helper()
	registry := prometheus.NewPedanticRegistry()
	registry.MustRegister(&Node{
		Health: func() *replication.HealthStatus { return h },
		Store:  func() Store { return Store{FreeKnown: true, Quota: 1} },
	})
	families, err := registry.Gather()
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range families {
		if strings.HasPrefix(f.GetName(), "etcd_") { // of the same
			continue
		}
		for _, m := range f.GetMetric() {
			var labels []string
			for _, l := range m.GetLabel() {
				labels = append(labels, fmt.Sprintf("%s=%q", l.GetName(), l.GetValue()))
			}
			name := f.GetName()
			if len(labels) > 0 {
				name += "{" + strings.Join(labels, ",") + "}"
			}
			list = append(list, name)
		}
	}
	return list
}
