package main

import (
	"cmp"

	"github.com/mimir-kv/mimir/replication"
	"github.com/mimir-kv/mimir/server/console"
)

// regionOf is a region as the page shows it.
func (f *fleetReport) regionOf(r *regionReport) console.Region {
	row := r.row()
	one := console.Region{
		Name: row[0], Role: row[1], Epoch: row[2], Position: row[3], Revision: row[4], Leader: row[5], Voters: row[6],
		Lag: row[7], TakesWrites: r.TakesWrites, Source: r.Source, Connected: r.Connected, Problem: r.problems(),
		Figures: figuresOf(r), NodeLoss: nodeLoss(r), RegionLoss: f.regionLoss(r),
	}
	if r.Late != nil {
		one.Late = lateText(r.Late)
	}
	for _, n := range r.Nodes {
		said := r.node(n.Name)
		row := nodeRow(&n, said)
		one.Nodes = append(one.Nodes, console.Node{
			Name: cmp.Or(n.Name, n.PeerAddr), State: row[2], Version: row[3], Position: row[4], Revision: row[5],
			Store: row[6], Log: row[7], At: row[8],
			Well: n.Expected || n.Reachable && !n.CutOff && (said == nil || said.health == nil || said.health.Healthy),
		})
	}
	return one
}

// figuresOf leaves out what is not known, and what there may be more of.
func figuresOf(r *regionReport) (f console.Figures) {
	if r.Role == "" {
		return f
	}
	position := uint64(r.Position)
	f.Position = &position
	if r.Role == replication.RolePrimary || r.Lag.Seconds < 0 {
		return f
	}
	f.LagSeconds = &r.Lag.Seconds
	if !r.Lag.AtLeast {
		f.LagCommands, f.LagBytes = &r.Lag.Commands, &r.Lag.Bytes
	}
	return f
}

// nodeLoss says whether the region goes on without one more of its nodes.
func nodeLoss(r *regionReport) console.Loss {
	switch {
	case r.Role == "":
		return console.Loss{Cost: console.CostUnknown, Text: "nobody of it answers"}
	case r.Survivable:
		return console.Loss{Cost: console.CostNone, Text: "it goes on without any one more of its nodes"}
	}
	return console.Loss{Cost: console.CostSome, Text: "without one more of its nodes it may stand still"}
}

// regionLoss says what losing the whole region would have lost when it was asked.
func (f *fleetReport) regionLoss(r *regionReport) console.Loss {
	switch {
	case len(f.Regions) < 2:
		return console.Loss{Cost: console.CostSome, Text: "there is no other region"}
	case r.LossSurvivable:
		return console.Loss{Cost: console.CostNone, Text: "losing it would have lost no acknowledged write"}
	case !r.LossKnown:
		return console.Loss{Cost: console.CostUnknown, Text: "what losing it would lose is not known"}
	}
	return console.Loss{Cost: console.CostSome, Text: "losing it now could lose acknowledged writes"}
}
