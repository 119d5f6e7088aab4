package primary

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
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
	"github.com/mimir-kv/mimir/replication/internal/peer"
	"github.com/mimir-kv/mimir/replication/internal/region"
	"github.com/mimir-kv/mimir/replication/internal/standing"
	"github.com/mimir-kv/mimir/replication/internal/succession"
	"github.com/mimir-kv/mimir/replication/timeline"
	"github.com/mimir-kv/mimir/replication/transport"
	"github.com/mimir-kv/mimir/replication/transport/memory"
)

// us is the primary of the tests: its real state machine, whose log answers as the test wants.
type us struct {
	applied *region.Applied

	mu      sync.Mutex
	machine *timeline.Machine
	fails   map[timeline.Op]error // instead of being decided
	lines   []string              // that were logged
	eu, own timeline.Level        // of the nodes of eu, and of the other nodes of us
	late    bool                  // eu is to be kept delayed, and is not yet
	reached timeline.Position     // that us has proposed and not applied; eu has it
	claim   timeline.Reign        // the highest that eu knows of
	voting  *fleet.Voting         // what eu says of votes
	silent  error                 // eu does not answer
	blank   bool                  // of eu a node answers that has nothing yet
}

// these are the regions of a fleet.
func these(names ...string) func() []string { return func() []string { return names } }

// Enabled, Handle, WithAttrs and WithGroup are slog.Handler.
func (u *us) Enabled(context.Context, slog.Level) bool { return true }
func (u *us) WithAttrs([]slog.Attr) slog.Handler       { return u }
func (u *us) WithGroup(string) slog.Handler            { return u }
func (u *us) Handle(_ context.Context, r slog.Record) error {
	text := r.Message
	r.Attrs(func(a slog.Attr) bool {
		text += " " + a.String()
		return true
	})
	u.mu.Lock()
	defer u.mu.Unlock()
	u.lines = append(u.lines, text)
	return nil
}

// logged returns the lines with these words.
func (u *us) logged(words string) (list []string) {
	u.mu.Lock()
	defer u.mu.Unlock()
	for _, l := range u.lines {
		if strings.Contains(l, words) {
			list = append(list, l)
		}
	}
	return list
}

func (u *us) Control(_ context.Context, c *timeline.Control) (region.Outcome, error) {
	u.mu.Lock()
	defer u.mu.Unlock()
	if err := u.fails[c.Op]; err != nil {
		return region.Outcome{}, err
	}
	outcome, why, err := u.machine.Control(c)
	u.publish()
	return region.Outcome{Outcome: outcome, Why: why}, err
}

func (u *us) Begin(_ context.Context, r timeline.Reign) (*timeline.Reign, error) {
	u.mu.Lock()
	defer u.mu.Unlock()
	at := u.applied.State().Cursor
	r.First, r.Previous = at.Position+1, at.Chain
	outcome, why, err := u.machine.Reign(r)
	u.publish()
	if err == nil && outcome != timeline.Applied {
		err = fmt.Errorf("%w: %s", contract.ErrRejected, why)
	}
	return &r, err
}

func (u *us) publish() { u.applied.Publish(&region.View{State: u.machine.State()}) }

func (u *us) Open() bool { return u.applied.State().Writable() }

func (u *us) Reached() timeline.Position {
	u.mu.Lock()
	defer u.mu.Unlock()
	return u.reached
}

// nobody follows nobody.
type nobody struct{}

func (nobody) Run(ctx context.Context, e succession.Effect) succession.Ended {
	<-ctx.Done()
	return succession.Ended{ID: e.ID}
}
func (nobody) Heard(string) timeline.Position { return 0 }
func (nobody) LeaderAddr() string             { return "us-1" }

// unchanged says that neither the regions nor the charter change.
func unchanged() (string, bool) { return "", false }

// run gives body a governor of us, which is primary of epoch 1, beside eu, whose leader answers with begin and refuse.
func run(t *testing.T, begin, refuse func(succession.Handover) (*timeline.Reign, error), body func(g *Governor,
	u *us)) {
	virtual.Test(t, func(t *testing.T) {
		u := &us{machine: timeline.NewMachine(&timeline.State{Region: "us"}), fails: map[timeline.Op]error{}}
		logger := slog.New(u)
		network := memory.NewNetwork(clock.Real, 1)
		own := network.Node("us-1")
		l := life.New(clock.Real, logger)
		u.applied = region.NewApplied(&region.View{State: timeline.State{Region: "us"}}, l)
		leadership := &region.Leadership{}
		watcher := fleet.NewWatcher(fleet.Config{Regions: map[string][]string{"eu": {"eu-1"}}, Clock: clock.Real,
			Ask: func(context.Context, string) (fleet.Report, error) {
				s := u.applied.State()
				u.mu.Lock()
				defer u.mu.Unlock()
				if u.blank {
					return fleet.Report{Region: "eu", Level: u.eu, Voting: new(fleet.Voting)}, nil
				}
				at := s.Cursor
				at.Position = max(at.Position, u.reached)
				return fleet.Report{Region: "eu", Level: u.eu, Leader: true, Role: timeline.Secondary, Cursor: at,
					Claim: u.claim, Reigns: s.Reigns, OrderOnly: u.late, Voting: u.voting}, u.silent
			}})
		g := New(Config{
			Region: "us", Regions: these("eu", "us"), Founder: true, CallTimeout: time.Second, Clock: clock.Real,
			Logger: logger, Life: l,
			Applied: u.applied, Leadership: leadership, Fleet: watcher, Standing: standing.New("us", u.applied,
				leadership, watcher, nobody{}, nil),
			Leader: nobody{}, Client: peer.NewClient(own), Decider: u, Follower: nobody{},
			Level: func(context.Context) timeline.Level { return u.own }, Changing: unchanged,
		})
		eu := peer.NewRegistry(func() error { return nil }, nil)
		peer.Handle(eu, askBegin, peer.FleetNode, func(_ context.Context, h succession.Handover) (*timeline.Reign,
			error) {
			return begin(h)
		})
		peer.Handle(eu, askRefuse, peer.FleetNode, func(_ context.Context, h succession.Handover) (*timeline.Reign,
			error) {
			return refuse(h)
		})
		target := network.Node("eu-1")
		if err := target.Serve(map[string]transport.Handler{peer.Service: eu.Serve}); err != nil {
			t.Fatal(err)
		}
		leadership.Set(1)
		for _, f := range []func(context.Context){watcher.Run, g.Run} {
			l.Go(f)
		}
		for !u.Open() || g.view().Fleet.Leaders["eu"].Cursor != u.applied.State().Cursor {
			watcher.Refresh()
			time.Sleep(10 * time.Millisecond)
		}
		body(g, u)
		l.Close()
		l.Wait()
		_ = target.Close()
		_ = own.Close()
	})
}

func begun(h succession.Handover) (*timeline.Reign, error) {
	return &timeline.Reign{Epoch: h.Epoch + 1, Primary: h.To, First: h.End.Position + 1, Previous: h.End.Chain,
		Handoff: h.Handoff}, nil
}

func refused(succession.Handover) (*timeline.Reign, error) { return nil, nil }

func cannot(succession.Handover) (*timeline.Reign, error) { return nil, contract.ErrRejected }

// vague says what the target knows of its own part, which is not the end of the switchover.
func vague(succession.Handover) (*timeline.Reign, error) { return nil, contract.ErrUnknownOutcome }

func behind(succession.Handover) (*timeline.Reign, error) { return nil, contract.ErrHandoff }

// TestAPlaceIsToldWhileAllUnderstandIt: an older node would apply the reign as no other does.
func TestAPlaceIsToldWhileAllUnderstandIt(t *testing.T) {
	run(t, begun, refused, func(g *Governor, u *us) {
		for i, c := range []struct {
			eu, own timeline.Level
			lossy   bool
			want    uint8
		}{
			{timeline.LevelNow, timeline.LevelNow, true, 2},
			{timeline.LevelNow, timeline.LevelNow, false, 0}, // nothing is lost, and nothing jumps
			{timeline.LevelFirst, timeline.LevelNow, true, 0},
			{timeline.LevelNow, timeline.LevelFirst, true, 0},
			{timeline.LevelNow + 1, timeline.LevelNow + 1, true, 2},
		} {
			u.mu.Lock()
			u.eu, u.own = c.eu, c.own
			u.mu.Unlock()
			for v, _ := g.config.Fleet.View(); v.Regions["eu"].Level != min(c.eu, timeline.LevelNow); {
				var changed <-chan struct{}
				g.config.Fleet.Refresh()
				v, changed = g.config.Fleet.View()
				select {
				case <-changed:
				case <-time.After(time.Second):
				}
			}
			r := timeline.Reign{Epoch: timeline.Epoch(i + 2), Primary: "us", Lossy: c.lossy}
			d := g.begin(context.Background(), succession.Effect{Reign: r})
			if d.Err != nil || d.Outcome != timeline.Applied {
				t.Fatalf("%+v", d)
			}
			if got := timeline.Latest(u.applied.State().Reigns); got.Epoch != r.Epoch || got.Place != c.want {
				t.Errorf("%+v: %+v", c, got)
			}
		}
	})
}

// TestWhatASwitchoverTellsIsWhatIsKnown: ErrHandoff only if the primary is what it was.
func TestWhatASwitchoverTellsIsWhatIsKnown(t *testing.T) {
	lost := errors.New("the answer was lost")
	for _, c := range []struct {
		why           string
		begin, refuse func(succession.Handover) (*timeline.Reign, error)
		op            timeline.Op // that fails
		err           error
		want          error
		writable      bool
	}{
		{why: "it went through", begin: begun, refuse: cannot},
		{why: "the target cannot, and refuses", begin: cannot, refuse: refused, want: contract.ErrHandoff,
			writable: true},
		{why: "the target cannot say, and had begun", begin: cannot, refuse: begun},
		{why: "the target does not know, and refuses", begin: vague, refuse: refused, want: contract.ErrHandoff,
			writable: true},
		{why: "the target does not get there", begin: behind, refuse: behind, want: contract.ErrUnknownOutcome},
		{why: "the target says nothing", begin: cannot, refuse: cannot, want: contract.ErrUnknownOutcome},
		{why: "the seal was not proposed", begin: begun, refuse: refused, op: timeline.OpSeal,
			err: contract.ErrNotLeader, want: contract.ErrHandoff, writable: true},
		{why: "nobody knows of the seal", begin: begun, refuse: refused, op: timeline.OpSeal,
			err: contract.ErrUnknownOutcome, want: contract.ErrUnknownOutcome, writable: true},
		{why: "nor by an error of no kind", begin: begun, refuse: refused, op: timeline.OpSeal, err: lost,
			want: contract.ErrUnknownOutcome, writable: true},
		{why: "the seal is not lifted", begin: cannot, refuse: refused, op: timeline.OpUnseal,
			err: contract.ErrUnknownOutcome, want: contract.ErrUnknownOutcome},
	} {
		t.Run(c.why, func(t *testing.T) {
			run(t, c.begin, c.refuse, func(g *Governor, u *us) {
				u.mu.Lock()
				u.fails[c.op] = c.err
				u.mu.Unlock()
				r, err := g.Switchover(context.Background(), "eu")
				if !errors.Is(err, c.want) || peer.Kind(err) != c.want {
					t.Errorf("told %v, want %v", err, c.want)
				}
				if c.want == nil && (r.Epoch != 2 || r.To != "eu") {
					t.Errorf("report %+v", r)
				}
				if u.Open() != c.writable {
					t.Errorf("takes writes: %t", u.Open())
				}
			})
		})
	}
}

func TestACallerThatGivesUpIsAnsweredSoon(t *testing.T) {
	run(t, cannot, cannot, func(g *Governor, u *us) {
		ctx, cancel := context.WithTimeout(context.Background(), 100*time.Millisecond)
		defer cancel()
		began := time.Now()
		_, err := g.Switchover(ctx, "eu")
		if !errors.Is(err, contract.ErrUnknownOutcome) || time.Since(began) > 5*time.Second {
			t.Errorf("told %v after %v", err, time.Since(began))
		}
	})
}

// TestATargetBeginsAsSoonAsItIsThere: writes pause until it does, so it does not wait for the next look.
func TestATargetBeginsAsSoonAsItIsThere(t *testing.T) {
	run(t, cannot, cannot, func(g *Governor, u *us) {
		_, _ = u.Control(context.Background(), &timeline.Control{Op: timeline.OpYield, Claim: &timeline.Reign{Epoch: 2,
			Primary: "eu"}})
		if _, err := u.Begin(context.Background(), timeline.Reign{Epoch: 2, Primary: "eu"}); err != nil {
			t.Fatal(err)
		}
		begins := u.applied.State().Cursor
		last := timeline.Frame{Epoch: 2, First: begins.Position + 1, Previous: begins.Chain,
			Commands: []timeline.Command{{Data: []byte("last")}}}
		h := succession.Handover{From: "eu", To: "us", Epoch: 2, Handoff: 1, End: timeline.Cursor{Epoch: 2,
			Position: last.Last(), Chain: timeline.NewFolder().Frame(&last)}}
		time.Sleep(5 * time.Second) // it follows
		began := time.Now()
		time.AfterFunc(10*time.Millisecond, func() {
			u.mu.Lock()
			defer u.mu.Unlock()
			_, _, _ = u.machine.Frame(&last)
			u.publish()
		})
		r := g.order(context.Background(), func(call uint64) succession.Input {
			return succession.BeginAsked{Call: call, Handover: h}
		})
		if r.Err != nil || r.Reign.Epoch != 3 || time.Since(began) > 50*time.Millisecond {
			t.Errorf("told %+v after %v", r, time.Since(began))
		}
	})
}

// TestATargetThatIsGoneIsNotLoggedAtEachQuestion: it is asked ten times a second, for as long as it takes.
func TestATargetThatIsGoneIsNotLoggedAtEachQuestion(t *testing.T) {
	gone := func(succession.Handover) (*timeline.Reign, error) {
		return nil, fmt.Errorf("%w: an election", contract.ErrNotReady)
	}
	run(t, gone, gone, func(g *Governor, u *us) {
		if _, err := g.Switchover(context.Background(), "eu"); !errors.Is(err, contract.ErrUnknownOutcome) {
			t.Errorf("told %v", err)
		}
		time.Sleep(time.Minute)
		for _, words := range []string{"to begin", "to refuse", "an election"} {
			if n := len(u.logged(words)); n == 0 || n > 2 {
				t.Errorf("%d lines with %q: %q", n, words, u.logged(words))
			}
		}
	})
}

// TestAnAbortIsLoggedWhenItIsDone: not when it is begun, which may fail.
func TestAnAbortIsLoggedWhenItIsDone(t *testing.T) {
	run(t, cannot, refused, func(g *Governor, u *us) {
		u.mu.Lock()
		u.fails[timeline.OpUnseal] = contract.ErrUnknownOutcome
		u.mu.Unlock()
		if _, err := g.Switchover(context.Background(), "eu"); !errors.Is(err, contract.ErrUnknownOutcome) {
			t.Errorf("told %v", err)
		}
		if l := u.logged("takes writes again"); len(l) != 0 {
			t.Errorf("sealed, and logs %q", l)
		}
		u.mu.Lock()
		u.fails[timeline.OpUnseal] = nil
		u.mu.Unlock()
		time.Sleep(5 * time.Second)
		if l := u.logged("takes writes again"); len(l) != 1 || !u.Open() {
			t.Errorf("open %t, and logs %q", u.Open(), l)
		}
	})
}

// TestAFailoverAsksEveryRegion: one that answers at once does not hide one that has not answered yet, and of one that
// does not answer it says so.
func TestAFailoverAsksEveryRegion(t *testing.T) {
	virtual.Test(t, func(t *testing.T) {
		var slow, dead atomic.Bool
		var position atomic.Uint64
		position.Store(10)
		reigns := []timeline.Reign{{Epoch: 1, First: 1, Primary: "us"}}
		l := life.New(clock.Real, slog.New(slog.DiscardHandler))
		state := timeline.State{Region: "eu", Reigns: reigns, Cursor: timeline.Cursor{Epoch: 1, Position: 8}}
		watcher := fleet.NewWatcher(fleet.Config{
			Regions: map[string][]string{"us": {"us-1"}, "ap": {"ap-1"}}, Clock: clock.Real,
			Interval: time.Second, Timeout: time.Second,
			Ask: func(_ context.Context, addr string) (fleet.Report, error) {
				r := fleet.Report{Region: addr[:2], Node: addr, Leader: true, Claim: reigns[0], Reigns: reigns,
					Cursor: timeline.Cursor{Epoch: 1, Position: 8}, Role: timeline.Secondary}
				if addr == "us-1" {
					if slow.Load() {
						time.Sleep(500 * time.Millisecond)
					}
					if dead.Load() {
						return r, errors.New("gone")
					}
					r.Cursor.Position = timeline.Position(position.Load())
					r.Role, r.Writable = timeline.Primary, true
				}
				return r, nil
			}})
		g := New(Config{Region: "eu", Regions: these("ap", "eu", "us"), CallTimeout: time.Second, Clock: clock.Real,
			Changing: unchanged, Life: l,
			Applied: region.NewApplied(&region.View{State: state}, l), Fleet: watcher, Follower: nobody{}})
		l.Go(watcher.Run)
		time.Sleep(1500 * time.Millisecond)
		position.Store(15)
		slow.Store(true)
		r := g.assess(g.freshView(context.Background()))
		if !r.BehindKnown || r.Behind != 7 || len(r.Warnings) != 1 ||
			!strings.Contains(r.Warnings[0], "region us still answers") ||
			!strings.HasSuffix(r.Warnings[0], "a switchover would lose nothing") {
			t.Errorf("alive: %+v", r)
		}
		dead.Store(true)
		time.Sleep(30 * time.Second)
		r = g.assess(g.freshView(context.Background()))
		if r.BehindKnown || r.LastHeard == nil || r.LastHeard.Position != 15 || r.LastHeard.AgeSeconds < 29 ||
			!strings.Contains(r.Loss, "is unknown: no leader of us answers") || len(r.Warnings) != 0 {
			t.Errorf("dead: %+v", r)
		}
		l.Close()
		l.Wait()
	})
}

// TestOfAFencedPrimaryNothingIsPromised: that writes go on there, that a switchover loses nothing, or that a region of
// the same position lacks nothing.
func TestOfAFencedPrimaryNothingIsPromised(t *testing.T) {
	reigns := []timeline.Reign{{Epoch: 1, First: 1, Primary: "us"}}
	at := func(name string, p timeline.Position, chain byte) fleet.Heard {
		return fleet.Heard{Report: fleet.Report{Region: name, Node: name + "-1", Leader: true, Claim: reigns[0],
			Reigns: reigns, Cursor: timeline.Cursor{Epoch: 1, Position: p, Chain: timeline.Chain{chain}},
			Role: timeline.Secondary}}
	}
	const warned = "region us still answers, as primary, and takes no writes: what it has and %s has not becomes its " +
		"tail"
	for _, c := range []struct {
		to       string
		at       timeline.Position
		chain    byte
		unlike   []string
		other    fleet.Heard
		known    bool
		loss     string
		warnings int
	}{
		{"eu", 8, 1, []string{"ap"}, at("ap", 6, 2), true, "region eu lacks 0 commands of us", 2},
		{"ap", 8, 2, nil, at("eu", 6, 1), false, "how much region ap lacks of us is unknown: ap holds", 1},
		{"ap", 6, 2, []string{"ap"}, at("eu", 6, 2), false, "how much region ap lacks of us is unknown: ap holds", 1},
	} {
		us := at("us", 8, 1)
		us.Role, us.Writable, us.TakesWrites, us.Unlike = timeline.Primary, true, new(bool), c.unlike
		v := fleet.View{Regions: map[string]fleet.Region{}}
		for _, h := range []fleet.Heard{us, c.other} {
			v.Regions[h.Region] = fleet.Region{Name: h.Region, Nodes: []fleet.Heard{h}, Last: &h, Led: &h}
		}
		state := timeline.State{Region: c.to, Reigns: reigns, Cursor: at(c.to, c.at, c.chain).Cursor}
		l := life.New(clock.Real, slog.New(slog.DiscardHandler))
		watcher := fleet.NewWatcher(fleet.Config{Clock: clock.Real})
		r := New(Config{Region: c.to, Fleet: watcher, Regions: these("ap", "eu", "us"), Clock: clock.Real,
			Applied: region.NewApplied(&region.View{State: state}, l), Follower: nobody{}}).assess(sight{View: v})
		if r.BehindKnown != c.known || !strings.Contains(r.Loss, c.loss) || len(r.Warnings) != c.warnings ||
			r.Warnings[c.warnings-1] != fmt.Sprintf(warned, c.to) {
			t.Errorf("%s at %d: %+v", c.to, c.at, r)
		}
	}
}

// TestAnOrderThatWasCutOffIsNotSaidToBeUndone: it is given again, and who answers then does not know what became of
// it.
func TestAnOrderThatWasCutOffIsNotSaidToBeUndone(t *testing.T) {
	cut := fmt.Errorf("%w: connection broke", transport.ErrUnreachable)
	for _, c := range []struct {
		first, then, want error
	}{
		{contract.ErrNotReady, contract.ErrNotReady, contract.ErrNotReady},
		{contract.ErrNotLeader, contract.ErrNotReady, contract.ErrNotReady},
		{cut, contract.ErrNotReady, contract.ErrUnknownOutcome},
		{cut, contract.ErrNotLeader, contract.ErrUnknownOutcome},
		{cut, contract.ErrHandoff, contract.ErrHandoff},
		{cut, nil, nil},
	} {
		run(t, begun, refused, func(g *Governor, _ *us) {
			tries := 0
			_, err := g.untilFound(context.Background(), "eu", func() (*contract.MoveReport, error) {
				if tries++; tries == 1 {
					return nil, c.first
				}
				return nil, c.then
			})
			if peer.Kind(err) != c.want {
				t.Errorf("%v, then %v: told %v", c.first, c.then, err)
			}
		})
	}
}
