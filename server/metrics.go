package server

import (
	"slices"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"

	"github.com/mimir-kv/mimir/server/telemetry"
	"github.com/mimir-kv/mimir/server/tracing"
)

// metrics returns everything that is told of the node.
func (s *server) metrics() *prometheus.Registry {
	registry := prometheus.NewRegistry()
	registry.MustRegister(collectors.NewGoCollector(),
		collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}),
		&telemetry.Node{
			Health: s.replicator.Health, Store: s.figures, Calls: s.calls,
			Traffic: func() (sent, received uint64) { return s.traffic.Sent.Load(), s.traffic.Received.Load() },
		},
		telemetry.Build{Version: s.version}, s.calls, s.times, &s.checks, &s.durable, s.wire,
		doorMetrics{doors: s.ports.doors}, auditMetrics{audit: s.audit},
		logMetrics{outputs: s.outputs},
		equalityMetrics{equality: s.equality}, backupMetrics{report: s.backupReport},
		archiveMetrics{status: s.archiveStatus}, s.ports.tls.keeper,
		followerMetrics{report: s.partial.Report}, &keyMetrics{disk: s.disk}, tracing.Metrics{Tracing: s.tracing})
	return registry
}

// figures is what the store and its disk tell of themselves.
func (s *server) figures() telemetry.Store {
	m := s.store.Metrics()
	free, err := s.freeBytes()
	f := telemetry.Store{
		Revision: m.Revision, Compacted: m.CompactRevision,
		Bytes: m.TotalBytes, InUse: m.InUseBytes, Unflushed: int64(m.MemTableBytes),
		Keys: m.Keys, Leases: m.Leases, Watchers: m.Watchers, Slow: m.SlowWatchers,
		Free: free, FreeKnown: err == nil, Reserve: s.room.reserve, Quota: s.settled.quota.Load(),
	}
	for _, a := range s.store.Alarms() {
		f.Alarms = append(f.Alarms, telemetry.Alarm{Member: a.MemberID, Kind: a.Alarm.String()})
	}
	return f
}

// peers returns the other nodes of the fleet, as far as this one knows them. Where to look for those of the region
// first is in the settings too.
func (s *server) peers() (list []telemetry.Peer) {
	r := &s.config.Replication
	nodes := append(slices.Clone(s.replicator.Health().Nodes), s.replicator.OtherMembers()...)
	for i := range nodes {
		n := &nodes[i]
		if n.PeerAddr == "" || n.Region == r.RegionID && n.Name == r.NodeID {
			continue
		}
		p := telemetry.Peer{ID: n.ID, Region: n.Region, Name: n.Name, Addrs: []string{n.PeerAddr}}
		if first := r.Nodes[n.Name]; n.Region == r.RegionID && first != "" && first != n.PeerAddr {
			p.Addrs = append(p.Addrs, first)
		}
		list = append(list, p)
	}
	return list
}
