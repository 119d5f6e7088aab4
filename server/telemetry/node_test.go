package telemetry

import (
	"fmt"
	"maps"
	"slices"
	"strings"
	"testing"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/mimir-kv/mimir/replication"
)

// series returns what a node exports, without the figures of its store.
func series(t *testing.T, h *replication.HealthStatus) map[string]float64 {
	t.Helper()
	registry := prometheus.NewPedanticRegistry()
	registry.MustRegister(&Node{Health: func() *replication.HealthStatus { return h },
		Store: func() Store { return Store{FreeKnown: true} }})
	families, err := registry.Gather()
	if err != nil {
		t.Fatal(err)
	}
	out := map[string]float64{}
	for _, f := range families {
		if strings.HasPrefix(f.GetName(), "etcd_") { // of the same
			continue
		}
		for _, m := range f.GetMetric() {
			name := strings.TrimPrefix(f.GetName(), "mimir_")
			for _, l := range m.GetLabel() {
				name += fmt.Sprintf("{%s}", l.GetValue())
			}
			out[name] = m.GetGauge().GetValue()
		}
	}
	return out
}

// Each row is a node and what it exports of what can be unknown; a series that is not named is absent. A figure that
// nobody measured lately is no figure.
func TestMetricsSayWhatIsKnown(t *testing.T) {
	slots := func(atLeast bool, seconds float64) []replication.SlotStatus {
		return []replication.SlotStatus{{Region: "eu", Position: 7, Connected: true, Lag: replication.Lag{
			Commands: 3, Bytes: 30, Seconds: seconds, AtLeast: atLeast,
		}}}
	}
	primary := replication.HealthStatus{
		State: replication.StateReady, Healthy: true, Region: "us", Role: replication.RolePrimary, Primary: "us",
		LeaderID: "us-1", LeaderRaftID: 1,
	}
	leader, cutOff, superseded, follower := primary, primary, primary, primary
	leader.IsLeader, leader.Slots = true, slots(false, 0.5)
	leader.Gate = &replication.GateStatus{DelaySeconds: 0.25, Why: "eu is behind"}
	cutOff.Healthy, cutOff.LeaderID, cutOff.LeaderRaftID, cutOff.LeaderAgeSeconds = false, "", 0, 35
	cutOff.Lag, cutOff.Sealed, cutOff.Slots = replication.Lag{Seconds: -1, AtLeast: true}, true, slots(true, -1)
	superseded.IsLeader, superseded.Primary, superseded.Slots = true, "eu", slots(true, -1)
	superseded.Lag = replication.Lag{Seconds: -1, AtLeast: true}
	follower.Slots = slots(true, -1)
	secondary := primary
	secondary.Region, secondary.Role, secondary.IsLeader = "eu", replication.RoleSecondary, true
	behind, atLeast, nothing, unheard := secondary, secondary, secondary, secondary
	behind.Lag = replication.Lag{Commands: 3, Bytes: 30, Seconds: 2}
	atLeast.Lag = replication.Lag{Commands: 73, Seconds: 46, AtLeast: true}
	nothing.Lag = replication.Lag{Seconds: 46, AtLeast: true}
	unheard.IsLeader, unheard.Lag = false, replication.Lag{Commands: 5, Seconds: -1, AtLeast: true}
	between := unheard
	between.Slots = append(slots(true, -1), replication.SlotStatus{Region: "us", Position: 3, Lost: true})
	between.Slots[0].Region = "ap"
	unknown := "healthy:0 has_leader:0 leader:0 lag_known:0"
	for _, c := range []struct {
		why  string
		h    replication.HealthStatus
		want string
	}{
		{"starting", replication.HealthStatus{
			State: replication.StateInitializing, Lag: replication.Lag{Seconds: -1}, LeaderAgeSeconds: -1,
		}, unknown},
		{"removed, or stopped", replication.HealthStatus{
			State: replication.StateClosed, Lag: replication.Lag{Seconds: -1}, LeaderAgeSeconds: -1,
		}, unknown},
		{"cut off", cutOff, unknown + " leader_age_seconds:35"},
		{"leader of the primary", leader, "healthy:1 has_leader:1 leader:1 leader_age_seconds:0 sealed:0 lag_known:1 " +
			"lag_at_least:0 lag_commands:0 lag_bytes:0 lag_seconds:0 role{primary}:1 role{secondary}:0 " +
			"role{diverged}:0 " +
			"slot_position{eu}:7 slot_connected{eu}:1 slot_lost{eu}:0 slot_lag_commands{eu}:3 slot_lag_bytes{eu}:30 " +
			"slot_lag_seconds{eu}:0.5 lag_gate_delay_seconds:0.25 lag_gate_refuses:0"},
		{"follower in the primary", follower, "healthy:1 has_leader:1 leader:0 leader_age_seconds:0 sealed:0 " +
			"lag_known:1 lag_at_least:0 lag_commands:0 lag_bytes:0 lag_seconds:0 role{primary}:1 role{secondary}:0 " +
			"role{diverged}:0 slot_position{eu}:7 slot_connected{eu}:1 slot_lost{eu}:0"},
		{"a primary that another has superseded", superseded, "healthy:1 has_leader:1 leader:1 leader_age_seconds:0 " +
			"sealed:0 lag_known:0 role{primary}:1 role{secondary}:0 role{diverged}:0"},
		{"leader of a secondary", behind, "healthy:1 has_leader:1 leader:1 leader_age_seconds:0 sealed:0 " +
			"lag_known:1 lag_at_least:0 lag_commands:3 lag_bytes:30 lag_seconds:2 role{primary}:0 role{secondary}:1 " +
			"role{diverged}:0"},
		{"its source is cut off", atLeast, "healthy:1 has_leader:1 leader:1 leader_age_seconds:0 sealed:0 " +
			"lag_known:1 lag_at_least:1 lag_commands:73 lag_seconds:46 role{primary}:0 role{secondary}:1 " +
			"role{diverged}:0"},
		{"and nobody else says more", nothing, "healthy:1 has_leader:1 leader:1 leader_age_seconds:0 sealed:0 " +
			"lag_known:1 lag_at_least:1 lag_seconds:46 role{primary}:0 role{secondary}:1 role{diverged}:0"},
		{"follower in a secondary", unheard, "healthy:1 has_leader:1 leader:0 leader_age_seconds:0 sealed:0 " +
			"lag_known:0 lag_at_least:1 lag_commands:5 role{primary}:0 role{secondary}:1 role{diverged}:0"},
		{"and serves a region that follows by way of it", between, "healthy:1 has_leader:1 leader:0 " +
			"leader_age_seconds:0 sealed:0 lag_known:0 lag_at_least:1 lag_commands:5 role{primary}:0 " +
			"role{secondary}:1 role{diverged}:0 slot_connected{ap}:1"},
	} {
		got := series(t, &c.h)
		for _, always := range []string{"epoch", "position", "term", "commit_index", "applied_index", "log_bytes",
			"disk_stalled_seconds", "revision", "compact_revision", "store_bytes{total}", "store_bytes{in_use}",
			"alarms", "disk_free_bytes", "disk_reserve_bytes", "keys", "leases", "watchers", "slow_watchers",
			"leader_changes_total", "proposals_pending", "proposals_failed_total"} {
			delete(got, always)
		}
		var list []string
		for name, v := range got {
			list = append(list, fmt.Sprintf("%s:%v", name, v))
		}
		want := strings.Fields(c.want)
		slices.Sort(list)
		slices.Sort(want)
		if !slices.Equal(list, want) {
			t.Errorf("%s:\n got %s\nwant %s", c.why, strings.Join(list, " "), strings.Join(want, " "))
		}
	}
}

// What this node cannot know of itself before it is up is absent.
func TestMetricsOfANodeThatIsNotUp(t *testing.T) {
	got := series(t, &replication.HealthStatus{State: replication.StateInitializing, LeaderAgeSeconds: -1})
	for name := range maps.Keys(got) {
		for _, figure := range []string{"epoch", "position", "term", "commit_index", "applied_index", "log_bytes",
			"leader_changes_total", "proposals_pending"} {
			if name == figure {
				t.Errorf("%s is exported as %v", name, got[name])
			}
		}
	}
}
