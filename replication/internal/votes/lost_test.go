package votes

import (
	"context"
	"errors"
	"log/slog"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/mimir-kv/mimir/replication/clock"
	"github.com/mimir-kv/mimir/replication/clock/virtual"
	"github.com/mimir-kv/mimir/replication/contract"
	"github.com/mimir-kv/mimir/replication/internal/fleet"
	"github.com/mimir-kv/mimir/replication/internal/life"
	"github.com/mimir-kv/mimir/replication/internal/region"
	"github.com/mimir-kv/mimir/replication/internal/standing"
	"github.com/mimir-kv/mimir/replication/timeline"
)

// wrote are writes that come to their end while somebody looks how far they are.
type wrote struct {
	Writes
	ends func() timeline.Position
}

func (w wrote) Reached() timeline.Position { return w.ends() }

// A region has lost a part of its reign by the word of who leads it alone, who has proposed or applied less than
// another region has; and it does not go on by votes, also if that is known while it asks for them.
// TestWhoDoesNotVoteIsToldTheWaysOut: an order to take over comes to nothing there, whoever is lost.
func TestWhoDoesNotVoteIsToldTheWaysOut(t *testing.T) {
	asks(t, []string{"a"}, func(t *testing.T, v *Votes) {
		s := voting("b")
		s.Ballot.Charter.Voters = slices.Delete(s.Ballot.Charter.Voters, 1, 2)
		v.config.Applied.Publish(&region.View{State: s})
		_, err := v.Elect(t.Context(), timeline.Reign{Epoch: 2, First: 1, Primary: "b"}, true, timeline.NoBound)
		if !errors.Is(err, contract.ErrNotReady) || !strings.Contains(err.Error(), "mimir fleet change --add b") ||
			!strings.Contains(err.Error(), "if a is lost for good, recover: mimir fleet recover --keep b") {
			t.Error(err)
		}
	})
}

// TestTheWaysOutNameWhoReigns: a region without a vote may not know of that reign, and then nobody is named.
func TestTheWaysOutNameWhoReigns(t *testing.T) {
	s := voting("b")
	s.Reigns = []timeline.Reign{{Epoch: 1, First: 1, Primary: "b"}}
	c := &timeline.Candidacy{For: "b", Reigns: s.Reigns, Charter: s.Ballot.Charter}
	c.Charter.Epoch = 2
	if text := noVote(&s, c).Error(); !strings.Contains(text, "while the primary of epoch 2 reigns") {
		t.Errorf("it has not heard who reigns: %s", text)
	}
	s.Yielded = timeline.Reign{Epoch: 2, First: 5, Primary: "a"}
	if text := noVote(&s, c).Error(); !strings.Contains(text, "while a reigns") || strings.Contains(text, "max-loss") {
		t.Errorf("it has: %s", text)
	}
	c.Charter.MaxLoss, c.Charter.Voters = 0, []timeline.Voter{{ID: "a", Priority: 1}}
	if text := noVote(&s, c).Error(); !strings.Contains(text, "max-loss") {
		t.Errorf("adding it would be refused: %s", text)
	}
}

// TestAVoteOfWhoVotesNoMoreIsHeard: it follows no reign before the epoch that it voted for.
func TestAVoteOfWhoVotesNoMoreIsHeard(t *testing.T) {
	says := func(leads bool, promised timeline.Epoch) fleet.Region {
		return fleet.Region{Nodes: []fleet.Heard{{Report: fleet.Report{
			Leader: leads, Voting: &fleet.Voting{Promised: promised},
		}}}}
	}
	s, old := voting("a"), fleet.Region{Nodes: []fleet.Heard{{Report: fleet.Report{Leader: true}}}}
	for name, test := range map[string]struct {
		regions map[string]fleet.Region
		want    timeline.Epoch
	}{
		"it votes, and is asked itself": {map[string]fleet.Region{"b": says(true, 7)}, 0},
		"it votes no more":              {map[string]fleet.Region{"b": says(true, 7), "c": says(true, 6)}, 6},
		"nobody leads it":               {map[string]fleet.Region{"c": says(false, 6)}, 0},
		"an older node says nothing":    {map[string]fleet.Region{"c": old}, 0},
	} {
		if got := astray(s.Charter(), fleet.View{Regions: test.regions}); got != test.want {
			t.Errorf("%s: %d", name, got)
		}
	}
}

func TestWhatIsLostIsSaidByWhoLeads(t *testing.T) {
	virtual.Test(t, func(t *testing.T) {
		own := timeline.Reign{Epoch: 1, First: 1, Primary: "us"}
		at := func(p timeline.Position) timeline.State {
			return timeline.State{
				Region: "us", Cursor: timeline.Cursor{Epoch: 1, Position: p}, Reigns: []timeline.Reign{own},
				Ballot: &timeline.Ballot{Promised: 1, For: "us", Charter: timeline.Charter{
					Epoch: 1, Number: 1, Lease: time.Second, Automatic: true,
					Voters: []timeline.Voter{{ID: "us", Priority: 1}},
				}},
			}
		}
		var has atomic.Uint64
		has.Store(60)
		w := fleet.NewWatcher(fleet.Config{Regions: map[string][]string{"eu": {"eu-1"}}, Clock: clock.Real,
			Interval: time.Second, Timeout: time.Second,
			Ask: func(context.Context, string) (fleet.Report, error) {
				return fleet.Report{Region: "eu", Node: "eu-1", Leader: true, Claim: own,
					Reigns: []timeline.Reign{own}, Cursor: timeline.Cursor{Epoch: 1,
						Position: timeline.Position(has.Load())}}, nil
			}})
		ctx, cancel := context.WithCancel(t.Context())
		var running sync.WaitGroup
		running.Go(func() { w.Run(ctx) })
		virtual.Wait()
		s, log := at(50), slog.New(slog.DiscardHandler)
		applied, leads, lives := region.NewApplied(&region.View{State: s}, endless{}), &region.Leadership{},
			life.New(clock.Real, log)
		nothingProposed := func() timeline.Position { return 0 }
		v := New(Config{
			Region: "us", Clock: clock.Real, Logger: log, Life: lives, Timeout: time.Second, Applied: applied,
			Leadership: leads, Fleet: w, Fence: standing.NewFence(clock.Real, applied), Witnesses: nothing{},
			Standing: standing.New("us", applied, leads, w, nil, nil),
		})
		v.seat = NewSeat("us", clock.Real, lives, kept{timeline.NewMachine(&s)})
		v.seat.Begin()
		for _, c := range []struct {
			what    string
			term    uint64
			reached func() timeline.Position
			lost    bool
		}{
			{"it follows, and applies late", 0, nothingProposed, false},
			{"it has proposed more", 3, func() timeline.Position { return 60 }, false},
			{"it has less", 3, nothingProposed, true},
			{"what it proposed is applied meanwhile", 3, func() timeline.Position {
				applied.Publish(&region.View{State: at(60)})
				return 0
			}, false},
			{"another region is given more while it looks", 3, func() timeline.Position {
				has.Store(70)
				applied.Publish(&region.View{State: at(60)})
				w.Refresh()
				for v, changed := w.View(); v.Regions["eu"].Record.Cursor.Position != 70; v, changed = w.View() {
					<-changed
				}
				return 60
			}, false},
		} {
			applied.Publish(&region.View{State: at(50)})
			leads.Set(c.term)
			v.config.Writes = wrote{ends: c.reached}
			if lost := v.config.lost(); (lost != "") != c.lost {
				t.Errorf("%s: %q", c.what, lost)
			}
		}
		applied.Publish(&region.View{State: at(50)})
		v.config.Writes = wrote{ends: nothingProposed}
		_, err := v.Elect(t.Context(), timeline.Reign{Epoch: 2, Primary: "us"}, false, 0)
		if !errors.Is(err, contract.ErrNotReady) || !strings.Contains(err.Error(), "holds epoch 1 up to position 70") {
			t.Errorf("asks for votes: %v", err)
		}
		cancel()
		running.Wait()
	})
}
