package secondary

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"sync"
	"testing"

	"github.com/mimir-kv/mimir/replication/clock"
	"github.com/mimir-kv/mimir/replication/contract"
	"github.com/mimir-kv/mimir/replication/internal/checkpoint"
	"github.com/mimir-kv/mimir/replication/internal/fleet"
	"github.com/mimir-kv/mimir/replication/internal/life"
	"github.com/mimir-kv/mimir/replication/internal/peer"
	"github.com/mimir-kv/mimir/replication/internal/region"
	"github.com/mimir-kv/mimir/replication/internal/succession"
	"github.com/mimir-kv/mimir/replication/timeline"
)

// three is a region of three voters, of which this node is the first.
type three struct{}

func (three) Propose(context.Context, uint64, [][]byte) (uint64, error) {
	return 0, contract.ErrNotLeader
}
func (three) Voters() []uint64 { return []uint64{1, 2, 3} }

func (three) Addr(id uint64) (string, bool) { return map[uint64]string{2: "us-2", 3: "us-3"}[id], true }

// shelf has a copy of the region that each address names, and fails at those that are down.
type shelf struct {
	regions map[string]string
	down    []string
	hung    []string
	unable  []string // to go back to a fork
	level   timeline.Level
	term    uint64
	at      timeline.Position // of the copies
	reigns  []timeline.Reign  // likewise
	came    []string          // whose copies came, and were not refused
	spoiled bool              // what was fetched was damaged, and is gone
	differs []string          // who says that the giver of a copy holds something else
	asked   []string          // whether it does
	gone    []string          // copies that were removed
	unsound error             // why the copy here is not what came
	apart   string            // comes to another state at the fork
	held    *succession.Copy  // that the region has
	wanted  []Wanted

	mu   sync.Mutex
	told []string // that a copy is taken
}

var (
	errDown         = errors.New("down")
	errUnable error = &peer.RemoteError{}
)

// of returns the copy that a node gives.
func (s *shelf) of(addr string, e timeline.Epoch) succession.Copy {
	origin := timeline.Origin{Cursor: timeline.Cursor{Epoch: e, Position: s.at}, Reigns: s.reigns}
	return succession.Copy{ID: "copy of " + addr, Origin: origin}
}

// fitting is the question whether a copy is of any use.
type fitting = func(region string, c *succession.Copy) error

func (s *shelf) Fetch(
	_ context.Context, addr string, minEpoch timeline.Epoch, term uint64, fits fitting,
	progress func(checkpoint.Progress),
) (succession.Copy, error) {
	if slices.Contains(s.down, addr) {
		return succession.Copy{}, errDown
	}
	s.term = term
	c := s.of(addr, minEpoch)
	if err := fits(s.regions[addr], &c); err != nil {
		return succession.Copy{}, err
	}
	progress(checkpoint.Progress{DoneBytes: 1, TotalBytes: 2})
	s.came = append(s.came, addr)
	return c, nil
}

func (s *shelf) Held(
	_ context.Context, w Wanted, _ func(string, checkpoint.Progress),
) (*succession.Copy, error) {
	s.wanted = append(s.wanted, w)
	if s.held == nil || w.Had[s.held.ID] || w.Fits(s.held.Origin) != nil {
		return nil, nil
	}
	return s.held, nil
}

func (s *shelf) Sound(context.Context, string) error { return s.unsound }

func (s *shelf) Holds(id string) bool { return !s.spoiled && !slices.Contains(s.gone, id) }
func (s *shelf) Discard(id string)    { s.gone = append(s.gone, id) }

func (s *shelf) Differs(_ context.Context, addr, _ string) (bool, error) {
	s.asked = append(s.asked, addr)
	if slices.Contains(s.down, addr) {
		return false, errDown
	}
	return slices.Contains(s.differs, addr), nil
}

func (s *shelf) Offer(ctx context.Context, addr, _ string, _ uint64) error {
	if slices.Contains(s.hung, addr) {
		<-ctx.Done()
		return ctx.Err()
	}
	if slices.Contains(s.down, addr) {
		return errDown
	}
	return nil
}

func (s *shelf) Rewind(ctx context.Context, addr string, _ uint64, r []timeline.Reign) (succession.Copy, error) {
	if err := s.Offer(ctx, addr, "", 0); err != nil {
		return succession.Copy{}, err
	}
	if slices.Contains(s.unable, addr) {
		return succession.Copy{}, errUnable
	}
	at := timeline.Cursor{Epoch: timeline.Latest(r).Epoch, Position: s.at}
	if addr == s.apart {
		at.Chain[0] = 1
	}
	return succession.Copy{ID: "own", Origin: timeline.Origin{Cursor: at, Reigns: r}}, nil
}

func (s *shelf) Copying(_ context.Context, addr string, p timeline.Position) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.told = append(s.told, fmt.Sprintf("%s %d", addr, p))
	return nil
}

func (s *shelf) Making(context.Context, string) (done, total int64, err error) { return 0, 0, errDown }

func testFollower(s *shelf) *Follower { return followerIn(s, timeline.State{Region: "us"}) }

func followerIn(s *shelf, state timeline.State) *Follower {
	l := life.New(clock.Real, slog.New(slog.DiscardHandler))
	leadership := &region.Leadership{}
	leadership.Set(7)
	return New(Config{
		Region: "us", Self: 1, Clock: clock.Real, Logger: slog.New(slog.DiscardHandler), Life: l,
		Applied: region.NewApplied(&region.View{State: state}, l), Leadership: leadership,
		Fleet: fleet.NewWatcher(fleet.Config{Regions: map[string][]string{"eu": {"eu-1", "eu-2", "eu-3"}}}),
		Group: three{}, Copies: s, Directory: three{},
		Level: func(context.Context) timeline.Level { return s.level },
	})
}

func TestACopyIsOfTheRegionThatWasAsked(t *testing.T) {
	s := &shelf{regions: map[string]string{"eu-2": "ap", "eu-3": "eu"}, down: []string{"eu-1"}}
	f := testFollower(s)
	e := succession.Effect{Do: succession.Fetch, ID: 9, Term: 7, Source: "eu", Epoch: 4}
	got := f.Run(t.Context(), e)
	if got.ID != 9 || got.Err != nil || got.Copy == nil {
		t.Fatalf("ended %+v", got)
	}
	if got.Copy.ID != "copy of eu-3" || got.Copy.Origin.Cursor.Epoch != 4 || s.term != 7 {
		t.Fatalf("ended %+v, term %d", got, s.term)
	}
	s.down = append(s.down, "eu-3")
	got = f.Run(t.Context(), e)
	if got.Copy != nil || !errors.Is(got.Err, contract.ErrMessage) || !errors.Is(got.Err, errDown) {
		t.Fatalf("ended %+v", got)
	}
}

func TestACopyIsOfferedOnlyWhenAMajorityHasIt(t *testing.T) {
	for _, c := range []struct {
		down []string
		want error
	}{{nil, nil}, {[]string{"us-2"}, nil}, {[]string{"us-2", "us-3"}, errDown}} {
		e := succession.Effect{Do: succession.Stage, Term: 7, Source: "eu", Copy: "x"}
		got := testFollower(&shelf{down: c.down}).Run(t.Context(), e)
		if !errors.Is(got.Err, c.want) {
			t.Errorf("down %v: %v, want %v", c.down, got.Err, c.want)
		}
	}
}

// The copy of the leader itself counts as those of others do: only if it is what came.
func TestADamagedCopyOfTheLeaderDoesNotCount(t *testing.T) {
	e := succession.Effect{Do: succession.Stage, Term: 7, Source: "eu", Copy: "x"}
	for _, down := range [][]string{nil, {"us-2"}} {
		got := testFollower(&shelf{down: down, unsound: checkpoint.ErrCorrupt}).Run(t.Context(), e)
		if want := len(down) > 0; errors.Is(got.Err, checkpoint.ErrCorrupt) != want {
			t.Errorf("down %v: %v", down, got.Err)
		}
	}
}

// A copy that is gone when it could not be brought to a majority, since it was damaged, is told to be: another one has
// to be fetched. One that is there is offered again.
func TestACopyThatIsGoneIsToldToBe(t *testing.T) {
	e := succession.Effect{Do: succession.Stage, Term: 7, Source: "eu", Copy: "x"}
	for _, spoiled := range []bool{true, false} {
		s := &shelf{down: []string{"us-2", "us-3"}, spoiled: spoiled}
		if got := testFollower(s).Run(t.Context(), e); got.Err == nil || got.Gone != spoiled {
			t.Errorf("gone: %t; ended %+v", spoiled, got)
		}
	}
	if got := testFollower(&shelf{spoiled: true}).Run(t.Context(), e); got.Err != nil || got.Gone {
		t.Errorf("staged: ended %+v", got)
	}
}

func TestWhatIsFollowedIsOfTheTermThatIsLed(t *testing.T) {
	f := testFollower(&shelf{down: []string{"eu-1", "eu-2", "eu-3"}})
	f.Run(t.Context(), succession.Effect{Do: succession.Fetch, Term: 7, Source: "eu"})
	if s := f.Following(); s == nil || s.Source != "eu" || s.LagSeconds >= 0 {
		t.Fatalf("follows %+v", s)
	}
	f.config.Leadership.Set(8)
	if s := f.Following(); s != nil {
		t.Fatalf("follows %+v in a term of another follower", s)
	}
	f.config.Leadership.Set(7)
	ended, cancel := context.WithCancel(t.Context())
	cancel()
	f.Run(ended, succession.Effect{Do: succession.Fetch, Term: 7, Source: "eu"})
	if s := f.Following(); s != nil {
		t.Fatalf("follows %+v after it was stopped", s)
	}
}
