// Command collect is a small collector of OpenTelemetry, to look at traces without another program: it takes spans by
// OTLP over gRPC, and prints each trace as a tree once nothing more came of it for a while. It is no collector for
// production: it keeps nothing, and trusts whoever connects. It keeps none of the numbered invariants.
package main

import (
	"context"
	"flag"
	"fmt"
	"io"
	"net"
	"os"
	"os/signal"
	"strings"
	"time"

	"github.com/mimir-kv/mimir/server/tracing/tracingtest"
)

const (
	lookEvery = 250 * time.Millisecond
	// quietTime is for how long nothing comes of a trace that is whole: nodes gather spans for a second.
	quietTime = 2500 * time.Millisecond
)

func main() {
	listen := flag.String("listen", "127.0.0.1:4317", "where nodes connect: their tracing.endpoint")
	flag.Parse()
	ctx, cancel := signal.NotifyContext(context.Background(), os.Interrupt)
	defer cancel()
	l, err := net.Listen("tcp", *listen)
	if err != nil {
		fmt.Fprintln(os.Stderr, "collect:", err)
		os.Exit(1)
	}
	c := &tracingtest.Collector{}
	defer c.Serve(l)()
	fmt.Println("taking spans at", l.Addr())
	show(ctx, c, os.Stdout)
}

// show prints what c is told, until ctx ends.
func show(ctx context.Context, c *tracingtest.Collector, to io.Writer) {
	heard, changed := map[string]int{}, map[string]time.Time{}
	ticker := time.NewTicker(lookEvery)
	defer ticker.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-ticker.C:
		}
		spans, now := c.Spans(), map[string]int{}
		for _, s := range spans {
			now[s.Trace]++
		}
		for trace, n := range now {
			if n != heard[trace] {
				heard[trace], changed[trace] = n, time.Now()
			}
			if time.Since(changed[trace]) < quietTime {
				continue
			}
			fmt.Fprintf(to, "trace %s\n%s\n", trace, tracingtest.Tree(spans, trace, line))
			c.Forget(trace)
			delete(heard, trace)
			delete(changed, trace)
		}
	}
}

// line is a span of the tree: where, what, how long, and with what it failed.
func line(s tracingtest.Span) string {
	text := fmt.Sprintf("%s/%s %s %v", s.Region, s.Node, s.Name,
		time.Duration(s.End-s.Begin).Round(10*time.Microsecond))
	if s.Failed != "" {
		text += ": " + strings.Join(strings.Fields(s.Failed), " ")
	}
	return text
}
