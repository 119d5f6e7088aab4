package roster

import (
	"context"
	"errors"
	"slices"
	"strings"
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

// TestARegionThatWasJustAddedStays: an older word of its primary does not have it yet. It goes by what the leader of
// the primary says again while it serves it no stream, and by each roster anew.
func TestARegionThatWasJustAddedStays(t *testing.T) {
	virtual.Test(t, func(t *testing.T) {
		reign := timeline.Reign{Epoch: 2, First: 1, Primary: "us"}
		s := timeline.State{Region: "ap", Cursor: at(2, 5), Reigns: []timeline.Reign{reign}}
		follows, ended := true, 0
		k := New(Config{
			Region: "ap", Configured: map[string][]string{"eu": {"eu-1"}, "us": {"us-1"}}, Clock: clock.Real,
			Applied:   region.NewApplied(&region.View{State: s}, life.New(clock.Real, nil)),
			Follows:   func() bool { return follows },
			OnRemoved: func(error) { ended++ },
		})
		gives := func(r *timeline.Roster, from string, after time.Duration) bool {
			time.Sleep(after)
			k.Hear(fleet.Heard{At: clock.Real.Now(),
				Report: fleet.Report{Region: from, Leader: true, Roster: r}})
			return k.gives(&s, k.heard)
		}
		without := func(number uint64) *timeline.Roster { // it was removed
			r := home(number)
			r.Former = []timeline.Home{{Name: "ap", Addrs: []string{"ap-1"}, Place: 3}}
			return r
		}
		if empty := (timeline.State{Region: "ap"}); k.gives(&empty, without(2)) {
			t.Error("who has nothing does not wait")
		}
		if gives(without(2), "us", 0) || gives(without(2), "us", time.Minute) {
			t.Error("who is served a stream goes")
		}
		follows = false
		if gives(without(2), "us", 0) || gives(without(2), "us", patience-1) {
			t.Error("who was served just now goes")
		}
		if gives(without(3), "eu", patience) {
			t.Error("who hears of it from who is not primary goes")
		}
		if !gives(without(3), "us", time.Second) || ended != 0 {
			t.Errorf("who hears from the primary that it was removed stays, or has ended: %d", ended)
		}
		if !gives(without(4), "us", patience) || ended != 0 { // the time that another waited says nothing of this one
			t.Errorf("the next roster is not agreed upon, or it has ended: %d", ended)
		}
		if gives(without(4), "us", patience) || ended != 1 {
			t.Errorf("a region that cannot agree has not ended: %d", ended)
		}
		for name, known := range map[string]*timeline.Roster{
			"with a part of the history, before it is added": nil,
			"added by an order that was lost":                home(4).With(2, "us", "ap", []string{"ap-1"}),
		} {
			s.Roster = known
			if gives(home(6), "us", patience) || gives(home(6), "us", 2*patience) || ended != 1 {
				t.Errorf("who was not removed goes: %s", name)
			}
		}
		s.Roster = home(4).With(2, "us", "ap", []string{"ap-1"})
		if gives(without(7), "us", patience) || ended != 1 {
			t.Error("it goes because another one of its name was removed")
		}
	})
}

// TestWhichRosterIsWanted: the newest by the order of claims, and no primary ends by one that it outranks.
func TestWhichRosterIsWanted(t *testing.T) {
	reign := timeline.Reign{Epoch: 1, First: 1, Primary: "us"}
	primary := func(region string, e timeline.Epoch) *timeline.State {
		return &timeline.State{Region: region, Cursor: at(e, 5), Reigns: []timeline.Reign{reign,
			{Epoch: e, First: 2, Primary: region}}}
	}
	by := func(e timeline.Epoch, by string, regions ...string) *timeline.Roster {
		r := &timeline.Roster{Epoch: e, Number: 5, By: by, Ranked: true}
		for _, name := range regions {
			r.Regions = append(r.Regions, timeline.Home{Name: name})
		}
		return r
	}
	byAP, byEU := by(2, "ap", "ap"), by(2, "eu", "eu")
	held := func(s *timeline.State, r *timeline.Roster) *timeline.State { s.Roster = r; return s }
	for name, c := range map[string]struct {
		s     *timeline.State
		heard *timeline.Roster
		want  bool
	}{
		"of who gives way in the epoch":              {primary("ap", 2), by(2, "eu", "eu", "us"), false},
		"of who wins the epoch":                      {primary("eu", 2), by(2, "ap", "ap", "us"), true},
		"of a later epoch":                           {primary("ap", 2), by(3, "eu", "eu", "us"), true},
		"of an earlier one":                          {primary("ap", 2), by(1, "us", "us"), false},
		"with it, older than its own":                {held(primary("ap", 2), byAP), by(2, "eu", "ap", "eu"), false},
		"with it, newer than its own":                {held(primary("eu", 2), byEU), by(2, "ap", "ap", "eu"), true},
		"of a region that reigned before, and is in": {primary("us", 3), by(2, "eu", "eu", "us"), true},
	} {
		if got := wanted(c.s, c.heard); got != c.want {
			t.Errorf("%s: %v", name, got)
		}
	}
}

// agreedTo is a Raft group whose members agree on this index; negative: it cannot be known.
type agreedTo int

func (i agreedTo) ReadIndex(context.Context) (uint64, error) {
	if i < 0 {
		return 0, contract.ErrNotReady
	}
	return uint64(i), nil
}

// TestWhoHoldsWhatIsLostIsNotForgotten: it is by what was heard of it that the primary knows, and by what it has
// committed, not by what this node has applied.
func TestWhoHoldsWhatIsLostIsNotForgotten(t *testing.T) {
	virtual.Test(t, func(t *testing.T) {
		reigns := []timeline.Reign{{Epoch: 2, First: 1, Primary: "us"}}
		ends := life.New(clock.Real, nil)
		a := region.NewApplied(
			&region.View{Index: 1, State: timeline.State{Region: "us", Cursor: at(2, 5), Reigns: reigns}}, ends)
		w := fleet.NewWatcher(fleet.Config{
			Regions: map[string][]string{"ap": {"ap-1"}, "eu": {"eu-1"}}, Clock: clock.Real, Interval: time.Second,
			Timeout: time.Second,
			Ask: func(_ context.Context, addr string) (fleet.Report, error) {
				has := map[string]timeline.Position{"ap-1": 5, "eu-1": 7}[addr]
				return fleet.Report{Region: addr[:2], Node: addr, ID: 1, Leader: true, Cursor: at(2, has),
					Reigns: reigns}, nil
			},
		})
		ctx, cancel := context.WithCancel(t.Context())
		ended := make(chan struct{})
		go func() { defer close(ended); w.Run(ctx) }()
		virtual.Wait()
		asks := func(agreed agreedTo) *Keeper {
			return New(Config{Region: "us", Clock: clock.Real, Timeout: time.Second, Group: agreed, Applied: a,
				Fleet: w, Standing: standing.New("us", a, nil, w, nil, nil)})
		}
		if err := asks(-1).mayForget(ctx, "ap"); err != nil {
			t.Errorf("who has no more: %v", err)
		}
		if err := asks(-1).mayForget(ctx, "eu"); !errors.Is(err, contract.ErrNotReady) {
			t.Errorf("who has more, and it is not known what this region agreed on: %v", err)
		}
		if err := asks(2).mayForget(ctx, "eu"); !errors.Is(err, contract.ErrNotReady) {
			t.Errorf("who has more, and this node applies nothing more: %v", err)
		}
		err := asks(1).mayForget(ctx, "eu")
		if !errors.Is(err, contract.ErrRejected) ||
			!strings.Contains(err.Error(), "eu-1 holds epoch 2 up to position 7") {
			t.Errorf("who has more: %v", err)
		}
		time.AfterFunc(time.Second/2, func() {
			a.Publish(&region.View{Index: 2, State: timeline.State{Region: "us", Cursor: at(2, 7), Reigns: reigns}})
		})
		if err := asks(2).mayForget(ctx, "eu"); err != nil {
			t.Errorf("who has what this node applies late: %v", err)
		}
		cancel()
		<-ended
	})
}

// adds reports whether an error ends with the order that adds a region of which nobody knows where it is: without
// addresses it would be refused.
func adds(err error, region string) bool {
	return strings.HasSuffix(err.Error(), ": mimir region add "+region+" --peers ADDR[,ADDR]")
}

// TestWhichRegionsAreOfAFleetWithoutARoster: those that somebody named, and not whoever says that it is one.
func TestWhichRegionsAreOfAFleetWithoutARoster(t *testing.T) {
	virtual.Test(t, func(t *testing.T) {
		heard := func(_ context.Context, addr string) (fleet.Report, error) {
			return fleet.Report{Region: "eu", Node: addr, ID: 1, Level: timeline.LevelNow,
				Configured: []string{"us", "asked"}}, nil
		}
		var k *Keeper
		w := fleet.NewWatcher(fleet.Config{
			Regions: map[string][]string{"eu": {"eu-1"}}, Clock: clock.Real, Interval: time.Second,
			Timeout: time.Second, Ask: heard, Heard: func(r fleet.Heard) { k.Hear(r) },
		})
		s := timeline.State{
			Region: "us", Cursor: at(2, 5), Yielded: timeline.Reign{Epoch: 3, First: 5, Primary: "later"},
			Reigns: []timeline.Reign{{Epoch: 1, First: 1, Primary: "former"}, {Epoch: 2, First: 3, Primary: "us"}},
			Ballot: &timeline.Ballot{Charter: timeline.Charter{Number: 1, Voters: []timeline.Voter{
				{ID: "voter"}, {ID: timeline.WitnessPrefix + "w"},
			}}},
		}
		k = New(Config{
			Region: "us", Configured: map[string][]string{"eu": {"eu-1"}}, Fleet: w,
			Applied: region.NewApplied(&region.View{State: s}, life.New(clock.Real, nil)),
		})
		bars := func(known ...string) {
			t.Helper()
			for _, name := range []string{"eu", "voter", "former", "later", "asked", "witness", "xx", ""} {
				err := k.Bars(name)
				if is := slices.Contains(known, name); is != (err == nil) ||
					err != nil && (!errors.Is(err, contract.ErrUnknownRegion) || !adds(err, name)) {
					t.Errorf("%q: %v, and it is one: %t", name, err, is)
				}
			}
		}
		bars("eu", "voter", "former", "later")
		ctx, cancel := context.WithCancel(t.Context())
		ended := make(chan struct{})
		go func() {
			defer close(ended)
			w.Run(ctx)
		}()
		for v, changed := w.View(); len(v.Regions["eu"].Nodes) == 0; v, changed = w.View() {
			<-changed
		}
		bars("eu", "voter", "former", "later", "asked")
		s.Yielded, s.Ballot = timeline.Reign{}, nil
		k.config.Applied = region.NewApplied(&region.View{State: s}, life.New(clock.Real, nil))
		bars("eu", "former", "asked")
		s.Roster = &timeline.Roster{Number: 1, Epoch: 2, Regions: []timeline.Home{{Name: "eu"}, {Name: "us"}}}
		s.Ballot = &timeline.Ballot{Charter: timeline.Charter{Number: 2, Voters: []timeline.Voter{{ID: "voter"}}}}
		k.config.Applied = region.NewApplied(&region.View{State: s}, life.New(clock.Real, nil))
		if err := k.Bars("voter"); err != nil { // the roster that has it may not be here yet
			t.Error(err)
		}
		if err := k.Bars("xx"); err == nil || !adds(err, "xx") {
			t.Errorf("it is in no roster: %v", err)
		}
		if err := Removed("ap", s.Roster); !adds(err, "ap") {
			t.Error(err)
		}
		cancel()
		<-ended
	})
}

// TestWhoIsAskedAnewIsWaitedFor: also behind a round that is under way, whose questions take their time, and by which
// nobody knows what is said now.
func TestWhoIsAskedAnewIsWaitedFor(t *testing.T) {
	virtual.Test(t, func(t *testing.T) {
		const timeout = time.Second
		asked := make(chan time.Time, 2)
		ends := life.New(clock.Real, nil)
		w := fleet.NewWatcher(fleet.Config{
			Regions: map[string][]string{"eu": {"eu-1"}}, Clock: clock.Real, Interval: timeout, Timeout: timeout,
			Ask: func(context.Context, string) (fleet.Report, error) {
				asked <- clock.Real.Now()
				time.Sleep(timeout - time.Millisecond)
				return fleet.Report{Region: "eu", Leader: true}, nil
			},
		})
		ends.Go(w.Run)
		<-asked
		time.Sleep(time.Millisecond)
		began := clock.Real.Now()
		k := New(Config{Region: "us", Fleet: w, Life: ends, Clock: clock.Real, Timeout: timeout})
		if err := askAnew(t.Context(), k); err != nil {
			t.Fatal(err)
		}
		if v, _ := w.View(); v.Regions["eu"].Asked.Before(began) {
			t.Errorf("it goes by what was said %s before", began.Sub(v.Regions["eu"].Asked))
		}
		ends.Close()
		ends.Wait()
	})
}
