package main

import (
	"context"
	"fmt"
	"os"
	"slices"
	"strings"

	"github.com/mimir-kv/mimir/bench"
)

// part is a piece of a round.
type part struct {
	name string
	do   func(*ocean, context.Context, int) error
}

// parts are all of them, in the order of a round.
var parts = []part{
	{name: "stream", do: (*ocean).measureStream},
	{name: "lag", do: (*ocean).measureLag},
	{name: "put", do: (*ocean).measurePuts},
	{name: "mirror", do: (*ocean).measureMirror},
	{name: "bootstrap", do: (*ocean).measureBootstrap},
}

func names() (all []string) {
	for _, p := range parts {
		all = append(all, p.name)
	}
	return all
}

// choose returns the parts of that list, all for none.
func choose(only string) (chosen []part, err error) {
	if only == "" {
		return parts, nil
	}
	for name := range strings.SplitSeq(only, ",") {
		i := slices.IndexFunc(parts, func(p part) bool { return p.name == name })
		if i < 0 {
			return nil, fmt.Errorf("no part %q; there are %s", name, strings.Join(names(), ", "))
		}
		chosen = append(chosen, parts[i])
	}
	return chosen, nil
}

// measure makes the rounds, and ends early with ctx: what was measured until then stays.
func (o *ocean) measure(ctx context.Context, chosen []part) (whole bool, err error) {
	for n := range o.rounds {
		for _, p := range chosen {
			o.spins = append(o.spins, float64(bench.Spin()))
			err := p.do(o, ctx, n)
			if ctx.Err() != nil {
				return false, nil
			}
			if err != nil {
				return false, fmt.Errorf("%s: %w", p.name, err)
			}
		}
	}
	return true, nil
}

// note keeps a figure, and says it.
func (o *ocean) note(name, unit string, value float64) { o.noteBeside(name, unit, value, "", 0) }

// noteBeside keeps a figure with its part of another one of the same round.
func (o *ocean) noteBeside(name, unit string, value float64, peer string, of float64) {
	o.taken.add(name, unit, value, peer, of)
	fmt.Fprintf(os.Stderr, "%s: %.2f %s", name, value, unit)
	if of > 0 {
		fmt.Fprintf(os.Stderr, ", %.3f of %s", value/of, peer)
	}
	fmt.Fprintln(os.Stderr)
}
