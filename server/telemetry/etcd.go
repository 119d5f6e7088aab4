package telemetry

import (
	"github.com/prometheus/client_golang/prometheus"

	"github.com/mimir-kv/mimir/replication"
)

// Of this node, by the names of etcd (T2). A cluster is the region.
var (
	etcdHasLeader = Declare(Gauge, "etcd_server_has_leader", "As mimir_has_leader.")
	etcdIsLeader  = Declare(Gauge, "etcd_server_is_leader", "As mimir_leader: of the region, whatever its role.")
	etcdIsLearner = Declare(Gauge, "etcd_server_is_learner", "1 if this node is a learner of its region.")
	etcdID        = Declare(Gauge, "etcd_server_id", "1 for the identity of this node, in hexadecimal.", "server_id")
	etcdChanges   = Declare(Counter, "etcd_server_leader_changes_seen_total", "As mimir_leader_changes_total.")
	etcdCommitted = Declare(Gauge, "etcd_server_proposals_committed_total", "As mimir_commit_index.")
	etcdApplied   = Declare(Gauge, "etcd_server_proposals_applied_total", "As mimir_applied_index.")
	etcdPending   = Declare(Gauge, "etcd_server_proposals_pending", "As mimir_proposals_pending.")
	etcdFailed    = Declare(Counter, "etcd_server_proposals_failed_total", "As mimir_proposals_failed_total.")
	etcdQuota     = Declare(Gauge, "etcd_server_quota_backend_bytes", "As mimir_quota_bytes.")
	etcdAlarms    = Declare(Gauge, "etcd_debugging_server_alarms", "1 for each alarm of the fleet, by who raised it.",
		"server_id", "alarm_type")

	etcdSize = Declare(Gauge, "etcd_mvcc_db_total_size_in_bytes",
		"Bytes of the store, with what is not flushed to disk yet, as in the answer to Status.")
	etcdInUse = Declare(Gauge, "etcd_mvcc_db_total_size_in_use_in_bytes",
		"Those of them that are not obsolete. What is obsolete goes by itself.")
	etcdRevision = Declare(Gauge, "etcd_debugging_mvcc_current_revision", "As mimir_revision.")
	etcdCompact  = Declare(Gauge, "etcd_debugging_mvcc_compact_revision", "As mimir_compact_revision.")
	etcdKeys     = Declare(Gauge, "etcd_debugging_mvcc_keys_total", "As mimir_keys.")
	etcdWatchers = Declare(Gauge, "etcd_debugging_mvcc_watcher_total", "As mimir_watchers.")
	etcdSlow     = Declare(Gauge, "etcd_debugging_mvcc_slow_watcher_total", "As mimir_slow_watchers.")
	etcdStreams  = Declare(Gauge, "etcd_debugging_mvcc_watch_stream_total", "Streams of watches that are open.")

	clientSent = Declare(Counter, "etcd_network_client_grpc_sent_bytes_total",
		"Bytes of messages to clients over gRPC, the JSON gateway's included.")
	clientReceived = Declare(Counter, "etcd_network_client_grpc_received_bytes_total",
		"Bytes of messages of clients over gRPC, likewise.")
)

func (m *Node) collectEtcd(out chan<- prometheus.Metric, h *replication.HealthStatus, s *Store) {
	etcdHasLeader.SetTruth(out, h.LeaderRaftID != 0)
	etcdIsLeader.SetTruth(out, h.IsLeader)
	if h.RaftID != 0 {
		etcdID.Set(out, 1, hex(h.RaftID))
	}
	if h.State == replication.StateReady {
		for i := range h.Nodes {
			if h.Nodes[i].ID == h.RaftID {
				etcdIsLearner.SetTruth(out, h.Nodes[i].Learner)
			}
		}
		etcdChanges.Set(out, float64(h.LeaderChanges))
		etcdCommitted.Set(out, float64(h.CommitIndex))
		etcdApplied.Set(out, float64(h.AppliedIndex))
		etcdPending.Set(out, float64(h.ProposalsPending))
		etcdFailed.Set(out, float64(h.ProposalsFailed))
	}
	if s.Quota > 0 {
		etcdQuota.Set(out, float64(s.Quota))
	}
	for _, a := range s.Alarms {
		etcdAlarms.Set(out, 1, hex(a.Member), a.Kind)
	}
	etcdSize.Set(out, float64(s.Bytes+s.Unflushed))
	etcdInUse.Set(out, float64(s.InUse+s.Unflushed))
	etcdRevision.Set(out, float64(s.Revision))
	etcdCompact.Set(out, float64(s.Compacted))
	if s.Keys >= 0 {
		etcdKeys.Set(out, float64(s.Keys))
	}
	etcdWatchers.Set(out, float64(s.Watchers))
	etcdSlow.Set(out, float64(s.Slow))
	if m.Calls != nil {
		etcdStreams.Set(out, float64(m.Calls.openOf("etcdserverpb.Watch/Watch")))
	}
	if m.Traffic != nil {
		sent, received := m.Traffic()
		clientSent.Set(out, float64(sent))
		clientReceived.Set(out, float64(received))
	}
}
