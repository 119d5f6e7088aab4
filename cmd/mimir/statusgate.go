package main

import (
	"fmt"
	"time"
)

// tellGate warns of writes that the lag gate holds back.
func (f *fleetReport) tellGate() {
	for _, r := range f.Regions {
		for _, n := range r.nodes {
			if n.health == nil || n.health.Gate == nil {
				continue
			}
			g := n.health.Gate
			does := "refuses writes"
			if !g.Refuses {
				delay := time.Duration(g.DelaySeconds * float64(time.Second)).Round(time.Millisecond)
				does = fmt.Sprintf("takes a batch of writes every %s at most", delay)
			}
			f.Warnings = append(f.Warnings, fmt.Sprintf("node %s %s by its lag gate: %s. To take writes that only "+
				"this region has, raise lag-gate on the nodes of region %s, or set it to 0, and have them read it "+
				"(SIGHUP)", n.name, does, g.Why, r.Name))
		}
	}
}
