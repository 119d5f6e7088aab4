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

// TestASeatSpeaksForItsVoter, and says for whom; who does not say whom he asks is of a version before.
func TestASeatSpeaksForItsVoter(t *testing.T) {
	for asked, answers := range map[string]bool{"": true, "witness/w": true, "a": false} {
		called := false
		a, err := NewSeat("witness/w", nil, nil, speaking{}).answers(asked, "us", nil, func() (ballot.Answer, error) {
			called = true
			return ballot.Answer{Granted: true}, nil
		})
		if called != answers || a.Granted != answers || (err == nil) != answers || answers && a.By != "witness/w" {
			t.Errorf("asked as %q: %+v, %v", asked, a, err)
		}
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
			s, node, questions := voting(id), network.Node(id), peer.NewRegistry(func() error { return nil })
			seat = NewSeat(id, at, lives, kept{timeline.NewMachine(&s)})
			seat.Register(questions)
			seat.Begin()
			nodes = append(nodes, node.Serve(map[string]transport.Handler{peer.Service: questions.Serve}))
			own, closing = node, append(closing, node.Close)
		}
		for addr, by := range map[string]string{"liar": "b", "old": ""} { // they grant whatever they are asked
			node, questions := network.Node(addr), peer.NewRegistry(func() error { return nil })
			says := answer{Answer: ballot.Answer{Granted: true, Ruler: ballot.Ruler{Epoch: 1, Region: "a"}}, By: by}
			for _, q := range []peer.Question[*candidacy, answer]{askSound, askVote} {
				peer.Handle(questions, q, func(context.Context, *candidacy) (answer, error) {
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

// TestNobodyVotesTwice: an address of a that leads to b, which asks, is no vote of a, and hides none.
func TestNobodyVotesTwice(t *testing.T) {
	for _, test := range []struct {
		name  string
		addrs []string
		voted bool
	}{
		{"it leads to b", []string{"b"}, false},
		{"one leads to b, and nobody is at the other", []string{"b", "nowhere"}, false},
		{"one leads to b, and at the other is a", []string{"b", "a"}, true},
		{"the same in another order", []string{"a", "b"}, true},
		{"there is somebody who says that he is b", []string{"liar"}, false},
		{"there is a voter that is too old to say who it is", []string{"old"}, true},
	} {
		t.Run(test.name, func(t *testing.T) {
			asks(t, test.addrs, func(t *testing.T, v *Votes) {
				ctx, cancel := context.WithTimeout(t.Context(), 3*time.Second)
				defer cancel()
				_, err := v.Sound(ctx, timeline.NoBound)
				if none := err != nil && strings.Contains(err.Error(), "no majority of votes"); none == test.voted {
					t.Errorf("sounds: %v", err)
				}
				_, err = v.Elect(ctx, timeline.Reign{Epoch: 2, Primary: "b"}, true, timeline.NoBound)
				if (err == nil) != test.voted {
					t.Errorf("asks for votes: %v", err)
				}
			})
		})
	}
}

// TestARegionIsRecoveredByItsName: an address of another may lead here.
func TestARegionIsRecoveredByItsName(t *testing.T) {
	v := &Votes{config: Config{Region: "eu"}}
	if _, err := (Orders{v}).recoverHere(t.Context(), "us", nil); !errors.Is(err, contract.ErrRejected) {
		t.Errorf("an order about us came to eu: %v", err)
	}
}
