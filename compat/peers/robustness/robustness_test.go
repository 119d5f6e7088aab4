package robustness

import (
	"context"
	"flag"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"testing"
	"time"

	clientv3 "go.etcd.io/etcd/client/v3"
	"go.etcd.io/etcd/tests/v3/robustness/traffic"
	"go.etcd.io/etcd/tests/v3/robustness/validate"
	"go.uber.org/zap"

	"github.com/mimir-kv/mimir/compat/peers/fleet"
)

var (
	count = flag.Int("robustness-count", 2, "how many scenarios; there are 33, each kind of traffic with each fault")
	seed  = flag.Uint64("robustness-seed", 0,
		"the order of the scenarios; 0: any. What clients do is random whatever it is")
	timeout = flag.Duration("robustness-timeout", 200*time.Millisecond, "how long clients wait for an answer")
)

func TestMain(m *testing.M) { os.Exit(fleet.Main(m)) }

// Of a fleet: nodes of each region, and the delay between the regions, one way.
const (
	nodesPerRegion = 3
	delay          = 5 * time.Millisecond
)

// checking is how long the search for an order may take.
const checking = 5 * time.Minute

// scenarios returns so many, each kind with each fault once before any comes again.
func scenarios(n int, seed uint64) (all []func() (kind, fault)) {
	random := rand.New(rand.NewPCG(seed, 0))
	for len(all) < n {
		for _, i := range random.Perm(len(kinds) * len(faults)) {
			all = append(all, func() (kind, fault) { return kinds[i%len(kinds)], faults[i/len(kinds)] })
		}
	}
	return all[:n]
}

// TestRobustness runs the scenarios, each on a fleet of its own.
func TestRobustness(t *testing.T) {
	if *seed == 0 {
		*seed = rand.Uint64()
	}
	traffic.RequestTimeout = *timeout
	passed, failed := 0, 0
	for _, scenario := range scenarios(*count, *seed) {
		k, f := scenario()
		t.Run(k.name+"/"+f.name, func(t *testing.T) {
			t.Cleanup(func() {
				if t.Failed() {
					failed++
				} else {
					passed++
				}
			})
			run(t, k, f)
		})
	}
	fmt.Printf("robustness: seed %d: %d passed, %d failed, 0 skipped\n", *seed, passed, failed)
}

func run(t *testing.T, k kind, f fault) {
	j, listener := newJudge(t)
	made := fleet.Start(t, fleet.Options{
		Nodes: nodesPerRegion, Delay: delay, Others: map[string]string{judgeRegion: j.address},
		Flags: []string{"--watch-progress-interval", "100ms"},
	})
	j.start(t, made, listener)
	ctx := t.Context()
	primary, secondary, err := made.AwaitServing(ctx)
	if err != nil {
		t.Fatal(err)
	}
	s := &scene{made, primary, secondary}
	logger := zap.NewNop()
	saw, err := simulate(ctx, logger, s.endpoints(f.spares(s)), k, func(ctx context.Context) error {
		err := f.happen(s, ctx)
		if err == nil {
			_, _, err = s.AwaitServing(ctx)
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	end, err := made.AwaitEqual(ctx)
	if err != nil {
		t.Fatal(err)
	}
	if err := sameHash(ctx, made.Endpoints()); err != nil {
		t.Error(err)
	}
	commands, err := j.upTo(ctx, end)
	if err != nil {
		t.Fatal(err)
	}
	persisted, err := requests(commands)
	if err != nil {
		t.Fatal(err)
	}
	result := validate.ValidateAndReturnVisualize(logger,
		validate.Config{ExpectRevisionUnique: k.traffic.ExpectUniqueRevision()}, saw.reports, persisted, checking)
	t.Logf("%d commands; %.0f requests a second before anything happened, etcd's own runs want %.0f",
		len(commands), saw.perSecond, k.load.MinimalQPS)
	if err := result.Error(); err != nil {
		page := filepath.Join(t.ArtifactDir(), "history.html")
		t.Errorf("%v; with -artifacts there is a picture: %s", err, page)
		if err := result.Linearization.Visualize(logger, page); err != nil {
			t.Error(err)
		}
	}
}

// sameHash wants all nodes to have the same content at the same revision, and to have compacted at the same one.
func sameHash(ctx context.Context, endpoints []string) error {
	c, err := clientv3.New(clientv3.Config{Endpoints: endpoints, Logger: zap.NewNop()})
	if err != nil {
		return err
	}
	defer c.Close()
	first, err := c.HashKV(ctx, endpoints[0], 0)
	if err != nil {
		return err
	}
	for _, endpoint := range endpoints[1:] {
		other, err := c.HashKV(ctx, endpoint, first.Header.Revision)
		if err != nil {
			return err
		}
		if other.Hash != first.Hash || other.CompactRevision != first.CompactRevision ||
			other.Header.Revision != first.Header.Revision {
			return fmt.Errorf("%s has %v, %s has %v", endpoints[0], first, endpoint, other)
		}
	}
	return nil
}
