package main

import (
	"slices"
	"strings"
	"time"

	"github.com/mimir-kv/mimir/replication"
	"github.com/mimir-kv/mimir/server/admin"
)

// certificateReport is what is wrong with the certificates that nodes use, and what will be soon.
type certificateReport struct {
	Wrong []string `json:"wrong,omitempty"`
	Soon  []string `json:"soon,omitempty"`
}

// nodesBeside returns the nodes of a region that can be asked, but for the one that spoke for it.
func nodesBeside(r *replication.RegionStatus) []replication.NodeStatus {
	return slices.DeleteFunc(slices.Clone(r.Nodes), func(n replication.NodeStatus) bool {
		return n.Name == r.By || !n.Reachable || len(n.ClientURLs) == 0
	})
}

// tellCertificates fills in what the nodes of regions told of their files, by region.
func (f *fleetReport) tellCertificates(now time.Time, told map[string][]*admin.Node) {
	var c certificateReport
	for _, region := range f.Regions {
		nodes := told[region.Name]
		slices.SortFunc(nodes, func(a, b *admin.Node) int { return strings.Compare(a.NodeID, b.NodeID) })
		nodes = slices.CompactFunc(nodes, func(a, b *admin.Node) bool { return a.NodeID == b.NodeID })
		for _, n := range nodes {
			wrong, soon := n.TLS.Troubles(now)
			for _, text := range wrong {
				c.Wrong = append(c.Wrong, n.Region+"/"+n.NodeID+": "+text)
			}
			for _, text := range soon {
				c.Soon = append(c.Soon, n.Region+"/"+n.NodeID+": "+text)
			}
		}
	}
	if len(c.Wrong)+len(c.Soon) > 0 {
		f.Certificates = &c
	}
}
