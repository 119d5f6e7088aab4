package main

import (
	"slices"
	"strings"
	"testing"

	"github.com/mimir-kv/mimir/replication"
)

// wrongFleet is one of which the primary us does not answer, and nobody else knows of votes.
func wrongFleet() *fleetReport {
	said := &replication.HealthStatus{Healthy: true}
	return &fleetReport{
		FleetStatus: &replication.FleetStatus{Fleet: "mimir", Asked: "eu-1", Primary: "us", Epoch: 3},
		Regions: []regionReport{
			{RegionStatus: replication.RegionStatus{Name: "asia", Heard: true, Role: replication.RoleSecondary,
				Epoch: 3, Position: 9}, nodes: []nodeReport{{name: "asia-1", version: "v1", health: said}}},
			{RegionStatus: replication.RegionStatus{Name: "eu", Heard: true, Role: replication.RoleSecondary, Epoch: 3,
				Position: 12}, nodes: []nodeReport{{name: "eu-1", version: "v2", health: said},
				{name: "eu-2", version: "v1", health: said}}},
			{RegionStatus: replication.RegionStatus{Name: "us", Problem: "no node answers"}},
		},
	}
}

func TestTheCommandThatHelpsIsNamed(t *testing.T) {
	votes := &replication.HealthStatus{Votes: &replication.VoteStatus{}}
	for name, test := range map[string]struct {
		change func(f *fleetReport)
		want   []string
	}{
		"the primary is silent": {func(*fleetReport) {},
			[]string{"mimir failover --to eu ", "mimir events --since 1h "}},
		"and another region hears it": {func(f *fleetReport) {
			eu := &f.Regions[1].RegionStatus
			eu.Source, eu.Connected, eu.Lag.Seconds = "us", true, 0.3
			eu.Nodes = []replication.NodeStatus{{ClientURLs: []string{"http://10.2.0.1:2379"}},
				{ClientURLs: []string{"http://10.2.0.2:2379"}}}
			asia := &f.Regions[0].RegionStatus
			asia.Source, asia.Connected, asia.Lag.Seconds = "eu", true, 0.4
		}, []string{"mimir status --endpoints 10.2.0.1:2379,10.2.0.2:2379   # eu heard us within seconds, " +
			"which eu-1 does not hear: ask again before you fail over", "mimir events --since 1h "}},
		"and did for a moment": {func(f *fleetReport) {
			eu := &f.Regions[1].RegionStatus
			eu.Source, eu.Connected, eu.Lag.Seconds, eu.Lag.AtLeast = "us", true, 7, true
		}, []string{"mimir failover --to eu ", "mimir events --since 1h "}},
		"and votes are taken": {func(f *fleetReport) { f.Regions[1].nodes[0].health = votes },
			[]string{"mimir fleet show ", "mimir events "}},
		"and votes are taken by regions that do not tell": {func(f *fleetReport) {
			f.Regions[1].nodes = nil
			f.Regions[1].RegionStatus.Nodes = []replication.NodeStatus{{ClientURLs: []string{"http://10.2.0.1:2379"}}}
		}, []string{"mimir fleet show --endpoints 10.2.0.1:2379 ", "mimir failover --to eu ", "mimir events "}},
		"and the leader of the primary told of votes": {func(f *fleetReport) {
			f.Regions[0].Votes = replication.VoteNo
		}, []string{"mimir fleet show ", "mimir events "}},
		"and told that none are taken": {func(f *fleetReport) {
			f.Regions[1].nodes, f.Regions[0].Votes = nil, replication.VoteNone
		}, []string{"mimir failover --to eu ", "mimir events "}},
		"two primaries": {func(f *fleetReport) { f.TakeWrites = []string{"asia", "eu"} },
			[]string{"mimir events --since 1h "}},
		"sealed": {func(f *fleetReport) {
			us := &f.Regions[2]
			us.Heard, us.Role, us.Problem, us.Sealed = true, replication.RolePrimary, "", true
		}, []string{"mimir switchover --abort ", "mimir events "}},
		"a tail, and a node is missing": {func(f *fleetReport) {
			us := &f.Regions[2]
			us.Heard, us.Role, us.Missing = true, replication.RoleDiverged, []string{"us-1"}
		}, []string{"mimir tail list ", "mimir status --verbose ", "mimir events "}},
		"nothing": {func(f *fleetReport) {
			us := &f.Regions[2]
			us.Heard, us.Role, us.Problem = true, replication.RolePrimary, ""
		}, nil},
	} {
		f := wrongFleet()
		test.change(f)
		f.tellNext()
		if !slices.EqualFunc(f.Next, test.want, strings.HasPrefix) {
			t.Errorf("%s: %q, want %q", name, f.Next, test.want)
		}
	}
}

// TestWhatIsWrongComesFirst, and the versions that differ are told.
func TestWhatIsWrongComesFirst(t *testing.T) {
	f := wrongFleet()
	f.tellNext()
	var out strings.Builder
	f.print(&out)
	wrong, table := strings.Index(out.String(), "us: no node answers"), strings.Index(out.String(), "REGION")
	next := strings.Index(out.String(), "NEXT: mimir failover --to eu")
	versions := strings.Contains(out.String(), "versions: v1 on asia-1, eu-2; v2 on eu-1")
	if wrong < 0 || next < wrong || table < next || !versions {
		t.Error(out.String())
	}
}
