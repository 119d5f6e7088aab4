package server

import (
	"github.com/prometheus/client_golang/prometheus"

	"github.com/mimir-kv/mimir/replication"
)

// nodeMetrics reads a node's figures when they are scraped, and costs nothing otherwise. What is not known has no
// series: a node that is not up has none of its own place, one that knows no leader none of its region.
type nodeMetrics struct {
	health func() *replication.HealthStatus
	store  func() storeFigures

	hasLeader, leaderAge                                                                        *prometheus.Desc
	leader, healthy, sealed, role, epoch, position, term, committed, applied, logBytes, stalled *prometheus.Desc
	revision, compacted, storeBytes, alarms, diskFree, diskReserve                              *prometheus.Desc
	fenced, lease, ceiling, supported                                                           *prometheus.Desc
	delay, shown                                                                                *prometheus.Desc
	lagKnown, lagAtLeast, lagCommands, lagBytes, lagSeconds                                     *prometheus.Desc
	slotPosition, slotCommands, slotBytes, slotSeconds, slotConnected, slotLost                 *prometheus.Desc
}

// storeFigures is what the store tells of itself.
type storeFigures struct {
	revision, compacted, bytes, bytesInUse int64
	alarms                                 int // of the whole fleet
	free                                   uint64
	freeKnown                              bool
	reserve                                int64
}

func newNodeMetrics(health func() *replication.HealthStatus, store func() storeFigures) *nodeMetrics {
	one := func(name, help string, labels ...string) *prometheus.Desc {
		return prometheus.NewDesc("mimir_"+name, help, labels, nil)
	}
	return &nodeMetrics{
		health: health, store: store,
		hasLeader: one("has_leader", "1 if this node heard the leader of its region within the election time, or is "+
			"it and heard a majority. If it is 0, this node knows nothing of its region, and exports nothing of it."),
		leaderAge: one("leader_age_seconds", "Seconds since this node last heard a leader of its region, or, if it "+
			"leads, a majority; absent if it never has since it started."),
		leader: one("leader", "1 if this node leads its region, and heard a majority within the election time."),
		healthy: one("healthy", "1 if this node knows its leader and of nothing that keeps it from serving its "+
			"region."),
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
		supported:  one("vote_support", "1 if a voter supports the primary, likewise.", "voter"),
		revision:   one("revision", "Revision of the store."),
		compacted:  one("compact_revision", "Revision up to which history was compacted."),
		storeBytes: one("store_bytes", "Bytes of the store on disk.", "kind"),
		alarms: one("alarms", "Alarms raised by any node of the fleet, as this node has applied them: no writes but "+
			"deletes are taken."),
		diskFree: one("disk_free_bytes", "Bytes free on the disk of the data directory; absent if the system does not "+
			"say."),
		diskReserve: one("disk_reserve_bytes", "With fewer bytes free this node raises an alarm."),
		lagKnown: one("lag_known", "1 if this node knows for how long at most its region is behind the primary; in a "+
			"secondary only the leader can."),
		lagAtLeast: one("lag_at_least", "1 if mimir_lag_commands and mimir_lag_bytes are only what is known of: the "+
			"primary did not say lately where it is, and there may be more."),
		lagCommands: one("lag_commands", "Commands this region is behind the primary, as of its last word, which is "+
			"no older than mimir_lag_seconds; a lower bound if mimir_lag_at_least is 1; absent if unknown."),
		lagBytes: one("lag_bytes", "Bytes this region is behind the primary, likewise."),
		lagSeconds: one("lag_seconds",
			"Upper bound of the seconds this region is behind the primary; absent if unknown."),
		delay: one("apply_delay_seconds", "How late this region shows its history, on purpose; else absent."),
		shown: one("shown_position", "Position up to which this node shows the history, likewise."),
		slotPosition: one("slot_position", "Last position acknowledged by a region that follows, on nodes of the "+
			"primary.", "to"),
		slotCommands: one("slot_lag_commands", "Upper bound of the commands a following region is behind, on the "+
			"leader of the primary.", "to"),
		slotBytes: one("slot_lag_bytes", "Upper bound of the bytes a following region is behind, likewise; absent if "+
			"another node serves it.", "to"),
		slotSeconds: one("slot_lag_seconds", "Upper bound of the seconds a following region is behind, likewise.",
			"to"),
		slotConnected: one("slot_connected", "1 while a following region is connected to this node.", "to"),
		slotLost:      one("slot_lost", "1 if a region fell past the retained log and has to bootstrap.", "to"),
	}
}

// Describe sends nothing: labels come and go with regions, so the collector is unchecked.
func (m *nodeMetrics) Describe(chan<- *prometheus.Desc) {}

// gauges takes values.
type gauges chan<- prometheus.Metric

func (g gauges) set(d *prometheus.Desc, v float64, labels ...string) {
	g <- prometheus.MustNewConstMetric(d, prometheus.GaugeValue, v, labels...)
}

// Collect reads one picture of the node.
func (m *nodeMetrics) Collect(out chan<- prometheus.Metric) {
	g, h := gauges(out), m.health()
	led := h.LeaderRaftID != 0
	g.set(m.leader, truth(h.IsLeader))
	g.set(m.hasLeader, truth(led))
	g.set(m.healthy, truth(h.Healthy))
	if h.LeaderAgeSeconds >= 0 {
		g.set(m.leaderAge, h.LeaderAgeSeconds)
	}
	m.collectStore(g)
	m.collectVotes(g, h)
	if h.State == replication.StateReady {
		g.set(m.epoch, float64(h.Epoch))
		g.set(m.position, float64(h.Position))
		g.set(m.term, float64(h.Term))
		g.set(m.committed, float64(h.CommitIndex))
		g.set(m.applied, float64(h.AppliedIndex))
		g.set(m.logBytes, float64(h.LogBytes))
		g.set(m.stalled, h.DiskStalled.Seconds())
	}
	m.collectLag(g, &h.Lag)
	if !led {
		return
	}
	if l := h.Late; l != nil {
		g.set(m.delay, l.DelaySeconds)
		g.set(m.shown, float64(l.Shown))
	}
	g.set(m.sealed, truth(h.Sealed))
	for _, role := range []replication.Role{
		replication.RolePrimary, replication.RoleSecondary, replication.RoleDiverged,
	} {
		g.set(m.role, truth(h.Role == role), string(role))
	}
	if h.Role == replication.RolePrimary && h.Primary == h.Region { // a former primary keeps slots that nobody moves
		m.collectSlots(g, h.Slots)
	}
}

// Of how often the primary moves by itself.
var (
	autoMoves = prometheus.NewDesc("mimir_automatic_moves",
		"How often the primary moved by itself, of late, as far as this node knows, where votes are taken.", nil, nil)
	autoKept = prometheus.NewDesc("mimir_automatic_moves_kept",
		"1 while it does not again because it did so too often, likewise.", nil, nil)
)

func (m *nodeMetrics) collectVotes(g gauges, h *replication.HealthStatus) {
	v := h.Votes
	if v == nil {
		return
	}
	g.set(autoMoves, float64(len(v.Moves)))
	g.set(autoKept, truth(!v.KeptUntil.IsZero()))
	if !v.Holds && !v.Fenced {
		return
	}
	g.set(m.fenced, truth(v.Fenced))
	g.set(m.lease, v.Left.Seconds())
	if v.MaxLoss != replication.AnyLoss && v.MaxLoss != 0 && v.Ceiling >= h.Position &&
		v.Ceiling != replication.Position(replication.AnyLoss) {
		g.set(m.ceiling, float64(v.Ceiling-h.Position))
	}
	for _, voter := range v.Voters {
		g.set(m.supported, truth(voter.Supports), voter.ID)
	}
}

func (m *nodeMetrics) collectStore(g gauges) {
	s := m.store()
	g.set(m.revision, float64(s.revision))
	g.set(m.compacted, float64(s.compacted))
	g.set(m.storeBytes, float64(s.bytes), "total")
	g.set(m.storeBytes, float64(s.bytesInUse), "in_use")
	g.set(m.alarms, float64(s.alarms))
	if s.freeKnown {
		g.set(m.diskFree, float64(s.free))
	}
	g.set(m.diskReserve, float64(s.reserve))
}

func (m *nodeMetrics) collectLag(g gauges, lag *replication.Lag) {
	g.set(m.lagKnown, truth(lag.Seconds >= 0))
	if lag.Seconds >= 0 {
		g.set(m.lagSeconds, lag.Seconds)
	} else if !lag.AtLeast || lag.Commands == 0 {
		return
	}
	g.set(m.lagAtLeast, truth(lag.AtLeast))
	if !lag.AtLeast || lag.Commands > 0 { // else nothing is known of, which is not nothing
		g.set(m.lagCommands, float64(lag.Commands))
	}
	if !lag.AtLeast || lag.Bytes > 0 {
		g.set(m.lagBytes, float64(lag.Bytes))
	}
}

func (m *nodeMetrics) collectSlots(g gauges, slots []replication.SlotStatus) {
	for _, slot := range slots {
		g.set(m.slotPosition, float64(slot.Position), slot.Region)
		g.set(m.slotConnected, truth(slot.Connected), slot.Region)
		g.set(m.slotLost, truth(slot.Lost), slot.Region)
		if slot.Lag.AtLeast {
			continue
		}
		g.set(m.slotCommands, float64(slot.Lag.Commands), slot.Region)
		if slot.Lag.Seconds >= 0 {
			g.set(m.slotBytes, float64(slot.Lag.Bytes), slot.Region)
			g.set(m.slotSeconds, slot.Lag.Seconds, slot.Region)
		}
	}
}

func truth(b bool) float64 {
	if b {
		return 1
	}
	return 0
}
