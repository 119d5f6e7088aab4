package telemetry

import (
	"github.com/prometheus/client_golang/prometheus"

	"github.com/mimir-kv/mimir/replication"
)

// Of this node and its region.
var (
	hasLeader = Declare(Gauge, "mimir_has_leader",
		"1 if this node heard the leader of its region within the election time, or is it and heard a "+
			"majority. If it is 0, this node knows nothing of its region, and exports nothing of it.")
	leaderAge = Declare(Gauge, "mimir_leader_age_seconds",
		"Seconds since this node last heard a leader of its region, or, if it leads, a majority; absent "+
			"if it never has since it started.")
	leader = Declare(Gauge, "mimir_leader",
		"1 if this node leads its region, and heard a majority within the election time.")
	healthy = Declare(Gauge, "mimir_healthy",
		"1 if this node knows its leader and of nothing that keeps it from serving its region.")
	sealed = Declare(Gauge, "mimir_sealed", "1 while a switchover holds writes back.")
	role   = Declare(Gauge, "mimir_role",
		"1 for the role that the region has, as this node has applied it.", "role")
	epoch     = Declare(Gauge, "mimir_epoch", "Number of the reign this node has applied.")
	position  = Declare(Gauge, "mimir_position", "Number of the last command applied.")
	term      = Declare(Gauge, "mimir_term", "Raft term.")
	committed = Declare(Gauge, "mimir_commit_index", "Last Raft entry known to be committed.")
	applied   = Declare(Gauge, "mimir_applied_index", "Last Raft entry applied.")
	logBytes  = Declare(Gauge, "mimir_log_bytes", "Bytes of log kept.")
	stalled   = Declare(Gauge, "mimir_disk_stalled_seconds",
		"Seconds since when the disk has not finished a write of the log; 0 unless that is long.")
	fenced = Declare(Gauge, "mimir_fenced",
		"1 while the primary has no lease and acknowledges nothing; on its leader, where votes are taken.")
	lease   = Declare(Gauge, "mimir_lease_seconds", "Seconds that are left of the primary's lease, likewise.")
	ceiling = Declare(Gauge, "mimir_ceiling_left",
		"Commands that the primary may acknowledge before its ceiling is raised, likewise; absent if "+
			"there is no bound.")
	supported  = Declare(Gauge, "mimir_vote_support", "1 if a voter supports the primary, likewise.", "voter")
	revision   = Declare(Gauge, "mimir_revision", "Revision of the store.")
	compacted  = Declare(Gauge, "mimir_compact_revision", "Revision up to which history was compacted.")
	storeBytes = Declare(Gauge, "mimir_store_bytes", "Bytes of the store on disk.", "kind")
	alarms     = Declare(Gauge, "mimir_alarms",
		"Alarms raised by any node of the fleet, or by a client, as this node has applied them: no writes but "+
			"deletes are taken, with CORRUPT not even these.")
	diskFree = Declare(Gauge, "mimir_disk_free_bytes",
		"Bytes free on the disk of the data directory; absent if the system does not say.")
	diskReserve = Declare(Gauge, "mimir_disk_reserve_bytes", "With fewer bytes free this node raises an alarm.")
	lagKnown    = Declare(Gauge, "mimir_lag_known",
		"1 if this node knows for how long at most its region is behind the primary; in a secondary only "+
			"the leader can.")
	lagAtLeast = Declare(Gauge, "mimir_lag_at_least",
		"1 if mimir_lag_commands and mimir_lag_bytes are only what is known of: the primary did not say "+
			"lately where it is, and there may be more.")
	lagCommands = Declare(Gauge, "mimir_lag_commands",
		"Commands this region is behind the primary, as of its last word, which is no older than "+
			"mimir_lag_seconds; a lower bound if mimir_lag_at_least is 1; absent if unknown.")
	lagBytes   = Declare(Gauge, "mimir_lag_bytes", "Bytes this region is behind the primary, likewise.")
	lagSeconds = Declare(Gauge, "mimir_lag_seconds",
		"Upper bound of the seconds this region is behind the primary; absent if unknown.")
	delay = Declare(Gauge, "mimir_apply_delay_seconds",
		"How late this region shows its history, on purpose; else absent.")
	shown = Declare(Gauge, "mimir_shown_position",
		"Position up to which this node shows the history, likewise.")
	slotPosition = Declare(Gauge, "mimir_slot_position",
		"Last position acknowledged by a region that follows, on nodes of the primary.", "to")
	slotCommands = Declare(Gauge, "mimir_slot_lag_commands",
		"Upper bound of the commands a following region is behind, on the leader of the primary.", "to")
	slotBytes = Declare(Gauge, "mimir_slot_lag_bytes",
		"Upper bound of the bytes a following region is behind, likewise; absent if another node serves "+
			"it.", "to")
	slotSeconds = Declare(Gauge, "mimir_slot_lag_seconds",
		"Upper bound of the seconds a following region is behind, likewise.", "to")
	slotConnected = Declare(Gauge, "mimir_slot_connected",
		"1 while a following region is connected to this node, 0 of others on nodes of the primary; absent of others "+
			"elsewhere.", "to")
	slotLost = Declare(Gauge, "mimir_slot_lost",
		"1 if a region fell past the retained log and has to bootstrap.", "to")
	leaderChanges = Declare(Counter, "mimir_leader_changes_total",
		"How often this node came to know a leader of its region that it had not known before: the first "+
			"one, and the same one after there was none, count too.")
	pending = Declare(Gauge, "mimir_proposals_pending",
		"Writes that were asked of this node and wait for their outcome.")
	failed = Declare(Counter, "mimir_proposals_failed_total",
		"Writes that were asked of this node, were tried, and had no outcome but an error: the client may "+
			"not know whether they were done.")
	keys         = Declare(Gauge, "mimir_keys", "Keys that exist now; absent if they are not counted, or not yet.")
	leases       = Declare(Gauge, "mimir_leases", "Leases that exist now.")
	watchers     = Declare(Gauge, "mimir_watchers", "Watches of clients.")
	slowWatchers = Declare(Gauge, "mimir_slow_watchers",
		"Those of them that read from disk, because they began in the past or cannot keep up.")
	quota = Declare(Gauge, "mimir_quota_bytes",
		"Bytes of the store beyond which this node raises an alarm; absent if there is no quota.")
	autoMoves = Declare(Gauge, "mimir_automatic_moves",
		"How often the primary moved by itself, of late, as far as this node knows, where votes are "+
			"taken.")
	autoKept = Declare(Gauge, "mimir_automatic_moves_kept",
		"1 while it does not again because it did so too often, likewise.")
)

// Node reads a node's figures when they are scraped, and costs nothing otherwise. What is not known has no series (T1):
// a node that is not up has none of its own place, one that knows no leader none of its region.
type Node struct {
	Unchecked
	Health  func() *replication.HealthStatus
	Store   func() Store
	Calls   *Calls
	Traffic func() (sent, received uint64) // of clients over gRPC
}

// Store is what the store tells of itself.
type Store struct {
	Revision, Compacted int64
	Bytes, InUse        int64 // on disk
	Unflushed           int64 // and not yet on disk
	Keys                int   // -1: not counted
	Leases              int
	Watchers, Slow      int // Slow are those that read from disk
	Alarms              []Alarm
	Free                uint64 // on the disk
	FreeKnown           bool
	Reserve             int64
	Quota               int64 // 0: none
}

// Alarm is one that is raised.
type Alarm struct {
	Member uint64
	Kind   string
}

// Collect reads one picture of the node.
func (m *Node) Collect(out chan<- prometheus.Metric) {
	h, s := m.Health(), m.Store()
	led := h.LeaderRaftID != 0
	leader.SetTruth(out, h.IsLeader)
	hasLeader.SetTruth(out, led)
	healthy.SetTruth(out, h.Healthy)
	if h.LeaderAgeSeconds >= 0 {
		leaderAge.Set(out, h.LeaderAgeSeconds)
	}
	collectStore(out, &s)
	m.collectEtcd(out, h, &s)
	collectVotes(out, h)
	if h.State == replication.StateReady {
		epoch.Set(out, float64(h.Epoch))
		position.Set(out, float64(h.Position))
		term.Set(out, float64(h.Term))
		committed.Set(out, float64(h.CommitIndex))
		applied.Set(out, float64(h.AppliedIndex))
		logBytes.Set(out, float64(h.LogBytes))
		stalled.Set(out, h.DiskStalled.Seconds())
		leaderChanges.Set(out, float64(h.LeaderChanges))
		pending.Set(out, float64(h.ProposalsPending))
		failed.Set(out, float64(h.ProposalsFailed))
	}
	collectTransfer(out, h)
	collectHeld(out, h)
	collectLag(out, &h.Lag)
	if !led {
		return
	}
	if l := h.Late; l != nil {
		delay.Set(out, l.DelaySeconds)
		shown.Set(out, float64(l.Shown))
	}
	sealed.SetTruth(out, h.Sealed)
	for _, one := range []replication.Role{
		replication.RolePrimary, replication.RoleSecondary, replication.RoleDiverged,
	} {
		role.SetTruth(out, h.Role == one, string(one))
	}
	switch { // a former primary keeps slots that nobody moves
	case h.Role == replication.RolePrimary && h.Primary == h.Region:
		collectSlots(out, h.Slots)
		if h.IsLeader {
			collectGate(out, h.Gate)
		}
	case h.Role == replication.RoleSecondary:
		collectServed(out, h.Slots)
	}
}

func collectVotes(out chan<- prometheus.Metric, h *replication.HealthStatus) {
	v := h.Votes
	if v == nil {
		return
	}
	autoMoves.Set(out, float64(len(v.Moves)))
	autoKept.SetTruth(out, !v.KeptUntil.IsZero())
	if !v.Holds && !v.Fenced {
		return
	}
	fenced.SetTruth(out, v.Fenced)
	lease.Set(out, v.Left.Seconds())
	if v.MaxLoss != replication.AnyLoss && v.MaxLoss != 0 && v.Ceiling >= h.Position &&
		v.Ceiling != replication.Position(replication.AnyLoss) {
		ceiling.Set(out, float64(v.Ceiling-h.Position))
	}
	for _, voter := range v.Voters {
		supported.SetTruth(out, voter.Supports, voter.ID)
	}
}

func collectStore(out chan<- prometheus.Metric, s *Store) {
	revision.Set(out, float64(s.Revision))
	compacted.Set(out, float64(s.Compacted))
	storeBytes.Set(out, float64(s.Bytes), "total")
	storeBytes.Set(out, float64(s.InUse), "in_use")
	if s.Keys >= 0 {
		keys.Set(out, float64(s.Keys))
	}
	leases.Set(out, float64(s.Leases))
	watchers.Set(out, float64(s.Watchers))
	slowWatchers.Set(out, float64(s.Slow))
	alarms.Set(out, float64(len(s.Alarms)))
	if s.FreeKnown {
		diskFree.Set(out, float64(s.Free))
	}
	diskReserve.Set(out, float64(s.Reserve))
	if s.Quota > 0 {
		quota.Set(out, float64(s.Quota))
	}
}

func collectLag(out chan<- prometheus.Metric, lag *replication.Lag) {
	lagKnown.SetTruth(out, lag.Seconds >= 0)
	if lag.Seconds >= 0 {
		lagSeconds.Set(out, lag.Seconds)
	} else if !lag.AtLeast || lag.Commands == 0 {
		return
	}
	lagAtLeast.SetTruth(out, lag.AtLeast)
	if !lag.AtLeast || lag.Commands > 0 { // else nothing is known of, which is not nothing
		lagCommands.Set(out, float64(lag.Commands))
	}
	if !lag.AtLeast || lag.Bytes > 0 {
		lagBytes.Set(out, float64(lag.Bytes))
	}
}

// collectServed says who follows a node of a secondary. Of who does not it knows nothing, and has no slot that moves.
func collectServed(out chan<- prometheus.Metric, slots []replication.SlotStatus) {
	for _, slot := range slots {
		if slot.Connected {
			slotConnected.Set(out, 1, slot.Region)
		}
	}
}

func collectSlots(out chan<- prometheus.Metric, slots []replication.SlotStatus) {
	for _, slot := range slots {
		slotPosition.Set(out, float64(slot.Position), slot.Region)
		slotConnected.SetTruth(out, slot.Connected, slot.Region)
		slotLost.SetTruth(out, slot.Lost, slot.Region)
		if slot.Lag.AtLeast {
			continue
		}
		slotCommands.Set(out, float64(slot.Lag.Commands), slot.Region)
		if slot.Lag.Seconds >= 0 {
			slotBytes.Set(out, float64(slot.Lag.Bytes), slot.Region)
			slotSeconds.Set(out, slot.Lag.Seconds, slot.Region)
		}
	}
}
