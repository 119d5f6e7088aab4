package main

import (
	"cmp"
	"fmt"
	"io"
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"github.com/mimir-kv/mimir/bench"
)

func newBench(n *connection) *cobra.Command {
	o := bench.DefaultOptions()
	var compare []string
	c := &cobra.Command{
		Use:   "bench [flags]",
		Short: "Load endpoints with etcd clients and measure",
		Long: "Load etcd-compatible endpoints and print throughput and latency. With --compare-endpoints every\n" +
			"measurement is made on both sets in turn, and the ratio of the medians is printed. The operations\n" +
			"put keys under bench/ and bench-watch/.",
		Args: noArguments,
		RunE: func(c *cobra.Command, _ []string) error {
			if err := n.check(); err != nil {
				return err
			}
			secure, err := n.discreetTLS(slices.Concat(n.endpoints, compare), c.ErrOrStderr())
			if err != nil {
				return err
			}
			user, password, err := n.who.parts()
			if err != nil {
				return err
			}
			side := bench.Side{TLS: secure, User: user, Password: password}
			names := []string{"A"}
			side.Name, side.Endpoints = "A", n.endpoints
			o.Sides = []bench.Side{side}
			if len(compare) > 0 {
				names = append(names, "B")
				side.Name, side.Endpoints = "B", compare
				o.Sides = append(o.Sides, side)
			}
			o.Progress = func(line string) { fmt.Fprintln(c.ErrOrStderr(), line) }
			report, err := bench.Run(c.Context(), o)
			if report != nil && len(report.Measurements) > 0 {
				report.Summarize(names...)
				if err := n.print(c.OutOrStdout(), report, func(w io.Writer) { report.Print(w) }); err != nil {
					return err
				}
			}
			return cmp.Or(err, nothingDone(report))
		},
	}
	n.addFlags(c)
	f := c.Flags()
	f.StringSliceVar(&compare, "compare-endpoints", nil, "second set of endpoints, measured in turn with the first")
	f.StringSliceVar(&o.Operations, "ops", o.Operations, strings.Join(bench.Operations, ", "))
	f.IntVar(&o.Clients, "clients", o.Clients, "concurrent callers")
	f.IntVar(&o.Connections, "connections", o.Connections, "gRPC connections that they share")
	f.IntVar(&o.KeySpace, "key-space", o.KeySpace, "different keys")
	f.IntVar(&o.KeyBytes, "key-size", o.KeyBytes, "bytes of a key")
	f.IntVar(&o.ValueBytes, "value-size", o.ValueBytes, "bytes of a value")
	f.IntVar(&o.RangeLimit, "range-limit", o.RangeLimit, "keys of a range")
	f.IntVar(&o.Rounds, "rounds", o.Rounds, "measurements of each operation on each set")
	f.DurationVar(&o.Duration, "duration", o.Duration, "length of a measurement")
	f.IntVar(&o.Total, "total", o.Total, "operations of a measurement, instead of --duration")
	f.DurationVar(&o.Warmup, "warmup", o.Warmup, "load before each measurement that is not counted")
	f.Uint64Var(&o.Seed, "seed", o.Seed, "seed of keys and values")
	return c
}

// nothingDone says of what no operation was answered well: figures of that are none.
func nothingDone(r *bench.Report) error {
	if r == nil {
		return nil
	}
	for _, m := range r.Measurements {
		if m.Done == 0 && m.Errors > 0 {
			return fmt.Errorf("%s: %s: no operation was done, and %d failed: %s", m.Side, m.Operation, m.Errors,
				m.Error)
		}
	}
	return nil
}
