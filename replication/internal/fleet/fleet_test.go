package fleet

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/mimir-kv/mimir/replication/clock"
	"github.com/mimir-kv/mimir/replication/clock/virtual"
	"github.com/mimir-kv/mimir/replication/timeline"
)

// answers is a network of nodes that answer as they are told, and count how often they were asked.
type answers struct {
	mu    sync.Mutex
	nodes map[string]Report
	asked map[string]int
	still time.Duration // nobody comes to anything meanwhile, whatever a question may take
}

func (a *answers) ask(_ context.Context, addr string) (Report, error) {
	a.mu.Lock()
	still := a.still
	a.mu.Unlock()
	time.Sleep(still)
	a.mu.Lock()
	defer a.mu.Unlock()
	a.asked[addr]++
	r, ok := a.nodes[addr]
	if !ok {
		return Report{}, errors.New("unreachable")
	}
	return r, nil
}

func (a *answers) set(addr string, r Report) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.nodes[addr] = r
}

func (a *answers) forget(addr string) {
	a.mu.Lock()
	defer a.mu.Unlock()
	delete(a.nodes, addr)
}

func (a *answers) stand(still time.Duration) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.still = still
}

func reign(epoch timeline.Epoch, primary string) timeline.Reign {
	return timeline.Reign{Epoch: epoch, First: 1, Primary: primary}
}

func watch(t *testing.T, a *answers, body func(w *Watcher)) {
	virtual.Test(t, func(t *testing.T) {
		w := NewWatcher(Config{
			Regions: map[string][]string{"eu": {"eu-1", "eu-2"}, "ap": {"ap-1"}}, Ask: a.ask, Clock: clock.Real,
			Interval: time.Second, Timeout: time.Second,
		})
		ctx, cancel := context.WithCancel(t.Context())
		var running sync.WaitGroup
		running.Go(func() { w.Run(ctx) })
		body(w)
		cancel()
		running.Wait()
	})
}

func TestViewIsWhatNodesSaid(t *testing.T) {
	a := &answers{nodes: map[string]Report{}, asked: map[string]int{}}
	a.set("eu-1", Report{Region: "eu", Node: "eu-1", Claim: reign(1, "us"), Cursor: timeline.Cursor{Position: 7}})
	a.set("eu-2", Report{
		Region: "eu", Node: "eu-2", Leader: true, Term: 3, Claim: reign(2, "eu"), Cursor: timeline.Cursor{Position: 5},
	})
	if v, _ := NewWatcher(Config{Regions: map[string][]string{"eu": {"eu-1"}}}).View(); v.Settled() {
		t.Error("settled before anybody was asked")
	}
	watch(t, a, func(w *Watcher) {
		virtual.Wait()
		v, changed := w.View()
		if !v.Settled() {
			t.Error("a region that does not answer keeps the picture from settling")
		}
		if l := v.Regions["eu"].Leader(); l == nil || l.Node != "eu-2" || l.Asked != "eu-2" {
			t.Errorf("leader %+v", l)
		}
		if f := v.Regions["eu"].Furthest(); f == nil || f.Node != "eu-2" {
			t.Errorf("furthest %+v: the higher claim counts before the position", f)
		}
		if c := v.Claim(reign(1, "us")); c != reign(2, "eu") {
			t.Errorf("highest claim %+v", c)
		}
		if v.Regions["ap"].Err == nil || v.Regions["ap"].Leader() != nil {
			t.Errorf("a region that nobody heard: %+v", v.Regions["ap"])
		}
		a.set("ap-1", Report{Region: "ap", Node: "ap-1", Claim: reign(3, "ap")})
		<-changed
		virtual.Wait()
		if v, _ := w.View(); v.Claim(timeline.Reign{}) != reign(3, "ap") || v.Regions["ap"].Err != nil {
			t.Errorf("after the next round: %+v", v.Regions["ap"])
		}
	})
}

// A node that replays its log says less than its region holds, so that for a while its leader is waited for.
func TestARegionSpeaksThroughItsLeaderIfItHasOne(t *testing.T) {
	a := &answers{nodes: map[string]Report{}, asked: map[string]int{}}
	a.set("eu-1", Report{Region: "eu", Node: "eu-1", Cursor: timeline.Cursor{Position: 1}})
	watch(t, a, func(w *Watcher) {
		virtual.Wait()
		v, changed := w.View()
		if v.Settled() {
			t.Error("settled by a node that does not lead")
		}
		a.set("eu-2", Report{Region: "eu", Node: "eu-2", Leader: true, Cursor: timeline.Cursor{Position: 9}})
		w.Refresh()
		<-changed
		virtual.Wait()
		if v, _ = w.View(); !v.Settled() || v.Regions["eu"].Record.Cursor.Position != 9 {
			t.Errorf("after its leader spoke: %+v", v.Regions["eu"])
		}
		for _, addr := range []string{"eu-1", "eu-2"} {
			a.set(addr, Report{Region: "eu", Node: addr, Cursor: timeline.Cursor{Position: 2}})
		}
		time.Sleep(3 * time.Second)
		virtual.Wait()
		if v, _ = w.View(); !v.Settled() || v.Regions["eu"].Record.Cursor.Position != 9 {
			t.Errorf("without a leader for long: %+v", v.Regions["eu"])
		}
	})
}

func TestMembersThatJoinedLaterAreAskedToo(t *testing.T) {
	a := &answers{nodes: map[string]Report{}, asked: map[string]int{}}
	members := []timeline.Member{
		{ID: 1, PeerAddr: "eu-1-as-it-names-itself"}, {ID: 2, PeerAddr: "eu-2"}, {ID: 3, PeerAddr: "eu-3"},
	}
	a.set("eu-1", Report{Region: "eu", Node: "eu-1", ID: 1, Members: members})
	a.set("eu-3", Report{Region: "eu", Node: "eu-3", ID: 3, Leader: true, Members: members})
	watch(t, a, func(w *Watcher) {
		virtual.Wait()
		v, _ := w.View()
		if l := v.Regions["eu"].Leader(); l == nil || l.Asked != "eu-3" {
			t.Errorf("leader %+v", l)
		}
		if n := a.asked["eu-1-as-it-names-itself"]; n != 0 {
			t.Errorf("a node that answered at its configured address was asked %d times at another", n)
		}
	})
}

// TestTheLowestLevelIsRemembered also of a region that is gone: it may come back as it was.
func TestTheLowestLevelIsRemembered(t *testing.T) {
	a := &answers{nodes: map[string]Report{}, asked: map[string]int{}}
	level := func(w *Watcher) timeline.Level {
		_, changed := w.View()
		w.Refresh()
		<-changed
		virtual.Wait()
		v, _ := w.View()
		return v.Regions["eu"].Level
	}
	watch(t, a, func(w *Watcher) {
		virtual.Wait()
		if got := level(w); got != timeline.LevelNow {
			t.Errorf("of nobody: %d", got)
		}
		a.set("eu-1", Report{Region: "eu", Node: "eu-1", Level: timeline.LevelNow})
		a.set("eu-2", Report{Region: "eu", Node: "eu-2"})
		if got := level(w); got != timeline.LevelFirst {
			t.Errorf("of one that is older: %d", got)
		}
		a.mu.Lock()
		clear(a.nodes)
		a.mu.Unlock()
		if got := level(w); got != timeline.LevelFirst {
			t.Errorf("of a region that is gone: %d", got)
		}
		a.set("eu-2", Report{Region: "eu", Node: "eu-2", Level: timeline.LevelNow})
		if got := level(w); got != timeline.LevelNow {
			t.Errorf("of one that was upgraded: %d", got)
		}
	})
}

func TestANodeOfAnotherRegionIsNotBelieved(t *testing.T) {
	a := &answers{nodes: map[string]Report{}, asked: map[string]int{}}
	a.set("eu-1", Report{Region: "elsewhere", Leader: true, Claim: reign(9, "elsewhere")})
	watch(t, a, func(w *Watcher) {
		virtual.Wait()
		if v, _ := w.View(); v.Claim(timeline.Reign{}).Epoch != 0 || v.Regions["eu"].Leader() != nil {
			t.Errorf("%+v", v.Regions["eu"])
		}
	})
}

// Where a node of another region answers nobody looks for this one, until one of it does.
func TestAnAddressOfAnotherRegionIsNoneOfThisOne(t *testing.T) {
	a := &answers{nodes: map[string]Report{}, asked: map[string]int{}}
	a.set("eu-1", Report{Region: "elsewhere", ID: 9, PeerAddr: "elsewhere-1"})
	watch(t, a, func(w *Watcher) {
		virtual.Wait()
		if got := w.Addresses("eu"); !slices.Equal(got, []string{"eu-2"}) {
			t.Errorf("another region answers at eu-1: %q", got)
		}
		a.forget("eu-1")
		time.Sleep(3 * time.Second)
		if got := w.Addresses("eu"); !slices.Equal(got, []string{"eu-2"}) {
			t.Errorf("nobody answers there any more: %q", got)
		}
		a.set("eu-1", Report{Region: "eu", ID: 1, PeerAddr: "eu-1"})
		time.Sleep(3 * time.Second)
		if got := w.Addresses("eu"); !slices.Equal(got, []string{"eu-1", "eu-2"}) {
			t.Errorf("eu-1 is of eu again: %q", got)
		}
	})
}

func TestRefreshAsksSoonAndNotTooOften(t *testing.T) {
	a := &answers{nodes: map[string]Report{}, asked: map[string]int{}}
	watch(t, a, func(w *Watcher) {
		began := time.Now()
		for time.Since(began) < 500*time.Millisecond {
			w.Refresh()
			time.Sleep(time.Millisecond)
		}
		a.mu.Lock()
		defer a.mu.Unlock()
		if n := a.asked["eu-1"]; n < 15 || n > 30 {
			t.Errorf("asked %d times in half a second", n)
		}
	})
}

// Where nodes of another region are is learned from them, beside what is configured; a node that answers where it is
// configured is not asked elsewhere; and who left the region is forgotten.
func TestPlacesAreLearned(t *testing.T) {
	p := newPlaces([]string{"link-1", "old-2"})
	said := func(id uint64, addr string, starts uint64) timeline.Member {
		return timeline.Member{ID: id, PeerAddr: addr, Starts: starts}
	}
	expect := func(why string, want ...string) {
		t.Helper()
		if got := p.addresses(); !slices.Equal(got, want) {
			t.Errorf("%s: %q, want %q", why, got, want)
		}
	}
	one := Heard{Asked: "link-1", Report: Report{ID: 1, PeerAddr: "direct-1", Leader: true, Starts: 3,
		Members: []timeline.Member{said(1, "direct-1", 3), said(2, "old-2", 1), said(3, "new-3", 1)}}}
	p.hear(&Region{Nodes: []Heard{one}})
	expect("one behind a link, one where it is configured, one that joined", "new-3")
	p.learn(said(2, "new-2", 2))
	p.learn(said(2, "old-2", 1))
	p.learn(said(9, "nowhere", 1))
	expect("one that moved, and one that nobody knows", "new-2", "new-3", "nowhere")
	one.Members = one.Members[:2]
	p.hear(&Region{Nodes: []Heard{one}})
	expect("who left is forgotten", "new-2")
	p.learn(said(1, "moved-1", 4))
	expect("one that moved out from behind its link", "moved-1", "new-2")
	for id := range uint64(2 * maxPlaces) {
		p.learn(said(100+id, fmt.Sprint(id), 1))
	}
	if len(p.words) > maxPlaces {
		t.Errorf("%d are kept", len(p.words))
	}
}
