package fleet

import (
	"context"
	"testing"
	"time"

	"github.com/mimir-kv/mimir/replication/clock"
	"github.com/mimir-kv/mimir/replication/clock/virtual"
	"github.com/mimir-kv/mimir/replication/timeline"
)

// A node that stands still holds up nothing that the others say: the new leader of its region, who is primary, and the
// members that joined are known within moments, and the node itself is missed when the time is up.
func TestASilentNodeHoldsUpNoNews(t *testing.T) {
	members := []timeline.Member{{ID: 1, PeerAddr: "eu-1"}, {ID: 2, PeerAddr: "eu-2"}, {ID: 3, PeerAddr: "eu-3"}}
	says := func(id uint64, addr string, leads bool, term uint64, claim timeline.Reign) Report {
		return Report{Region: "eu", ID: id, PeerAddr: addr, Leader: leads, Term: term, Claim: claim, Members: members}
	}
	a := &answers{nodes: map[string]Report{}, asked: map[string]int{}}
	a.set("eu-1", says(1, "eu-1", true, 3, reign(1, "us")))
	a.set("eu-2", says(2, "eu-2", false, 3, reign(1, "us")))
	silent := false
	ask := func(ctx context.Context, addr string) (Report, error) {
		a.mu.Lock()
		hangs := silent && addr == "eu-1"
		a.mu.Unlock()
		if hangs {
			<-ctx.Done()
			return Report{}, ctx.Err()
		}
		return a.ask(ctx, addr)
	}
	virtual.Test(t, func(t *testing.T) {
		w := NewWatcher(Config{
			Regions: map[string][]string{"eu": {"eu-1", "eu-2"}}, Ask: ask, Clock: clock.Real,
			Interval: time.Second, Timeout: 10 * time.Second,
		})
		ctx, cancel := context.WithCancel(t.Context())
		ended := make(chan struct{})
		go func() { defer close(ended); w.Run(ctx) }()
		defer func() { cancel(); <-ended }()
		began := time.Now()
		for { // until the round is under way in which eu-1 is silent
			virtual.Wait()
			if v, _ := w.View(); v.Regions["eu"].Tries > 0 {
				break
			}
		}
		a.mu.Lock()
		silent = true
		a.mu.Unlock()
		within := func(what string, limit time.Duration, known func(r Region, v View) bool) {
			t.Helper()
			for since := time.Now(); ; time.Sleep(50 * time.Millisecond) {
				w.Refresh()
				virtual.Wait()
				v, _ := w.View()
				if known(v.Regions["eu"], v) {
					return
				}
				if time.Since(since) > limit {
					t.Fatalf("%s: not known after %s: %+v", what, limit, v.Regions["eu"])
				}
			}
		}
		time.Sleep(time.Second)
		a.set("eu-2", says(2, "eu-2", true, 4, reign(1, "us")))
		within("who leads", 100*time.Millisecond, func(r Region, _ View) bool {
			return r.Leader() != nil && r.Leader().Asked == "eu-2"
		})
		a.set("eu-2", says(2, "eu-2", true, 4, reign(2, "eu")))
		within("who is primary", 100*time.Millisecond, func(_ Region, v View) bool {
			return v.Claim(timeline.Reign{}) == reign(2, "eu")
		})
		a.set("eu-3", says(3, "eu-3", true, 5, reign(2, "eu")))
		within("who joined and leads", 6*time.Second, func(r Region, _ View) bool {
			return r.Leader() != nil && r.Leader().Asked == "eu-3"
		})
		v, _ := w.View()
		if r := v.Regions["eu"]; !r.has(1) {
			t.Errorf("eu-1 is missed after %s of the 10 s that it has", time.Since(began))
		}
		within("who is gone", 25*time.Second, func(r Region, _ View) bool { return !r.has(1) && r.has(2) && r.has(3) })
	})
}
