package votes

import (
	"context"
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/mimir-kv/mimir/replication/contract"
	"github.com/mimir-kv/mimir/replication/internal/ballot"
	"github.com/mimir-kv/mimir/replication/timeline"
)

// lossless has nothing be lost, and ap vote too.
func (r *ruled) lossless() {
	c := r.charter().Next(1, 0)
	c.MaxLoss, c.Voters = 0, append([]timeline.Voter{{ID: "ap", Priority: 1}}, c.Voters...)
	if outcome, why, err := r.apply(c); outcome != timeline.Applied {
		r.t.Fatal(outcome, why, err)
	}
}

// ends reports whether nothing more is acknowledged than was, since another charter is about to be written.
func (r *ruled) ends() bool { return r.v.ending.of(3, r.charter()) }

// TestACharterByWhichOthersCountSaysHowFarWasAcknowledged: a vote is taken away of a region that has what was, and the
// two of the others that may be without are a majority.
func TestACharterByWhichOthersCountSaysHowFarWasAcknowledged(t *testing.T) {
	rule(t, nil, func(t *testing.T, r *ruled) {
		r.lossless()
		during := false
		r.at, r.before = 1, func() { during = r.ends() }
		c, err := Orders{r.v}.change(t.Context(), Change{Remove: "eu"})
		if err != nil || c.Under.Epoch != 1 || r.charter().Under != c.Under || len(r.charter().Voters) != 3 {
			t.Errorf("%+v, %v", c, err)
		}
		if !during || r.ends() {
			t.Errorf("while it is written nothing more is acknowledged: %t; behind it: %t", during, r.ends())
		}
	})
	rule(t, nil, func(t *testing.T, r *ruled) { // w1 has nothing
		r.lossless()
		c, err := Orders{r.v}.change(t.Context(), Change{Remove: "witness/w1"})
		if err != nil || c.Under.Epoch != 0 {
			t.Errorf("nobody counts otherwise: %+v, %v", c, err)
		}
	})
}

// TestACharterOfWhichNothingIsKnownIsDecided: until it is, no more is acknowledged than was before it.
func TestACharterOfWhichNothingIsKnownIsDecided(t *testing.T) {
	rule(t, nil, func(t *testing.T, r *ruled) {
		r.lossless()
		for _, fails := range []error{contract.ErrNotLeader, contract.ErrUnknownOutcome} {
			r.writes, r.at, r.fails = 0, 1, fails
			_, err := Orders{r.v}.change(t.Context(), Change{Remove: "eu"})
			if unknown := fails == contract.ErrUnknownOutcome; !errors.Is(err, fails) || r.ends() != unknown {
				t.Errorf("%v: %v, and nothing more is acknowledged: %t", fails, err, r.ends())
			}
		}
		before := r.charter().Number
		upkeep{r.v}.decide()
		time.Sleep(time.Second)
		if c := r.charter(); r.ends() || c.Number != before+1 || c.Voter("eu") == nil {
			t.Errorf("decided by %+v", c)
		}
	})
}

// TestOlderNodesAreNotToldHowFarWasAcknowledged: they would not know what it is, and nothing changes. Who does not
// answer, as the region whose vote is taken away, says nothing of that.
func TestOlderNodesAreNotToldHowFarWasAcknowledged(t *testing.T) {
	for says, want := range map[error]bool{contract.ErrOldNode: false, contract.ErrNotReady: true} {
		rule(t, nil, func(t *testing.T, r *ruled) {
			r.lossless()
			r.v.config.Ready = func(_ context.Context, l timeline.Level) error {
				if l >= timeline.LevelHold {
					return says
				}
				return nil
			}
			_, err := Orders{r.v}.change(t.Context(), Change{Remove: "eu"})
			if done := r.charter().Voter("eu") == nil; done != want || done != (err == nil) || r.ends() {
				t.Errorf("%v: %v, and %+v", says, err, r.charter())
			}
		})
	}
}

// TestAnOlderWitnessIsNotToldEither, also while somebody else does not answer: it would drop what it is told.
func TestAnOlderWitnessIsNotToldEither(t *testing.T) {
	for _, says := range []error{nil, contract.ErrNotReady} {
		rule(t, nil, func(t *testing.T, r *ruled) {
			r.lossless()
			r.level = timeline.LevelBallots
			r.v.config.Ready = func(context.Context, timeline.Level) error { return says }
			_, err := Orders{r.v}.change(t.Context(), Change{Remove: "eu"})
			if !errors.Is(err, contract.ErrOldNode) || !strings.Contains(err.Error(), "witness/w1") {
				t.Errorf("with %v: %v", says, err)
			}
		})
	}
}

// TestWhoOrdersKnowsWhatACandidateLacks, by the candidate's own charter, also if no voter knows that yet.
func TestWhoOrdersKnowsWhatACandidateLacks(t *testing.T) {
	c := &timeline.Candidacy{
		For: "ap", Reigns: []timeline.Reign{{Epoch: 1, First: 1, Primary: "us"}},
		Cursor:  timeline.Cursor{Epoch: 1, Position: 600},
		Charter: timeline.Charter{Under: timeline.Under{Epoch: 1, Position: 1000}},
	}
	votes := map[string]*ballot.Answer{"ap": {Granted: true}, "witness/w": {Granted: true}}
	if m := mandateOf(c, votes); m.Lost != 400 {
		t.Errorf("%+v", m)
	}
	if c.Handoff = 7; mandateOf(c, votes).Lost != 0 {
		t.Error("the primary before is sealed, and has handed over all of it")
	}
}
