package main

import (
	"fmt"
	"strings"
)

// silentNode is a node of which its region says that it answers other nodes, and that did not tell of itself.
type silentNode struct {
	Node   string `json:"node"`
	Region string `json:"region"`
	Why    string `json:"why"`
	// outdated says that the certificate which it shows to clients is not valid now.
	outdated bool
}

// tellSilent notes who did not tell of itself: what is told beside the table is of the others. It is not wrong by
// itself, since who looks may have no way to that node; that clients are shown a certificate which is over is.
func (f *fleetReport) tellSilent() {
	for _, r := range f.Regions {
		var names []string
		for _, s := range r.silent {
			f.Silent = append(f.Silent, s)
			names = append(names, s.Node)
			if s.outdated {
				f.Warnings = append(f.Warnings, fmt.Sprintf("who checks certificates is not served by %s (%s): %s",
					s.Node, s.Region, s.Why))
			}
		}
		if len(names) > 0 {
			f.Notes = append(f.Notes, fmt.Sprintf("%s: not told of itself, so that version, sizes, certificates and "+
				"settings are not known: %s (%s)", r.Name, strings.Join(names, ", "), r.silent[0].Why))
		}
	}
}

// unwell is what nodes of a region say that they are not healthy for.
func (r *regionReport) unwell() string {
	var list []string
	for _, n := range r.nodes {
		if n.health != nil && !n.health.Healthy && n.health.Problem != "" {
			list = append(list, n.name+" is not healthy: "+n.health.Problem)
		}
	}
	return strings.Join(list, "; ")
}
