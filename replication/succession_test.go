package replication_test

import (
	"context"
	"errors"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/mimir-kv/mimir/replication"
)

// fleetSays waits until region is described by a problem with these words at node.
func (f *testFleet) fleetSays(node, region, words string) {
	f.t.Helper()
	deadline := time.Now().Add(time.Minute)
	for {
		s := f.nodes[node].Fleet(f.t.Context())
		i := slices.IndexFunc(s.Regions, func(r replication.RegionStatus) bool { return r.Name == region })
		if strings.Contains(s.Regions[i].Problem, words) {
			return
		}
		if time.Now().After(deadline) {
			f.t.Fatalf("%s: %q, want %q", region, s.Regions[i].Problem, words)
		}
		time.Sleep(50 * time.Millisecond)
	}
}

// sealForDead has us sealed for a target that dies before it can begin, and returns what the operator was told.
func (f *testFleet) sealForDead() error {
	f.put("us-1", "c0")
	f.eventually(values(0, 1))
	return f.sealForDying()
}

func (f *testFleet) sealForDying() error {
	ctx, cancel := context.WithTimeout(f.t.Context(), time.Minute)
	defer cancel()
	told := make(chan error, 1)
	f.network.SetDelay("us-1", "eu-1", 200*time.Millisecond, 0)
	go func() {
		_, err := f.nodes["us-1"].Switchover(ctx, "eu")
		told <- err
	}()
	for !f.nodes["us-1"].Health().Sealed {
		time.Sleep(time.Millisecond)
	}
	f.kill("eu-1")
	return <-told
}

// TestASealedPrimaryWhoseTargetDiedSaysSoAndGoesOnByForce: it takes no writes of its own accord, since the target may
// have begun.
func TestASealedPrimaryWhoseTargetDiedSaysSoAndGoesOnByForce(t *testing.T) {
	inBubble(t, map[string]int{"us": 1, "eu": 1}, func(f *testFleet) {
		if err := f.sealForDead(); !errors.Is(err, replication.ErrUnknownOutcome) || errors.Is(err,
			replication.ErrHandoff) {
			t.Fatalf("switchover told %v", err)
		}
		f.fleetSays("us-1", "us", "sealed for a handoff to eu since")
		if h := f.nodes["us-1"].Health(); h.Healthy || !h.Sealed || !strings.Contains(h.Problem, "eu does not answer") {
			t.Fatalf("health %+v", h)
		}
		r, err := f.nodes["us-1"].Failover(f.t.Context(), "us", true)
		if err != nil {
			t.Fatal(err)
		}
		if r.Epoch != 3 || !slices.ContainsFunc(r.Warnings, func(w string) bool {
			return strings.Contains(w,
				"eu may have begun epoch 2")
		}) {
			t.Fatalf("report %+v", r)
		}
		if p := f.put("us-1", "c1"); p.Epoch != 3 {
			t.Fatalf("receipt %+v", p)
		}
		f.start("eu-1")
		f.eventually(values(0, 2))
	})
}

// TestASealEndsWhenTheTargetIsBack: the same without force.
func TestASealEndsWhenTheTargetIsBack(t *testing.T) {
	inBubble(t, map[string]int{"us": 1, "eu": 1}, func(f *testFleet) {
		if err := f.sealForDead(); !errors.Is(err, replication.ErrUnknownOutcome) {
			t.Fatalf("switchover told %v", err)
		}
		f.kill("us-1")
		f.start("us-1") // and the leader that sealed has gone, too
		f.start("eu-1")
		f.put("us-1", "c1")
		f.eventually(values(0, 2))
		if h := f.nodes["us-1"].Health(); h.Sealed || !h.Healthy {
			t.Fatalf("health %+v", h)
		}
	})
}

// TestASwitchoverThatItsCallerGivesUpIsAborted: before the seal nothing has happened.
func TestASwitchoverThatItsCallerGivesUpIsAborted(t *testing.T) {
	inBubble(t, map[string]int{"us": 1, "eu": 1}, func(f *testFleet) {
		f.put("us-1", "c0")
		f.eventually(values(0, 1))
		f.kill("eu-1")
		time.Sleep(5 * time.Second) // the fleet's picture shows it
		ctx, cancel := context.WithTimeout(f.t.Context(), time.Second)
		defer cancel()
		if _, err := f.nodes["us-1"].Switchover(ctx, "eu"); !errors.Is(err, replication.ErrHandoff) {
			t.Fatalf("switchover told %v", err)
		}
		f.put("us-1", "c1")
		f.start("eu-1")
		f.eventually(values(0, 2))
	})
}

// TestANodeThatStopsInTheMiddleOfAMoveEndsAtOnce: and so does the call, which does not tell that the primary is what
// it was.
func TestANodeThatStopsInTheMiddleOfAMoveEndsAtOnce(t *testing.T) {
	for _, c := range []struct {
		why    string
		dead   bool          // the target is, from the beginning
		limit  time.Duration // of the caller
		sealed bool          // it is when the node stops
		after  time.Duration // the node stops
	}{
		{why: "before the seal", dead: true, limit: time.Minute, after: time.Second},
		{why: "while it asks the target", limit: time.Minute, sealed: true},
		{why: "while it aborts", limit: 300 * time.Millisecond, sealed: true, after: time.Second},
	} {
		t.Run(c.why, func(t *testing.T) {
			inBubble(t, map[string]int{"us": 1, "eu": 1}, func(f *testFleet) {
				f.put("us-1", "c0")
				f.eventually(values(0, 1))
				time.Sleep(3 * time.Second) // the fleet's picture shows it
				if c.dead {
					f.kill("eu-1")
					time.Sleep(5 * time.Second)
				}
				f.network.SetDelay("us-1", "eu-1", 3*time.Second, 0)
				ctx, cancel := context.WithTimeout(f.t.Context(), c.limit)
				defer cancel()
				told := make(chan error, 1)
				go func() {
					_, err := f.nodes["us-1"].Switchover(ctx, "eu")
					told <- err
				}()
				time.Sleep(100*time.Millisecond + c.after)
				if f.nodes["us-1"].Health().Sealed != c.sealed || len(told) > 0 {
					t.Fatalf("sealed: %t", !c.sealed)
				}
				began := time.Now()
				f.stop("us-1")
				err := <-told
				if took := time.Since(began); took > time.Second {
					t.Errorf("told after %v", took)
				}
				if !errors.Is(err, replication.ErrUnknownOutcome) {
					t.Errorf("told %v", err)
				}
			})
		})
	}
}

// TestASwitchoverIsTakenBackByOrder, given to any node of any region: before the seal, when nothing has happened, and
// behind it, when the target has to promise that it will not begin, as soon as it answers. Its caller is told, and
// writes go on in the epoch that was; where votes are taken, in a later one without the target. What is over cannot be
// taken back.
func TestASwitchoverIsTakenBackByOrder(t *testing.T) {
	for _, set := range []func(*replication.VoteSettings){nil, func(*replication.VoteSettings) {}} {
		body := func(f *testFleet) {
			f.put("us-1", "c0")
			f.eventually(values(0, 1))
			if _, err := f.nodes["eu-1"].AbortSwitchover(f.t.Context()); !errors.Is(err, replication.ErrRejected) {
				f.t.Fatalf("without a switchover: %v", err)
			}
			told := make(chan error, 1)
			switchOver := func() {
				_, err := f.nodes["ap-1"].Switchover(f.t.Context(), "eu")
				told <- err
			}
			f.kill("eu-1")
			time.Sleep(5 * time.Second) // the fleet's picture shows it
			go switchOver()
			f.shows("ap-1", "us", "switches over to eu: region eu has no leader that answers")
			if p, err := f.nodes["ap-1"].AbortSwitchover(f.t.Context()); err != nil || p != 1 {
				f.t.Fatalf("taken back at %d, %v", p, err)
			}
			if err := <-told; !errors.Is(err, replication.ErrHandoff) {
				f.t.Fatalf("the switchover told %v", err)
			}
			f.start("eu-1")
			f.eventually(values(0, 1))
			f.network.SetDelay("us-1", "eu-1", 300*time.Millisecond, 0)
			go switchOver()
			for !f.nodes["us-1"].Health().Sealed {
				time.Sleep(time.Millisecond)
			}
			f.kill("eu-1")
			ended, epoch := replication.ErrUnknownOutcome, replication.Epoch(1)
			p, err := f.nodes["us-1"].AbortSwitchover(f.t.Context())
			if set == nil && !errors.Is(err, ended) || set != nil && (err != nil || p != 1) {
				f.t.Fatalf("while the target does not answer: taken back at %d, %v", p, err)
			}
			if set != nil {
				ended, epoch = replication.ErrHandoff, 3
			}
			if err := <-told; !errors.Is(err, ended) {
				f.t.Fatalf("the switchover told %v", err)
			}
			f.start("eu-1")
			if p := f.put("eu-1", "c1"); p.Epoch != epoch {
				f.t.Fatalf("receipt %+v", p)
			}
			f.network.SetDelay("us-1", "eu-1", 0, 0)
			f.eventually(values(0, 2))
			switchOver()
			if err := <-told; err != nil {
				f.t.Fatal(err)
			}
			if _, err := f.nodes["ap-1"].AbortSwitchover(f.t.Context()); !errors.Is(err, replication.ErrRejected) {
				f.t.Fatalf("after a switchover: %v", err)
			}
		}
		regions := map[string]int{"us": 1, "eu": 1, "ap": 1}
		if set == nil {
			inBubble(t, regions, body)
		} else {
			voting(t, regions, set, body)
		}
	}
}

// shows waits until a region is shown by node to be moving, with these words.
func (f *testFleet) shows(node, region, words string) {
	f.t.Helper()
	for range 600 {
		for _, r := range f.nodes[node].Fleet(f.t.Context()).Regions {
			if r.Name == region && strings.Contains(r.Moving, words) {
				return
			}
		}
		time.Sleep(100 * time.Millisecond)
	}
	f.t.Fatalf("%s does not show of %s: %s", node, region, words)
}
