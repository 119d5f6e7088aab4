package main

import (
	"fmt"
	"io"
	"strings"
	"text/tabwriter"

	"github.com/mimir-kv/mimir/replication"
)

// printNodes writes a line for each node of each region: what the region says of it, and what it says of itself.
func (f *fleetReport) printNodes(w io.Writer) {
	t := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	fmt.Fprintln(t, "\nNODE\tIN\tSTATE\tVERSION\tPOSITION\tREVISION\tSTORE\tLOG\tCLIENTS AT")
	for _, r := range f.Regions {
		for _, n := range r.Nodes {
			fmt.Fprintln(t, strings.Join(nodeRow(&n, r.node(n.Name)), "\t"))
		}
	}
	t.Flush()
}

// node returns what a node said of itself, nil if it did not.
func (r *regionReport) node(name string) *nodeReport {
	for i := range r.nodes {
		if r.nodes[i].name == name {
			return &r.nodes[i]
		}
	}
	return nil
}

// nodeRow is a node in the table. What it did not say is a dash.
func nodeRow(n *replication.NodeStatus, said *nodeReport) []string {
	at := dash(strings.Join(n.ClientURLs, " "))
	row := []string{n.Name, dash(n.Region), nodeState(n), "-", "-", "-", "-", "-", at}
	if said == nil || said.health == nil {
		return row
	}
	if !said.health.Healthy {
		row[2] += ": " + said.health.Problem
	}
	row[3], row[5], row[6] = dash(said.version), number(said.revision), byteText(uint64(max(said.storeBytes, 0)))
	if said.health.State != replication.StateInitializing { // until then it does not know
		row[4], row[7] = fmt.Sprint(said.health.Position), byteText(uint64(max(said.health.LogBytes, 0)))
	}
	return row
}

func nodeState(n *replication.NodeStatus) string {
	state := "voter"
	switch {
	case n.Expected:
		return "a place is held for it"
	case n.Leader:
		state = "leader"
	case n.Learner:
		state = "learner"
	}
	if n.Transfer != nil {
		state += ", takes a copy"
		if percent, known := percentOf(n.Transfer); known {
			state += fmt.Sprintf(", %d %%", percent)
		}
	}
	switch {
	case n.OtherLife:
		state += ", WRONG: of another life of the region"
	case n.CutOff:
		state += ", cut off"
	case !n.Reachable && n.ReachableKnown:
		state += ", does not answer"
	case !n.Reachable:
		state += ", not known whether it answers"
	}
	return state
}
