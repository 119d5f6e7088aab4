package main

import (
	"context"
	"fmt"
	"io"
	"strings"

	"github.com/mimir-kv/mimir/server/verify"
)

// runRest compares what is left when the keys of those were compared who are of one time: what nodes hold beside their
// keys, and the keys of those who are too late for that among themselves.
func (v *verification) runRest(ctx context.Context, beside bool) error {
	fleet, err := v.client.Fleet(ctx)
	if err != nil {
		return err
	}
	nodes, standings, missing := standingsOf(ctx, v.client, fleet)
	if beside {
		var at uint64
		for _, s := range standings {
			at = max(at, s.Position)
		}
		v.result.Beside = verify.AskBeside(ctx, nodes, at)
		v.result.Beside.Missing = append(missing, v.result.Beside.Missing...)
	}
	for i, late := range verify.Cohorts(standings) {
		if i == 0 || len(late) < 2 {
			continue
		}
		apart, err := verify.Together(ctx, nodes, late, verify.Options{Range: v.whole, Told: v.progress})
		if err != nil {
			apart.Missing = append(apart.Missing, verify.Missing{Node: strings.Join(apart.Nodes, ", "),
				Why: err.Error()})
		}
		v.result.Apart = append(v.result.Apart, apart)
	}
	return ctx.Err()
}

// restVerdict is the error that makes the exit status where the keys of those who are of one time were the same.
func restVerdict(r *verify.Result) error {
	for _, apart := range r.Apart {
		if apart.First != nil {
			return fmt.Errorf("%w: nodes that are late hold different things, first in %s", errFleet,
				rangeText(apart.First.Range))
		}
	}
	if b := r.Beside; b != nil && len(b.Differ) > 0 {
		return fmt.Errorf("%w: nodes hold different %s", errFleet, b.Differ[0].What)
	}
	if len(r.Missing) > 0 || r.Beside != nil && len(r.Beside.Missing) > 0 {
		return fmt.Errorf("%w: not all nodes were compared", errFleet)
	}
	return nil
}

func printBeside(w io.Writer, b *verify.BesideResult) {
	if b == nil {
		return
	}
	if len(b.Nodes) < 2 {
		fmt.Fprintln(w, "NOT COMPARED: leases, users and alarms: no two nodes could be compared at one position")
	} else if len(b.Differ) == 0 {
		fmt.Fprintf(w, "%s have the same %d leases, users and alarms at position %d\n", strings.Join(b.Nodes, ", "),
			b.Leases, b.Position)
	}
	for _, d := range b.Differ {
		fmt.Fprintf(w, "%s DIFFER at position %d:\n", d.What, b.Position)
		for _, g := range d.Groups {
			fmt.Fprintf(w, "  %s: sum %x\n", strings.Join(g.Nodes, ", "), g.Sum)
		}
	}
	for _, m := range b.Missing {
		fmt.Fprintf(w, "NOT COMPARED beside the keys: %s: %s\n", m.Node, m.Why)
	}
}
