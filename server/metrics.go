package server

import (
	"github.com/prometheus/client_golang/prometheus"

	"github.com/mimir-kv/mimir/replication"
)

// nodeMetrics reads a node's figures when they are scraped, and costs nothing otherwise.
type nodeMetrics struct {
	health func() *replication.HealthStatus
	store  func() storeFigures

	leader, healthy, sealed, role, epoch, position, term, committed, applied, logBytes, stalled *prometheus.Desc
	revision, compacted, storeBytes, alarms, diskFree, diskReserve                              *prometheus.Desc
	fenced, lease, ceiling, supported                                                           *prometheus.Desc
	lagCommands, lagBytes, lagSeconds                                                           *prometheus.Desc
	slotPosition, slotCommands, slotBytes, slotSeconds, slotConnected, slotLost                 *prometheus.Desc
}

// storeFigures is what the store tells of itself.
type storeFigures struct {
	revision, compacted, bytes, bytesInUse int64
	alarms                                 int // of the whole fleet
	free                                   uint64
	reserve                                int64
}

func newNodeMetrics(health func() *replication.HealthStatus, store func() storeFigures) *nodeMetrics {
	one := func(name, help string, labels ...string) *prometheus.Desc {
		return prometheus.NewDesc("mimir_"+name, help, labels, nil)
	}
	return &nodeMetrics{
		health: health, store: store,
		leader:    one("leader", "1 if this node leads its region."),
		healthy:   one("healthy", "1 if this node knows of nothing that keeps it from serving its region."),
		sealed:    one("sealed", "1 while a switchover holds writes back."),
		role:      one("role", "1 for the role that the region has, as this node has applied it.", "role"),
		epoch:     one("epoch", "Number of the reign this node has applied."),
		position:  one("position", "Number of the last command applied."),
		term:      one("term", "Raft term."),
		committed: one("commit_index", "Last Raft entry known to be committed."),
		applied:   one("applied_index", "Last Raft entry applied."),
		logBytes:  one("log_bytes", "Bytes of log kept."),
		stalled: one("disk_stalled_seconds",
			"Seconds since when the disk has not finished a write of the log; 0 unless that is long."),
		fenced: one("fenced", "1 while the primary has no lease and acknowledges nothing; on its leader, where votes "+
			"are taken."),
		lease: one("lease_seconds", "Seconds that are left of the primary's lease, likewise."),
		ceiling: one("ceiling_left", "Commands that the primary may acknowledge before its ceiling is raised, "+
			"likewise; absent if there is no bound."),
		supported:   one("vote_support", "1 if a voter supports the primary, likewise.", "voter"),
		revision:    one("revision", "Revision of the store."),
		compacted:   one("compact_revision", "Revision up to which history was compacted."),
		storeBytes:  one("store_bytes", "Bytes of the store on disk.", "kind"),
		alarms:      one("alarms", "Alarms raised by any node of the fleet: no writes but deletes are taken."),
		diskFree:    one("disk_free_bytes", "Bytes free on the disk of the data directory."),
		diskReserve: one("disk_reserve_bytes", "With fewer bytes free this node raises an alarm."),
		lagCommands: one("lag_commands", "Commands this region is behind the primary, as of its last word, which is "+
			"no older than mimir_lag_seconds; absent if unknown."),
		lagBytes: one("lag_bytes", "Bytes this region is behind the primary, likewise."),
		lagSeconds: one("lag_seconds",
			"Upper bound of the seconds this region is behind the primary; negative if unknown."),
		slotPosition: one("slot_position", "Last position acknowledged by a region that follows.", "to"),
		slotCommands: one("slot_lag_commands", "Upper bound of the commands a following region is behind.", "to"),
		slotBytes: one("slot_lag_bytes", "Upper bound of the bytes a following region is behind; absent if unknown.",
			"to"),
		slotSeconds: one("slot_lag_seconds",
			"Upper bound of the seconds a following region is behind; negative if unknown.", "to"),
		slotConnected: one("slot_connected", "1 while a following region is connected.", "to"),
		slotLost:      one("slot_lost", "1 if a region fell past the retained log and has to bootstrap.", "to"),
	}
}

// Describe sends nothing: labels come and go with regions, so the collector is unchecked.
func (m *nodeMetrics) Describe(chan<- *prometheus.Desc) {}

// Collect reads one picture of the node.
func (m *nodeMetrics) Collect(out chan<- prometheus.Metric) {
	gauge := func(d *prometheus.Desc, v float64, labels ...string) {
		out <- prometheus.MustNewConstMetric(d, prometheus.GaugeValue, v, labels...)
	}
	h, s := m.health(), m.store()
	gauge(m.leader, truth(h.IsLeader))
	gauge(m.healthy, truth(h.Healthy))
	gauge(m.sealed, truth(h.Sealed))
	for _, role := range []replication.Role{
		replication.RolePrimary, replication.RoleSecondary, replication.RoleDiverged,
	} {
		gauge(m.role, truth(h.Role == role), string(role))
	}
	gauge(m.epoch, float64(h.Epoch))
	gauge(m.position, float64(h.Position))
	gauge(m.term, float64(h.Term))
	gauge(m.committed, float64(h.CommitIndex))
	gauge(m.applied, float64(h.AppliedIndex))
	gauge(m.logBytes, float64(h.LogBytes))
	gauge(m.stalled, h.DiskStalled.Seconds())
	if v := h.Votes; v != nil && (v.Holds || v.Fenced) {
		gauge(m.fenced, truth(v.Fenced))
		gauge(m.lease, v.Left.Seconds())
		if v.MaxLoss != replication.AnyLoss && v.Ceiling >= h.Position {
			gauge(m.ceiling, float64(v.Ceiling-h.Position))
		}
		for _, voter := range v.Voters {
			gauge(m.supported, truth(voter.Supports), voter.ID)
		}
	}
	gauge(m.revision, float64(s.revision))
	gauge(m.compacted, float64(s.compacted))
	gauge(m.storeBytes, float64(s.bytes), "total")
	gauge(m.storeBytes, float64(s.bytesInUse), "in_use")
	gauge(m.alarms, float64(s.alarms))
	gauge(m.diskFree, float64(s.free))
	gauge(m.diskReserve, float64(s.reserve))
	if h.Lag.Seconds >= 0 { // else nothing is known that would be a bound
		gauge(m.lagCommands, float64(h.Lag.Commands))
		gauge(m.lagBytes, float64(h.Lag.Bytes))
	}
	gauge(m.lagSeconds, h.Lag.Seconds)
	for _, slot := range h.Slots {
		gauge(m.slotPosition, float64(slot.Position), slot.Region)
		gauge(m.slotCommands, float64(slot.Lag.Commands), slot.Region)
		if slot.Lag.Seconds >= 0 {
			gauge(m.slotBytes, float64(slot.Lag.Bytes), slot.Region)
		}
		gauge(m.slotSeconds, slot.Lag.Seconds, slot.Region)
		gauge(m.slotConnected, truth(slot.Connected), slot.Region)
		gauge(m.slotLost, truth(slot.Lost), slot.Region)
	}
}

func truth(b bool) float64 {
	if b {
		return 1
	}
	return 0
}
