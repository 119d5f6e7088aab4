package fleet

import (
	"context"
	"errors"
	"sync"
	"testing"
	"time"

	"github.com/mimir-kv/mimir/replication/clock"
	"github.com/mimir-kv/mimir/replication/clock/virtual"
	"github.com/mimir-kv/mimir/replication/timeline"
)

func (a *answers) count(addr string) int {
	a.mu.Lock()
	defer a.mu.Unlock()
	return a.asked[addr]
}

// Regions come and go while they are asked. One that was expected is part of the picture with what was heard of it, so
// that nobody has to wait for it; what was known of one that went is forgotten.
func TestRegionsAreAskedAsTheyComeAndGo(t *testing.T) {
	a := &answers{nodes: map[string]Report{}, asked: map[string]int{}}
	lead := func(region string, p timeline.Position) Report {
		return Report{Region: region, Node: region + "-1", ID: 1, Leader: true, Term: 1,
			Cursor: timeline.Cursor{Position: p}, Claim: reign(1, "us")}
	}
	a.set("eu-1", lead("eu", 7))
	a.set("ap-1", lead("ap", 7))
	a.set("sa-1", lead("sa", 9))
	watch(t, a, func(w *Watcher) {
		time.Sleep(1500 * time.Millisecond)
		virtual.Wait()
		w.Expect("sa", []string{"sa-1"})
		time.Sleep(1500 * time.Millisecond)
		v, changed := w.View()
		if _, shown := v.Regions["sa"]; shown || !v.Settled() {
			t.Errorf("who is expected is part of %+v", v.Regions)
		}
		if r, known := w.Expected("sa"); !known || r.Leader() == nil || len(w.Addresses("sa")) == 0 {
			t.Errorf("of who is expected is known %+v, %v", r, known)
		}
		w.Set(map[string][]string{"eu": {"eu-1", "eu-2"}, "sa": {"sa-1"}})
		select {
		case <-changed:
		default:
			t.Error("nobody was told")
		}
		v, _ = w.View()
		_, shown := v.Regions["ap"]
		if shown || len(v.Regions) != 2 || !v.Settled() || v.Regions["sa"].Leader() == nil {
			t.Errorf("then %+v", v.Regions)
		}
		w.Dismiss("sa") // which is not expected any more
		gone := a.count("ap-1")
		time.Sleep(3 * time.Second)
		virtual.Wait()
		if again := a.count("ap-1"); again > gone+1 { // a round may have been under way
			t.Errorf("a region that is gone was asked %d times more", again-gone)
		}
		a.set("ap-1", lead("ap", 2)) // another one, which has less
		w.Set(map[string][]string{"eu": {"eu-1"}, "sa": {"sa-1"}, "ap": {"ap-1"}})
		if v, _ := w.View(); v.Settled() || v.Regions["ap"].Record != nil {
			t.Errorf("who came unexpected is known already: %+v", v.Regions["ap"])
		}
		time.Sleep(1500 * time.Millisecond)
		virtual.Wait()
		if v, _ := w.View(); !v.Settled() || v.Regions["ap"].Record.Cursor.Position != 2 {
			t.Errorf("who came back is taken for who was there: %+v", v.Regions["ap"])
		}
		// Of one that was removed nothing counts but its claim, which is waited for.
		a.set("ap-1", Report{Region: "ap", Node: "ap-1", ID: 1, Claim: reign(7, "ap")})
		w.SetWith(map[string][]string{"eu": {"eu-1"}, "sa": {"sa-1"}}, map[string][]string{"ap": {"ap-1"}})
		if v, _ := w.View(); !v.Settled() || len(v.Regions) != 2 || v.Former["ap"].Tries == 0 {
			t.Errorf("who was asked is waited for again since it was removed: %+v", v)
		}
		time.Sleep(1500 * time.Millisecond)
		virtual.Wait()
		if v, _ := w.View(); !v.Settled() || v.Claim(reign(1, "us")) != reign(7, "ap") || len(v.Regions) != 2 ||
			v.Without("eu").Claim(reign(1, "us")) != reign(7, "ap") {
			t.Errorf("of who was removed: %+v", v)
		}
		w.Expect("ap", []string{"ap-1"}) // and is not taken
		w.Dismiss("ap")
		a.set("ap-1", Report{Region: "ap", Node: "ap-1", ID: 1, Claim: reign(8, "ap")})
		time.Sleep(1500 * time.Millisecond)
		virtual.Wait()
		if v, _ := w.View(); v.Claim(reign(1, "us")) != reign(8, "ap") {
			t.Errorf("of who was removed, and is not taken again: %+v", v)
		}
		w.Set(map[string][]string{"eu": {"eu-1"}, "sa": {"sa-1"}, "ap": {"ap-1"}})
		if v, _ := w.View(); v.Settled() || len(v.Former) != 0 || len(v.Regions) != 3 {
			t.Errorf("after it came again: %+v", v)
		}
		w.Expect("nz", []string{"nz-1"})
		w.Dismiss("nz")
		if _, known := w.Expected("nz"); known || w.Addresses("nz") != nil {
			t.Error("who was dismissed is still expected")
		}
	})
}

// TestWhoDecidesBySilenceHasItAskedForAnew: in the first round and in those that are ordered so, and in no other.
func TestWhoDecidesBySilenceHasItAskedForAnew(t *testing.T) {
	type anew struct{}
	virtual.Test(t, func(t *testing.T) {
		asked := make(chan bool, 1)
		w := NewWatcher(Config{
			Regions: map[string][]string{"eu": {"eu-1"}}, Clock: clock.Real, Interval: time.Second,
			Timeout: time.Second,
			Anew:    func(ctx context.Context) context.Context { return context.WithValue(ctx, anew{}, true) },
			Ask: func(ctx context.Context, _ string) (Report, error) {
				asked <- ctx.Value(anew{}) != nil
				return Report{}, errors.New("unreachable")
			},
		})
		ctx, cancel := context.WithCancel(t.Context())
		var running sync.WaitGroup
		running.Go(func() { w.Run(ctx) })
		for i, round := range []struct {
			order func()
			want  bool
		}{{nil, true}, {nil, false}, {w.RefreshAnew, true}, {nil, false}, {w.Refresh, false}, {w.RefreshAnew, true}} {
			if round.order != nil {
				time.Sleep(2 * minGap) // the round before is over, and the next one not begun
				round.order()
			}
			if got := <-asked; got != round.want {
				t.Errorf("round %d is asked anew: %t", i, got)
			}
		}
		cancel()
		running.Wait()
	})
}

// TestARegionThatIsReachedIsReachedWhereverItIsConfigured: by the words of its nodes, also where those were reached
// at what was configured before.
func TestARegionThatIsReachedIsReachedWhereverItIsConfigured(t *testing.T) {
	a := &answers{nodes: map[string]Report{}, asked: map[string]int{}}
	a.set("eu-1", Report{Region: "eu", Node: "eu-1", ID: 1, PeerAddr: "eu-1", Leader: true, Term: 1})
	watch(t, a, func(w *Watcher) {
		time.Sleep(1500 * time.Millisecond)
		for _, addrs := range [][]string{{"eu-9"}, {"eu-1"}} {
			w.Set(map[string][]string{"eu": addrs})
			time.Sleep(3 * time.Second)
			if v, _ := w.View(); v.Regions["eu"].Leader() == nil {
				t.Errorf("where it is configured at %v nobody answers: %+v", addrs, v.Regions["eu"])
			}
		}
	})
}
