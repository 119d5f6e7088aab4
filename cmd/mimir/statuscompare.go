package main

import (
	"fmt"
	"time"

	"github.com/mimir-kv/mimir/server/patrol"
)

// tellCompare fills in what the node that compares all nodes knows, and warns of differences of which there is no
// alarm, and of nodes that were not compared for long.
func (f *fleetReport) tellCompare(now time.Time) {
	for _, r := range f.Regions {
		for _, n := range r.nodes {
			if n.compare != nil && n.compare.Compares && (f.Compare == nil || n.compare.Since.After(f.Compare.Since)) {
				f.Compare = n.compare
			}
		}
	}
	if f.Compare == nil {
		return
	}
	for i := range f.Compare.Findings {
		if d := &f.Compare.Findings[i]; d.Untold != "" {
			f.Warnings = append(f.Warnings, fmt.Sprintf("nodes held different %s at %s, and no alarm could be raised "+
				"(%s): mimir verify says which", d.What, d.At.Local().Format(time.DateTime), d.Untold))
		}
	}
	for region, at := range f.Compare.Oldest() {
		if age := now.Sub(at); age > overdue*period(f.Compare) {
			f.Warnings = append(f.Warnings, fmt.Sprintf("a node of region %s was not compared whole with the others "+
				"for %s (compare.every is %s): %s", region, age.Round(time.Second), period(f.Compare),
				whyNot(f.Compare, region)))
		}
	}
}

// overdue is how many periods it takes until a comparison is missed: one round may begin late and last as long.
const overdue = 3

func period(r *patrol.Report) time.Duration {
	return time.Duration(r.EverySeconds * float64(time.Second))
}

// whyNot says why a node of a region was not compared in the last round.
func whyNot(r *patrol.Report, region string) string {
	for _, n := range r.Nodes {
		if n.Region == region && n.Why != "" {
			return n.Node + ": " + n.Why
		}
	}
	return "the round is under way"
}

// compareText says when all nodes were last compared.
func compareText(r *patrol.Report) string {
	whole, last, why := 0, time.Time{}, ""
	for _, n := range r.Nodes {
		if why == "" && n.Why != "" && n.Why != patrol.FirstRound {
			why = n.Node + ": " + n.Why
		}
		if !n.At.IsZero() {
			whole++
		}
		if n.At.After(last) {
			last = n.At
		}
	}
	since := r.Since.Local().Format(time.DateTime)
	switch {
	case whole == 0 && why != "":
		return fmt.Sprintf("nodes are compared every %s, and none was compared whole since %s: %s", period(r), since,
			why)
	case whole == 0:
		return fmt.Sprintf("nodes are compared every %s, and the first round since %s is under way", period(r),
			since)
	}
	upTo := ""
	if r.Revision > 0 {
		upTo = fmt.Sprintf(" up to revision %d", r.Revision)
	}
	return fmt.Sprintf("%d of %d nodes compared whole%s, the last time %s, every %s", whole, len(r.Nodes), upTo,
		last.Local().Format(time.DateTime), period(r))
}
