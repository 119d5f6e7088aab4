package secondary

import (
	"context"
	"encoding/binary"
	"errors"
	"log/slog"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/mimir-kv/mimir/replication/clock"
	"github.com/mimir-kv/mimir/replication/clock/virtual"
	"github.com/mimir-kv/mimir/replication/contract"
	"github.com/mimir-kv/mimir/replication/internal/fleet"
	"github.com/mimir-kv/mimir/replication/internal/life"
	"github.com/mimir-kv/mimir/replication/internal/peer"
	"github.com/mimir-kv/mimir/replication/internal/region"
	"github.com/mimir-kv/mimir/replication/internal/stream"
	"github.com/mimir-kv/mimir/replication/internal/succession"
	"github.com/mimir-kv/mimir/replication/timeline"
	"github.com/mimir-kv/mimir/replication/transport"
	"github.com/mimir-kv/mimir/replication/transport/memory"
)

// branch is a history that parts from another one, and the log that a node has of it.
type branch struct {
	timeline.Origin
	parts timeline.Position // its chains behind it are its own
	own   byte              // marks them
	log   timeline.Position // it tells no chains before it
}

func (b *branch) chain(p timeline.Position) (c timeline.Chain) {
	binary.LittleEndian.PutUint64(c[:], uint64(p))
	if p > b.parts {
		c[8] = b.own
	}
	return c
}

// Chain implements Chains.
func (b *branch) Chain(_ timeline.Reign, p timeline.Position) (timeline.Chain, error) {
	if p < b.log {
		return timeline.Chain{}, errors.New("compacted")
	}
	return b.chain(p), nil
}

// ends has the branch end at p, in the last of these reigns.
func (b *branch) ends(p timeline.Position, reigns ...timeline.Reign) *branch {
	b.Origin = timeline.Origin{
		Cursor: timeline.Cursor{Epoch: timeline.Latest(reigns).Epoch, Position: p, Chain: b.chain(p)}, Reigns: reigns,
	}
	return b
}

// node serves a follower with a history at an address of the network, and returns it and how to end that.
func (b *branch) node(t *testing.T, network *memory.Network, addr, name string, w *fleet.Watcher) (*Follower, func()) {
	t.Helper()
	port, l := network.Node(addr), life.New(clock.Real, slog.New(slog.DiscardHandler))
	f := New(Config{
		Region: name, Clock: clock.Real, Logger: slog.New(slog.DiscardHandler), Life: l, Chains: b,
		Applied: region.NewApplied(&region.View{State: timeline.State{Region: name, Cursor: b.Cursor,
			Reigns: b.Reigns}}, l), Client: peer.NewClient(port), Fleet: w,
	})
	r := peer.NewRegistry(func() error { return nil }, nil)
	f.Register(r)
	if err := port.Serve(map[string]transport.Handler{peer.Service: r.Serve}); err != nil {
		t.Fatal(err)
	}
	return f, func() { _ = port.Close() }
}

// between runs f with a follower that is in the history here, on a network with a node of the history there.
func between(t *testing.T, name string, here, there *branch, f func(*testing.T, *Follower)) {
	virtual.Test(t, func(t *testing.T) {
		network, watcher := memory.NewNetwork(clock.Real, 1), fleet.NewWatcher(fleet.Config{})
		_, end := there.node(t, network, "eu-1", "eu", watcher)
		defer end()
		follower, end := here.node(t, network, "us-1", name, watcher)
		defer end()
		f(t, follower)
	})
}

// TestAForkIsWhereChainsPart, and not where positions suggest it; before it where no log tells.
func TestAForkIsWhereChainsPart(t *testing.T) {
	first := timeline.Reign{Epoch: 1, First: 11, Primary: "us"}
	for _, c := range []struct {
		name             string
		ends, began      timeline.Position // of the history here, of the reign there
		parts            timeline.Position
		ourLog, theirLog timeline.Position
		away             bool
		want             timeline.Position
	}{
		{name: "where the reign begins", ends: 120, began: 100, parts: 200, want: 100},
		{name: "before that", ends: 120, began: 100, parts: 57, want: 57},
		{name: "the history here is shorter", ends: 90, began: 100, parts: 57, want: 57},
		{name: "from the first command on", ends: 120, began: 100, parts: 10, want: 10},
		{name: "behind the beginning of a log", ends: 120, began: 100, parts: 57, ourLog: 50, theirLog: 55, want: 57},
		{name: "before the beginning of a log", ends: 120, began: 100, parts: 57, theirLog: 60, want: 10},
		{name: "the log here begins behind the end there", ends: 120, began: 100, parts: 200, ourLog: 110, want: 10},
		{name: "nobody answers", ends: 120, began: 100, parts: 57, away: true, want: 10},
		{name: "nobody has to answer", ends: 120, began: 100, parts: 200, away: true, want: 100},
	} {
		t.Run(c.name, func(t *testing.T) {
			here := (&branch{parts: c.parts, own: 1, log: c.ourLog}).ends(c.ends, first)
			there := &branch{parts: c.parts, own: 2, log: c.theirLog}
			second := timeline.Reign{Epoch: 2, First: c.began + 1, Primary: "eu", Previous: there.chain(c.began)}
			there.ends(c.began+5, first, second)
			addr := "eu-1"
			if c.away {
				addr = "eu-2"
			}
			between(t, "us", here, there, func(t *testing.T, f *Follower) {
				silent := c.away && c.want != c.began
				if got, told := f.fork(t.Context(), there.Origin, addr); got != c.want || told == silent {
					t.Errorf("fork at %d, told %t; want %d", got, told, c.want)
				}
			})
		})
	}
}

// TestANodeThatIsSilentAboutAForkIsAskedLast, and what it does not say is not waited for without end.
func TestANodeThatIsSilentAboutAForkIsAskedLast(t *testing.T) {
	first := timeline.Reign{Epoch: 1, First: 11, Primary: "us"}
	here := (&branch{parts: 57, own: 1}).ends(120, first)
	there := &branch{parts: 57, own: 2}
	second := timeline.Reign{Epoch: 2, First: 101, Primary: "eu", Previous: there.chain(100)}
	there.ends(105, first, second)
	told := func(address string) *stream.ForkError {
		return &stream.ForkError{Address: address, SourceCursor: there.Cursor, Source: there.Reigns}
	}
	source := []string{"eu-2", "eu-1", "eu-3"} // of these only eu-1 answers
	between(t, "us", here, there, func(t *testing.T, f *Follower) {
		s := &session{silent: map[string]int{}}
		if fork, err := f.forked(t.Context(), s, told("eu-2")); !errors.Is(err, contract.ErrNotReady) {
			t.Errorf("by the silence of one node: %+v, %v", fork, err)
		}
		if got := s.talkative(source); !slices.Equal(got, []string{"eu-1", "eu-3", "eu-2"}) {
			t.Errorf("then nodes are tried in the order %v", got)
		}
		if fork, err := f.forked(t.Context(), s, told("eu-1")); err != nil || fork.Position != 57 {
			t.Errorf("by another one: %+v, %v", fork, err)
		}
		for i := range mostSilent {
			if fork, err := f.forked(t.Context(), s, told("eu-2")); !errors.Is(err, contract.ErrNotReady) {
				t.Errorf("silent %d times: %+v, %v", i+1, fork, err)
			}
		}
		if fork, err := f.forked(t.Context(), s, told("eu-2")); err != nil || fork.Position != 10 {
			t.Errorf("where nobody says it: %+v, %v; all of the reign is a tail", fork, err)
		}
	})
}

// TestACopyTellsWhatItHasNot: what is behind this region is taken for a part of the copy, unless it is known not to be
// or this region itself wrote it.
func TestACopyTellsWhatItHasNot(t *testing.T) {
	first := timeline.Reign{Epoch: 1, First: 1, Primary: "us"}
	at := func(p timeline.Position) *timeline.Position { return &p }
	for _, c := range []struct {
		name, region string
		parts, log   timeline.Position
		want         *timeline.Position
	}{
		{"it is a part", "ap", 200, 0, nil},
		{"nobody knows, and it only followed", "ap", 20, 95, nil},
		{"it is none", "ap", 20, 0, at(20)},
		{"it wrote it, and it is a part", "us", 200, 0, nil},
		{"it wrote it, and nobody knows", "us", 20, 95, at(0)},
		{"it wrote it, and it is none", "us", 20, 0, at(20)},
	} {
		t.Run(c.name, func(t *testing.T) {
			here := (&branch{parts: c.parts, own: 1}).ends(90, first)
			there := &branch{parts: c.parts, own: 2, log: c.log}
			second := timeline.Reign{Epoch: 2, First: 101, Primary: "eu", Previous: there.chain(100)}
			there.ends(105, first, second)
			between(t, c.region, here, there, func(t *testing.T, f *Follower) {
				copied := succession.Copy{Origin: there.Origin}
				f.parts(t.Context(), &copied, "eu-1")
				if (copied.Parts == nil) != (c.want == nil) || c.want != nil && *copied.Parts != *c.want {
					t.Errorf("parts at %v, want %v", copied.Parts, c.want)
				}
				near := whole(t.Context(), f, giving{"eu", "eu-1"}, succession.Copy{Origin: there.Origin})
				if (near == nil) != (c.want == nil) { // where a part is missing the primary says so, and nobody else
					t.Errorf("of a nearer region: %v", near)
				}
			})
		})
	}
}

// TestWhoeverHasTheHistoryOfACopyIsAsked: who gave it has no log of what is before it, or is silent, and another node
// has the history, whichever that is. By a silence nothing is taken for a part.
func TestWhoeverHasTheHistoryOfACopyIsAsked(t *testing.T) {
	first := timeline.Reign{Epoch: 1, First: 1, Primary: "us"}
	at := func(p timeline.Position) *timeline.Position { return &p }
	for _, c := range []struct {
		name   string
		parts  timeline.Position
		has    string        // the node of the other region that has the history of the copy; the other one has another
		same   bool          // the copy is of one reign, to its end
		silent string        // who does not answer, of those who did in the last round
		back   time.Duration // when he does again
		want   *timeline.Position
	}{
		{name: "it is none", parts: 20, has: "eu-1", want: at(20)},
		{name: "it is none, says a node that does not lead", parts: 20, has: "eu-2", want: at(20)},
		{name: "it is a part", parts: 200, has: "eu-1"},
		{name: "nobody has it", parts: 20},
		{name: "it is none, in one reign", parts: 20, has: "eu-2", same: true, want: at(20)},
		{name: "it is a part, in one reign", parts: 200, has: "eu-1", same: true},
		{name: "in one reign all others have another one", parts: 20, same: true},
		{name: "who gave it is silent, and another knows", parts: 20, has: "eu-1", silent: "us-1", want: at(20)},
		{name: "who gave it is silent, and nobody knows", parts: 200, silent: "us-1", want: at(0)},
		{name: "who may have it is silent", parts: 200, silent: "eu-1", want: at(0)},
		{name: "who may have it is silent for a moment", parts: 200, has: "eu-1", silent: "eu-1",
			back: chainTimeout + 1},
	} {
		t.Run(c.name, func(t *testing.T) {
			virtual.Test(t, func(t *testing.T) {
				here := (&branch{parts: c.parts, own: 1}).ends(90, first)
				there := &branch{parts: c.parts, own: 2}
				second := timeline.Reign{Epoch: 2, First: 101, Primary: "eu", Previous: there.chain(100)}
				if there.ends(105, first, second); c.same {
					there.ends(105, first)
				}
				gave := &branch{Origin: there.Origin, parts: c.parts, own: 2, log: 95}
				nodes := map[string]*branch{"us-1": gave}
				for _, addr := range []string{"eu-1", "eu-2"} {
					if nodes[addr] = there; addr != c.has {
						nodes[addr] = (&branch{parts: 15, own: 3}).ends(110, first)
					}
				}
				asked(t, here, nodes, c.silent, func(f *Follower, answers func()) {
					if c.back > 0 {
						defer time.AfterFunc(c.back, answers).Stop()
					}
					copied := succession.Copy{Origin: there.Origin}
					f.parts(t.Context(), &copied, "us-1")
					if (copied.Parts == nil) != (c.want == nil) || c.want != nil && *copied.Parts != *c.want {
						t.Errorf("parts at %v, want %v", copied.Parts, c.want)
					}
				})
			})
		})
	}
}

// asked runs body with a follower of ap with the history here, which has heard these nodes of eu and us, all but the
// silent one of which answer, and that one, too, when answers is called.
func asked(
	t *testing.T, here *branch, nodes map[string]*branch, silent string, body func(f *Follower, answers func()),
) {
	network, regions := memory.NewNetwork(clock.Real, 1), map[string][]string{}
	for addr := range nodes {
		regions[addr[:2]] = append(regions[addr[:2]], addr)
	}
	watcher := fleet.NewWatcher(fleet.Config{
		Regions: regions, Clock: clock.Real,
		Ask: func(_ context.Context, addr string) (fleet.Report, error) {
			return fleet.Report{Region: addr[:2], Leader: addr[3:] == "1", ID: uint64(addr[3])}, nil
		},
	})
	var closing []func()
	serve := func(addr string) {
		_, closes := nodes[addr].node(t, network, addr, addr[:2], watcher)
		closing = append(closing, closes)
	}
	for addr := range nodes {
		if addr != silent {
			serve(addr)
		}
	}
	defer func() {
		for _, closes := range closing {
			closes()
		}
	}()
	f, closes := here.node(t, network, "ap-1", "ap", watcher)
	defer closes()
	ctx, end := context.WithCancel(t.Context())
	var rounds sync.WaitGroup
	rounds.Go(func() { watcher.Run(ctx) })
	defer rounds.Wait()
	defer end()
	for v, changed := watcher.View(); !v.Settled(); v, changed = watcher.View() {
		select {
		case <-changed:
		case <-time.After(time.Minute):
			t.Fatal("the other regions were not heard within a minute")
		}
	}
	body(f, func() { serve(silent) })
}
