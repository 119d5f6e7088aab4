package votes

import (
	"context"
	"errors"
	"log/slog"
	"testing"
	"time"

	"github.com/mimir-kv/mimir/replication/clock"
	"github.com/mimir-kv/mimir/replication/clock/virtual"
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

// Two that the tests of orders and questions are about: a region that asks others for their votes, and the leader of a
// primary, which has them.

// kept is the store of a voter whose log takes everything at once.
type kept struct{ machine *timeline.Machine }

func (k kept) Term() uint64                            { return 3 }
func (k kept) State() *timeline.State                  { s := k.machine.State(); return &s }
func (k kept) Confirm(context.Context) error           { return nil }
func (k kept) Recall([]fleet.Word) *timeline.Objection { return nil }
func (k kept) Word() (none fleet.Word, err error)      { return none, nil }
func (k kept) Enrol(context.Context) (Enrolment, error) {
	return Enrolment{Voter: k.State().Region}, nil
}
func (k kept) Record(_ context.Context, c *timeline.Control) (timeline.Outcome, string, error) {
	return k.machine.Control(c)
}

// voting is the state of region, which follows a by a charter of a, b and a witness.
func voting(region string) timeline.State {
	return timeline.State{
		Region: region, Cursor: timeline.Cursor{Epoch: 1},
		Reigns: []timeline.Reign{{Epoch: 1, First: 1, Primary: "a"}},
		Ballot: &timeline.Ballot{Promised: 1, For: "a", Charter: timeline.Charter{
			Epoch: 1, Number: 4, Lease: time.Second, MaxLoss: 100, Automatic: true, Voters: []timeline.Voter{
				{ID: "a", Priority: 1}, {ID: "b", Priority: 1}, {ID: "witness/w", Addrs: []string{"w"}},
			},
		}},
	}
}

// asks runs f with the votes of region b, which knows a at these addresses. Seats are at "a" and "b", and nobody is at
// "w".
func asks(t *testing.T, addrs []string, f func(t *testing.T, v *Votes)) {
	t.Helper()
	virtual.Test(t, func(t *testing.T) {
		network, at := memory.NewNetwork(clock.Unsuspended, 1), clock.Unsuspended
		log := slog.New(slog.DiscardHandler)
		lives, nodes := life.New(at, log), []error{}
		var own transport.Transport
		var seat *Seat
		var closing []func() error
		for _, id := range []string{"a", "b"} {
			s, node, questions := voting(id), network.Node(id), peer.NewRegistry(func() error { return nil }, nil)
			seat = NewSeat(id, at, lives, kept{timeline.NewMachine(&s)})
			seat.Register(questions)
			seat.Begin()
			nodes = append(nodes, node.Serve(map[string]transport.Handler{peer.Service: questions.Serve}))
			own, closing = node, append(closing, node.Close)
		}
		for addr, by := range map[string]string{"liar": "b", "old": ""} { // they grant whatever they are asked
			node, questions := network.Node(addr), peer.NewRegistry(func() error { return nil }, nil)
			says := answer{Answer: ballot.Answer{Granted: true, Ruler: ballot.Ruler{Epoch: 1, Region: "a"}}, By: by}
			for _, q := range []peer.Question[*candidacy, answer]{askSound, askVote} {
				peer.Handle(questions, q, peer.FleetNode, func(context.Context, *candidacy) (answer, error) {
					return says, nil
				})
			}
			nodes = append(nodes, node.Serve(map[string]transport.Handler{peer.Service: questions.Serve}))
			closing = append(closing, node.Close)
		}
		if err := errors.Join(nodes...); err != nil {
			t.Fatal(err)
		}
		v := New(Config{
			Region: "b", Clock: at, Logger: log, Life: lives, Timeout: time.Second, Client: peer.NewClient(own),
			Applied: region.NewApplied(&region.View{State: voting("b")}, endless{}), Witnesses: nothing{},
			Fleet: fleet.NewWatcher(fleet.Config{Clock: at, Regions: map[string][]string{"a": addrs}}),
			Fence: standing.NewFence(at, region.NewApplied(&region.View{}, endless{})),
		})
		v.seat = seat
		time.Sleep(2 * time.Second) // nobody is bound by who spoke before
		f(t, v)
		for _, c := range closing {
			if err := c(); err != nil {
				t.Error(err)
			}
		}
	})
}

// nothing remembers no witness.
type nothing struct{}

func (nothing) Witness(string) []fleet.Word          { return nil }
func (nothing) NoteWitness(string, fleet.Word, bool) {}

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
	level   timeline.Level            // that witnesses understand
	to      string                    // where the primary is moved to; "": it is not
	sealing bool                      // for that
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
		own, r := network.Node("us"), &ruled{t: t, level: timeline.LevelNow}
		closing := []func() error{own.Close}
		for _, name := range []string{"w1", "w2"} {
			node, questions := network.Node(name), peer.NewRegistry(func() error { return nil }, nil)
			peer.Handle(questions, askEnrol, peer.FleetNode, func(context.Context, peer.Nothing) (Enrolment, error) {
				return Enrolment{Voter: "witness/" + name, Identity: timeline.Nonce{7}, Level: r.level}, nil
			})
			if err := node.Serve(map[string]transport.Handler{peer.Service: questions.Serve}); err != nil {
				t.Fatal(err)
			}
			closing = append(closing, node.Close)
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
		r.machine = timeline.NewMachine(&s)
		applied, leads := region.NewApplied(&region.View{State: s}, endless{}), &region.Leadership{}
		leads.Set(3)
		log := slog.New(slog.DiscardHandler)
		at := clock.Unsuspended
		w, fence := fleet.NewWatcher(fleet.Config{Clock: at}), standing.NewFence(at, applied)
		r.v = New(Config{
			Region: "us", Clock: at, Logger: log, Life: life.New(at, log), Timeout: time.Second,
			Applied: applied, Leadership: leads, Fleet: w, Fence: fence, Controls: r, Slots: r, Writes: r,
			Standing: standing.New("us", applied, leads, w, r, fence), Changed: func() {}, Client: peer.NewClient(own),
			Ready:  func(context.Context, timeline.Level) error { return nil },
			Moving: func() (string, bool) { return r.to, r.sealing },
		})
		fence.Grant(ballot.Evidence{Epoch: 1, Until: at.Elapsed() + time.Hour})
		r.ask()
		f(t, r)
		for _, c := range closing {
			if err := c(); err != nil {
				t.Error(err)
			}
		}
	})
}
