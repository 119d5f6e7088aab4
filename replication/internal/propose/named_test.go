package propose

import (
	"errors"
	"math"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/mimir-kv/mimir/replication/contract"
)

// asking notes in how many regions writes are to be; they are.
type asking struct {
	*member
	mu    sync.Mutex
	asked []int
}

func (a *asking) Await(
	k int, r *contract.Receipt, _ time.Time, _ func() bool, done func(*contract.Receipt, error),
) {
	a.mu.Lock()
	a.asked = append(a.asked, k)
	a.mu.Unlock()
	r.Regions = k
	done(r, nil)
}

// TestTheLeaderCountsTheRegions: which there are it knows first, and a node that forwards may know fewer.
func TestTheLeaderCountsTheRegions(t *testing.T) {
	for _, c := range []struct {
		asked         Options
		at, elsewhere int // regions that the leader and another node know
		want          int // 0: none is waited for
	}{
		{Options{Named: AllRegions}, 5, 2, 5}, {Options{Named: QuorumOfRegions}, 5, 2, 3},
		{Options{Named: QuorumOfRegions}, 2, 5, 2}, {Options{Named: AllRegions}, 1, 3, 0},
		{Options{Regions: 2}, 5, 2, 2}, {Options{Regions: MaxRegions}, MaxRegions, MaxRegions, MaxRegions},
	} {
		for _, forwards := range []bool{false, true} {
			fleetOf(t, plain, func(t *testing.T, a, b *member) {
				l, to := &asking{member: a}, a
				if forwards {
					to = b
				}
				a.pipeline.durability = l
				a.pipeline.regions = func() int { return c.at }
				a.config.Regions, b.config.Regions = a.pipeline.regions, func() int { return c.elsewhere }
				_, err := to.put(t.Context(), "x", c.asked)
				got := 0
				if n := len(l.asked); n > 0 {
					got = l.asked[n-1]
				}
				if err != nil || got != c.want {
					t.Errorf("%+v, forwarded: %t: %d, %v", c, forwards, got, err)
				}
			})
		}
	}
}

// TestANumberOfRegionsThatThereAreNotIsRefused, here and at the leader.
func TestANumberOfRegionsThatThereAreNotIsRefused(t *testing.T) {
	fleetOf(t, plain, func(t *testing.T, a, b *member) {
		for m, want := range map[*member]error{a: contract.ErrUnknownRegion, b: contract.ErrRejected} {
			b.config.Regions = func() int { return 9 }
			if _, err := m.put(t.Context(), "x", Options{Regions: 4}); !errors.Is(err, want) {
				t.Error(err)
			}
		}
	})
}

// TestTheWordsOfAnErrorAreToldOnce, by whoever hears it from the leader.
func TestTheWordsOfAnErrorAreToldOnce(t *testing.T) {
	for _, kind := range []error{contract.ErrUnderReplicated, contract.ErrLagging, contract.ErrRejected} {
		got, _ := across(t, result{receipt: &contract.Receipt{}, err: again(kind, "position 9")})
		if text := got.err.Error(); !errors.Is(got.err, kind) || strings.Count(text, kind.Error()) != 1 ||
			!strings.HasSuffix(text, ": position 9") {
			t.Errorf("%s", text)
		}
	}
}

// A number that does not travel as itself is refused, whoever is asked.
func TestANumberOfRegionsIsNoName(t *testing.T) {
	fleetOf(t, plain, func(t *testing.T, a, b *member) {
		for _, k := range []int{-1, quorumOfRegions, allRegions, allRegions + 1, allRegions + 2, math.MaxInt} {
			for _, m := range []*member{a, b} {
				r, err := m.put(t.Context(), "x", Options{Regions: k})
				if r != nil || !errors.Is(err, contract.ErrArgument) {
					t.Errorf("%d regions: %+v, %v", k, r, err)
				}
			}
		}
		if a.frames() != 0 {
			t.Errorf("%d frames", a.frames())
		}
	})
}
