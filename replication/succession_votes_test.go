package replication_test

import (
	"context"
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/mimir-kv/mimir/replication"
)

// TestASealedPrimaryWhoseTargetDiedGoesOnByVotes: those of the others are a majority without the target. It waits for
// that one first, and says until when.
func TestASealedPrimaryWhoseTargetDiedGoesOnByVotes(t *testing.T) {
	inSmallest(t, func(f *smallest) {
		told := make(chan error, 1)
		began := time.Now()
		go func() { told <- f.sealForDying() }()
		f.fleetSays("us-1", "us", "us asks the voters to let it go on without eu, from ")
		p := f.put("us-1", "c1")
		if took := time.Since(began); p.Epoch != 3 || took > 20*time.Second {
			t.Errorf("receipt %+v after %v", p, took)
		}
		if r := f.lastReign("us-1"); r.Lossy {
			t.Errorf("goes on with %+v", r)
		}
		err := <-told
		if !errors.Is(err, replication.ErrHandoff) || !strings.Contains(err.Error(), "region us to go on, in epoch 3") {
			t.Errorf("switchover told %v", err)
		}
		f.start("eu-1")
		f.eventually(values(0, 2))
		f.network.SetDelay("us-1", "eu-1", 0, 0)
		if r, err := f.nodes["us-1"].Switchover(f.t.Context(), "eu"); err != nil || r.Epoch != 4 {
			t.Errorf("switched over later: %+v, %v", r, err)
		}
	})
}

// TestASealedPrimaryGoesOnUnderALowerBudget: that the voters agreed to more in the epoch that is sealed keeps it from
// nothing, since it has all that was written there.
func TestASealedPrimaryGoesOnUnderALowerBudget(t *testing.T) {
	inSmallest(t, func(f *smallest) {
		lower := uint64(10)
		f.change("us-1", replication.VoteChange{MaxLoss: &lower})
		told := make(chan error, 1)
		go func() { told <- f.sealForDying() }()
		f.fleetSays("us-1", "us", "us asks the voters to let it go on without eu, from ")
		if p := f.put("us-1", "c1"); p.Epoch != 3 || f.lastReign("us-1").Lossy {
			t.Errorf("receipt %+v, reign %+v", p, f.lastReign("us-1"))
		}
		if err := <-told; !errors.Is(err, replication.ErrHandoff) {
			t.Errorf("switchover told %v", err)
		}
		f.start("eu-1")
		f.eventually(values(0, 2))
	})
}

// TestASealedPrimaryLosesNoMoreThanTheLowerBudget of what its target took, either.
func TestASealedPrimaryLosesNoMoreThanTheLowerBudget(t *testing.T) {
	inSmallest(t, func(f *smallest) {
		lower := uint64(1)
		f.change("us-1", replication.VoteChange{MaxLoss: &lower})
		f.begunUnheard()
		for range 5 { // the witness knows a ceiling beyond these
			f.put("eu-1", "c")
		}
		f.kill("eu-1")
		f.fleetSays("us-1", "us", "would be lost, 1 may be")
		time.Sleep(time.Minute)
		if h := f.nodes["us-1"].Health(); !h.Sealed {
			t.Errorf("goes on: %+v", h)
		}
	})
}

// begunUnheard has us sealed for eu, which begins by that and takes a write, while us is cut off from it and does not
// know; the witness does.
func (f *smallest) begunUnheard() {
	f.t.Helper()
	f.network.SetDelay("us-1", "eu-1", 200*time.Millisecond, 0)
	ctx, cancel := context.WithTimeout(f.t.Context(), time.Minute)
	defer cancel()
	told := make(chan error, 1)
	go func() {
		_, err := f.nodes["us-1"].Switchover(ctx, "eu")
		told <- err
	}()
	for f.lastReign("eu-1").Epoch != 2 {
		time.Sleep(time.Millisecond)
	}
	f.network.Cut("us-1", "eu-1")
	if p := f.put("eu-1", "c1"); p.Epoch != 2 {
		f.t.Fatalf("receipt %+v", p)
	}
	if err := <-told; !errors.Is(err, replication.ErrUnknownOutcome) || errors.Is(err, replication.ErrHandoff) {
		f.t.Errorf("switchover told %v", err)
	}
	f.fleetSays("us-1", "us", "us goes on without eu as soon as a majority of the voters lets it: ")
	f.fleetSays("us-1", "us", "witness/w1 supports eu")
}

// TestASealedPrimaryDoesNotGoOnBesideItsTarget, which it does not hear: a voter that supports the target does not vote
// for it.
func TestASealedPrimaryDoesNotGoOnBesideItsTarget(t *testing.T) {
	inSmallest(t, func(f *smallest) {
		f.begunUnheard()
		for began, i := time.Now(), 0; time.Since(began) < 20*time.Second; i++ {
			if r := f.put("eu-1", "c"); r.Epoch != 2 {
				t.Fatalf("receipt %+v", r)
			}
			if h := f.nodes["us-1"].Health(); !h.Sealed {
				t.Fatalf("us goes on: %+v", h)
			}
			time.Sleep(time.Second)
		}
		f.network.HealAll()
		if r := f.put("us-1", "d"); r.Epoch != 2 {
			t.Errorf("receipt %+v", r)
		}
	})
}

// TestASealedPrimaryGoesOnBehindItsTarget when that is lost, as after any primary that was lost: it says that writes
// may be, and what the target took is a tail.
func TestASealedPrimaryGoesOnBehindItsTarget(t *testing.T) {
	inSmallest(t, func(f *smallest) {
		f.begunUnheard()
		f.kill("eu-1")
		began := time.Now()
		p := f.put("us-1", "c2")
		if took := time.Since(began); p.Epoch != 3 || took > 10*time.Second || !f.lastReign("us-1").Lossy {
			t.Errorf("receipt %+v after %v, reign %+v", p, took, f.lastReign("us-1"))
		}
		f.network.HealAll()
		f.start("eu-1")
		f.eventually([]string{"c0", "c2"})
		tails, err := f.nodes["eu-1"].Tails(f.t.Context())
		if err != nil || len(tails) != 1 || tails[0].Fork != 1 {
			t.Errorf("tails %+v, %v", tails, err)
		}
	})
}
