package benchmark

import (
	"context"
	"flag"
	"os"
	"os/exec"
	"strings"
	"testing"
	"time"

	"github.com/mimir-kv/mimir/compat/peers/fleet"
	"github.com/mimir-kv/mimir/localfleet"
)

var (
	scale = flag.String("benchmark-scale", "s", "the load of check datascale: s, m, l or xl; none leaves it out")
	perf  = flag.String("benchmark-perf", "none",
		"the load of check perf, which takes a minute: s, m, l or xl; none leaves it out")
)

func TestMain(m *testing.M) { os.Exit(fleet.Main(m)) }

// longest is how long one benchmark may take.
const longest = 10 * time.Minute

// TestBenchmark runs the benchmarks at the primary and at the secondary.
func TestBenchmark(t *testing.T) {
	f := fleet.Start(t, fleet.Options{Nodes: 1})
	primary, secondary, err := f.AwaitServing(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	for _, place := range []struct {
		name   string
		region *localfleet.Region
	}{{"Primary", primary}, {"Secondary", secondary}} {
		for _, check := range []struct{ name, load string }{{"datascale", *scale}, {"perf", *perf}} {
			if check.load == "none" {
				continue
			}
			t.Run(place.name+"/"+check.name, func(t *testing.T) {
				etcdctl(t, localfleet.Clients(place.region.Nodes), "check", check.name, "--load", check.load)
			})
		}
	}
}

// etcdctl runs a command that has to say that it passed.
func etcdctl(t *testing.T, endpoints []string, arguments ...string) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), longest)
	defer cancel()
	arguments = append([]string{"tool", "etcdctl", "--endpoints", strings.Join(endpoints, ",")}, arguments...)
	text, err := exec.CommandContext(ctx, "go", arguments...).CombinedOutput()
	said := string(text)
	// Before that is a bar that shows the progress.
	passed := strings.Index(said, "PASS")
	if err != nil || passed < 0 {
		t.Fatalf("etcdctl: %v: %s", err, said)
	}
	t.Log(said[passed:])
}
