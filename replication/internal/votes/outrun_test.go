package votes

import (
	"context"
	"errors"
	"log/slog"
	"strings"
	"testing"
	"time"

	"github.com/mimir-kv/mimir/replication/clock"
	"github.com/mimir-kv/mimir/replication/clock/virtual"
	"github.com/mimir-kv/mimir/replication/contract"
	"github.com/mimir-kv/mimir/replication/internal/ballot"
	"github.com/mimir-kv/mimir/replication/internal/fleet"
	"github.com/mimir-kv/mimir/replication/internal/life"
	"github.com/mimir-kv/mimir/replication/internal/peer"
	"github.com/mimir-kv/mimir/replication/internal/region"
	"github.com/mimir-kv/mimir/replication/internal/standing"
	"github.com/mimir-kv/mimir/replication/timeline"
	"github.com/mimir-kv/mimir/replication/transport"
	"github.com/mimir-kv/mimir/replication/transport/memory"
)

// ruled is the leader of the primary us, beside eu and witness/w1, which answer at once, or after a round trip. What is
// written is applied.
type ruled struct {
	t       *testing.T
	v       *Votes
	machine *timeline.Machine
	trip    time.Duration
	writes  int
	before  func()                    // what the region writes just before a charter of an order; nil: nothing
	fails   error                     // of that one
	at      int                       // the number of that one; zero: none
	answers map[string]ballot.Renewed // of voters, in the place of yes
}

func (r *ruled) Reached() timeline.Position  { return 0 }
func (r *ruled) Stalled(time.Duration) bool  { return false }
func (r *ruled) Now() (none []timeline.Slot) { return none }
func (r *ruled) LeaderAddr() string          { return "" }
func (r *ruled) charter() *timeline.Charter  { return r.v.config.Applied.State().Charter() }

func (r *ruled) Control(_ context.Context, c *timeline.Control) (region.Outcome, error) {
	if r.writes++; r.writes == r.at {
		if r.fails != nil {
			return region.Outcome{}, r.fails
		}
		r.before()
	}
	outcome, why, err := r.apply(c.Charter)
	return region.Outcome{Outcome: outcome, Why: why}, err
}

// apply has the region take a charter, and the voters hear of it.
func (r *ruled) apply(c *timeline.Charter) (timeline.Outcome, string, error) {
	outcome, why, err := r.machine.Control(&timeline.Control{Op: timeline.OpCharter, Charter: c, To: "us"})
	r.v.config.Applied.Publish(&region.View{State: r.machine.State()})
	r.ask()
	return outcome, why, err
}

// ask asks the voters, if it is time to.
func (r *ruled) ask() {
	r.v.mu.Lock()
	defer r.v.mu.Unlock()
	r.step(nil)
}

func (r *ruled) step(in ballot.Input) {
	view := ballot.HolderView{Term: 3, State: r.v.config.Applied.State(), Wall: r.v.config.Clock.Now()}
	for _, e := range r.v.holder.Step(r.v.config.Clock.Elapsed(), view, in) {
		yes := ballot.Renewed{Call: e.Call, Voter: e.Voter, Answer: ballot.Answer{Granted: true}}
		if no, other := r.answers[e.Voter]; other {
			yes = no
			yes.Call, yes.Voter = e.Call, e.Voter
		}
		if r.trip == 0 {
			r.step(yes)
			continue
		}
		time.AfterFunc(r.trip, func() {
			r.v.mu.Lock()
			defer r.v.mu.Unlock()
			r.step(yes)
		})
	}
}

func rule(t *testing.T, hold *timeline.Hold, f func(t *testing.T, r *ruled)) {
	t.Helper()
	virtual.Test(t, func(t *testing.T) {
		network := memory.NewNetwork(clock.Unsuspended, 1)
		own, second := network.Node("us"), network.Node("w2")
		questions := peer.NewRegistry(func() error { return nil })
		peer.Handle(questions, askEnrol, func(context.Context, peer.Nothing) (Enrolment, error) {
			return Enrolment{Voter: "witness/w2", Identity: timeline.Nonce{7}, Level: timeline.LevelNow}, nil
		})
		err := second.Serve(map[string]transport.Handler{peer.Service: questions.Serve})
		if err != nil {
			t.Fatal(err)
		}
		s := timeline.State{
			Region: "us", Cursor: timeline.Cursor{Epoch: 1},
			Reigns: []timeline.Reign{{Epoch: 1, First: 1, Primary: "us"}},
			Ballot: &timeline.Ballot{Promised: 1, For: "us", Charter: timeline.Charter{
				Epoch: 1, Number: 4, Lease: time.Second, MaxLoss: 100, Automatic: true, Hold: hold,
				Voters: []timeline.Voter{
					{ID: "eu", Priority: 1}, {ID: "us", Priority: 1}, {ID: "witness/w1", Addrs: []string{"w1"}},
				},
			}},
		}
		r := &ruled{t: t, machine: timeline.NewMachine(&s)}
		applied, leads := region.NewApplied(&region.View{State: s}, endless{}), &region.Leadership{}
		leads.Set(3)
		log := slog.New(slog.DiscardHandler)
		at := clock.Unsuspended
		w, fence := fleet.NewWatcher(fleet.Config{Clock: at}), standing.NewFence(at, applied)
		r.v = New(Config{
			Region: "us", Clock: at, Logger: log, Life: life.New(at, log), Timeout: time.Second,
			Applied: applied, Leadership: leads, Fleet: w, Fence: fence, Controls: r, Slots: r, Writes: r,
			Standing: standing.New("us", applied, leads, w, r, fence), Changed: func() {}, Client: peer.NewClient(own),
			Ready: func(context.Context, timeline.Level) error { return nil },
		})
		fence.Grant(ballot.Evidence{Epoch: 1, Until: at.Elapsed() + time.Hour})
		r.ask()
		f(t, r)
		if err := errors.Join(own.Close(), second.Close()); err != nil {
			t.Error(err)
		}
	})
}

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
