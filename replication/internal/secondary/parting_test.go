package secondary

import (
	"encoding/binary"
	"errors"
	"log/slog"
	"slices"
	"testing"

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

// between runs f with a follower that is in the history here, on a network with a node of the history there.
func between(t *testing.T, name string, here, there *branch, f func(*testing.T, *Follower)) {
	virtual.Test(t, func(t *testing.T) {
		network := memory.NewNetwork(clock.Real, 1)
		at := func(addr, name string, b *branch) (*Follower, transport.Transport) {
			node, l := network.Node(addr), life.New(clock.Real, slog.New(slog.DiscardHandler))
			s := timeline.State{Region: name, Cursor: b.Cursor, Reigns: b.Reigns}
			return New(Config{
				Region: name, Clock: clock.Real, Logger: slog.New(slog.DiscardHandler), Life: l, Chains: b,
				Applied: region.NewApplied(&region.View{State: s}, l), Client: peer.NewClient(node),
				Fleet: fleet.NewWatcher(fleet.Config{}),
			}), node
		}
		source, theirs := at("eu-1", "eu", there)
		r := peer.NewRegistry(func() error { return nil }, nil)
		source.Register(r)
		if err := theirs.Serve(map[string]transport.Handler{peer.Service: r.Serve}); err != nil {
			t.Fatal(err)
		}
		defer theirs.Close()
		follower, ours := at("us-1", name, here)
		defer ours.Close()
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
