package votes

import (
	"context"
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/mimir-kv/mimir/replication/contract"
	"github.com/mimir-kv/mimir/replication/internal/peer"
	"github.com/mimir-kv/mimir/replication/timeline"
)

// An order of two charters goes on from where it was when the region writes one by itself in between, and keeps that.
func TestAnOrderOfTwoChartersIsOutrun(t *testing.T) {
	order := Change{Remove: "witness/w1", Witness: "w2", Addrs: []string{"w2"}}
	write := func(r *ruled) (*timeline.Charter, error) {
		return Orders{r.v}.known(r.t.Context(), func() (*timeline.Charter, error) {
			return Orders{r.v}.change(r.t.Context(), order)
		})
	}
	for at := range 3 {
		rule(t, nil, func(t *testing.T, r *ruled) {
			r.at, r.before = at, func() {
				own := r.charter().Next(1, 0)
				own.Paused = "by the region"
				if outcome, why, err := r.apply(own); outcome != timeline.Applied {
					t.Error(outcome, why, err)
				}
			}
			_, err := write(r)
			c := r.charter()
			paused := ""
			if at > 0 {
				paused = "by the region"
			}
			if err != nil || c.Voter("witness/w1") != nil || c.Voter("witness/w2") == nil || len(c.Voters) != 3 ||
				!c.Automatic || c.Paused != paused {
				t.Errorf("outrun at write %d: %v, and %+v", at, err, c)
			}
		})
	}
	rule(t, nil, func(t *testing.T, r *ruled) {
		r.at, r.fails = 2, contract.ErrNotLeader
		_, err := write(r)
		if peer.Kind(err) != contract.ErrUnknownOutcome ||
			!strings.Contains(err.Error(), "witness/w1 votes no more, and witness/w2 is not known to vote") {
			t.Errorf("half of it is done: %v", err)
		}
		r.at, r.writes = 1, 0
		if _, err := write(r); errors.Is(err, contract.ErrUnknownOutcome) {
			t.Errorf("nothing is done: %v", err)
		}
	})
}

// An end of a hold that the region writes by itself, just before the one that was ordered, is what was ordered.
func TestAnEndOfAHoldIsOutrunByAnother(t *testing.T) {
	rule(t, &timeline.Hold{For: time.Minute, Until: time.Now().Add(time.Minute)}, func(t *testing.T, r *ruled) {
		r.at, r.before = 1, func() {
			if outcome, why, err := r.apply(r.charter().Next(1, 0).Ends(0)); outcome != timeline.Applied {
				t.Error(outcome, why, err)
			}
		}
		c, err := Orders{r.v}.known(t.Context(), func() (*timeline.Charter, error) {
			return Orders{r.v}.stay(t.Context(), holdOrder{})
		})
		if err != nil || c.Hold != nil || r.writes != 1 {
			t.Errorf("%+v, %v, after %d writes", c, err, r.writes)
		}
	})
}

// A voter that is far away answers a question that was on its way first, and then the one that counts: it is there.
func TestAVoterThatIsFarAwayIsNotAway(t *testing.T) {
	for _, trip := range []time.Duration{10, 160, 170, 260, 330} {
		for phase := range 8 {
			rule(t, nil, func(t *testing.T, r *ruled) {
				r.trip = trip * time.Millisecond
				ctx, cancel := context.WithCancel(t.Context())
				defer cancel()
				go func() { // as Run does
					for r.v.config.Life.Pause(ctx, time.Second/24) == nil {
						r.ask()
					}
				}()
				time.Sleep(3*time.Second + time.Duration(phase)*time.Second/24)
				if away := (Orders{r.v}).away(ctx); away != "" {
					t.Errorf("%v away, %d: %s is away", r.trip, phase, away)
				}
				cancel()
				time.Sleep(time.Second)
			})
		}
	}
}
