package main

import (
	"slices"
	"strings"
)

// tellGate warns of writes that the lag gate holds back, where the node that was asked for the fleet did not: it knows
// of it by the word of the leader of the primary, if that is of no version before.
func (f *fleetReport) tellGate() {
	for _, r := range f.Regions {
		for _, n := range r.nodes {
			if n.health == nil || n.health.Gate == nil {
				continue
			}
			told := slices.ContainsFunc(f.Warnings, func(w string) bool { // by figures of another moment
				return strings.HasPrefix(w, "node "+n.name+" ") && strings.Contains(w, " by its lag gate: ")
			})
			if !told {
				f.Warnings = append(f.Warnings, n.health.Gate.Warning(n.name, r.Name))
			}
		}
	}
}
