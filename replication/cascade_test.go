package replication_test

import (
	"context"
	"errors"
	"fmt"
	"testing"
	"time"

	"github.com/mimir-kv/mimir/replication"
)

// cascade is us, eu and ap, of which ap is to follow eu.
func cascade(t *testing.T, body func(f *growingFleet)) {
	inBubble(t, map[string]int{"us": 1, "eu": 1, "ap": 1}, func(plain *testFleet) {
		f := &growingFleet{testFleet: plain}
		f.write("us-1", 10)
		f.everywhere()
		f.source("ap", "eu")
		f.follows("ap", "eu")
		body(f)
	})
}

// source orders whom a region is to follow.
func (f *growingFleet) source(region, source string) {
	f.t.Helper()
	o := replication.RegionSourcing{Region: region, Source: source}
	if _, err := f.nodes["eu-1"].Topology().Follow(f.t.Context(), o); err != nil {
		f.t.Fatalf("%s is to follow %q: %v", region, source, err)
	}
}

// of returns what a node shows of a region.
func (f *growingFleet) of(node, region string) replication.RegionStatus {
	for _, r := range f.nodes[node].Fleet(f.t.Context()).Regions {
		if r.Name == region {
			return r
		}
	}
	return replication.RegionStatus{}
}

// follows waits until a region is served by another, and knows how late it is, and returns how long that took.
func (f *growingFleet) follows(region, source string) time.Duration {
	f.t.Helper()
	node := f.regions[region][0]
	for began := time.Now(); ; time.Sleep(50 * time.Millisecond) {
		r := f.of(node, region)
		if r.Source == source && r.Connected && r.Lag.Seconds >= 0 {
			return time.Since(began)
		}
		if time.Since(began) > time.Minute {
			f.t.Fatalf("%s follows %q, connected %t, %+v; want %s", region, r.Source, r.Connected, r.Lag, source)
		}
	}
}

// durable writes a value that three regions are to have.
func (f *growingFleet) durable(node string) error {
	ctx, cancel := context.WithTimeout(f.t.Context(), 10*time.Second)
	defer cancel()
	r, err := f.nodes[node].Propose(ctx, []*replication.Command{{Data: fmt.Appendf(nil, "c%d", f.written)}},
		replication.WithRegions(3))
	f.written++
	if err == nil && r.Regions != 3 {
		err = fmt.Errorf("receipt %+v", r)
	}
	return err
}

// A region follows another secondary: what it has counts for writes that wait, though the primary never hears from it;
// its lag is what it is behind the primary, also where the one between is cut off.
func TestARegionFollowsASecondary(t *testing.T) {
	cascade(t, func(f *growingFleet) {
		if r := f.of("us-1", "ap"); r.Source != "eu" || r.WantedSource != "eu" {
			f.t.Errorf("us shows %+v", r)
		}
		for _, node := range f.regions["us"] { // the primary itself is not heard from ap, nor the other way round
			f.network.Cut(node, "ap-1")
		}
		f.write("us-1", 20)
		f.everywhere()
		if err := f.durable("us-1"); err != nil {
			f.t.Errorf("through the hop: %v", err)
		}
		if by := f.of("ap-1", "ap"); by.Source != "eu" || by.Lag.Seconds < 0 || by.Lag.Seconds > 4 || by.Lag.AtLeast {
			f.t.Errorf("ap shows of itself %+v", by)
		}
		for _, eu := range f.regions["eu"] {
			f.network.Cut("us-1", eu)
		}
		time.Sleep(3 * time.Second)
		f.write("us-1", 5)
		if err := f.durable("us-1"); !errors.Is(err, replication.ErrUnderReplicated) {
			f.t.Errorf("where nobody has it: %v", err)
		}
		if r := f.of("ap-1", "ap"); r.Lag.Seconds >= 0 && !r.Lag.AtLeast {
			f.t.Errorf("ap is behind by %+v, and cannot know that", r.Lag)
		}
		f.network.HealAll()
		f.everywhere()
		f.follows("ap", "eu")
	})
}

// A region whose source dies follows the primary within seconds, and goes back when that is well; it does not when it
// is told otherwise. Nobody can be told to follow who follows him.
func TestASourceThatDiesIsLeft(t *testing.T) {
	cascade(t, func(f *growingFleet) {
		_, err := f.nodes["us-1"].Topology().Follow(f.t.Context(),
			replication.RegionSourcing{Region: "eu", Source: "ap"})
		if !errors.Is(err, replication.ErrArgument) {
			f.t.Errorf("two that follow each other: %v", err)
		}
		f.kill("eu-1")

		f.write("us-1", 5)
		if took := f.follows("ap", "us"); took > 10*time.Second {
			f.t.Errorf("left after %v", took)
		}
		f.everywhere()
		f.start("eu-1")

		f.everywhere()
		if took := f.follows("ap", "eu"); took < 5*time.Second {
			f.t.Errorf("gone back to after %v", took)
		}
		f.write("us-1", 5)
		f.everywhere()
		f.source("ap", "")
		f.follows("ap", "us")
		f.write("us-1", 5)
		f.everywhere()
	})
}

// Wherever the primary goes, all follow without a copy: the region at the end of a chain, the one in its middle.
func TestThePrimaryMovesAlongAChain(t *testing.T) {
	cascade(t, func(f *growingFleet) {
		for _, step := range []struct{ to, eu, ap, us string }{
			{to: "ap", eu: "ap", us: "ap"}, {to: "us", eu: "us", ap: "eu"}, {to: "eu", us: "eu", ap: "eu"},
		} {
			if _, err := f.nodes["us-1"].Switchover(f.t.Context(), step.to); err != nil {
				f.t.Fatalf("to %s: %v", step.to, err)
			}
			f.write(f.regions[step.to][0], 5)
			for region, source := range map[string]string{"eu": step.eu, "ap": step.ap, "us": step.us} {
				if source != "" {
					f.follows(region, source)
				}
			}
			f.everywhere()
		}
	})
}

// Without a roster, too, a region that is cut off from the primary alone follows by another one.
func TestARegionThatIsCutOffFollowsByAnother(t *testing.T) {
	inBubble(t, map[string]int{"us": 1, "eu": 1, "ap": 1}, func(plain *testFleet) {
		f := &growingFleet{testFleet: plain}
		f.write("us-1", 5)
		f.everywhere()
		f.network.Cut("us-1", "ap-1")
		if took := f.follows("ap", "eu"); took > 15*time.Second {
			f.t.Errorf("after %v", took)
		}
		f.write("us-1", 5)
		f.everywhere()
		f.network.HealAll()
		f.follows("ap", "us")
	})
}
