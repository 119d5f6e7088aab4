package forming

import (
	"context"
	"log/slog"
	"maps"
	"testing"
	"time"

	"github.com/mimir-kv/mimir/replication/clock"
	"github.com/mimir-kv/mimir/replication/internal/members"
	"github.com/mimir-kv/mimir/replication/internal/peer"
	"github.com/mimir-kv/mimir/replication/internal/recall"
	"github.com/mimir-kv/mimir/replication/internal/region"
	"github.com/mimir-kv/mimir/replication/timeline"
	"github.com/mimir-kv/mimir/replication/transport"
	"github.com/mimir-kv/mimir/replication/transport/memory"
)

// TestWhoLeadsLearnsOfThoseWhoFollow how the region was formed: not of one that has lost what it acknowledged, nor of
// somebody else who is where a member was, nor where two say different things.
func TestWhoLeadsLearnsOfThoseWhoFollow(t *testing.T) {
	theirs, anew := map[uint64]string{8: "a"}, map[uint64]string{9: "x"}
	type follower struct {
		name, region string
		ends         uint64
		formed       map[uint64]string
	}
	for name, c := range map[string]struct {
		second, third follower
		want          map[uint64]string
	}{
		"both say it":         {follower{"us-2", "us", 7, theirs}, follower{"us-3", "us", 7, theirs}, theirs},
		"one does not know":   {follower{"us-2", "us", 7, nil}, follower{"us-3", "us", 7, theirs}, theirs},
		"one lost it":         {follower{"us-2", "us", 3, anew}, follower{"us-3", "us", 7, theirs}, theirs},
		"of another name":     {follower{"us-4", "us", 7, anew}, follower{"us-3", "us", 7, theirs}, theirs},
		"of another region":   {follower{"us-2", "eu", 7, anew}, follower{"us-3", "us", 7, theirs}, theirs},
		"of a version before": {follower{"us-2", "", 7, theirs}, follower{"us-3", "", 7, nil}, theirs},
		"two say two things":  {follower{"us-2", "us", 7, anew}, follower{"us-3", "us", 7, theirs}, nil},
	} {
		network := memory.NewNetwork(clock.Real, 1)
		at := map[uint64]string{}
		for place, o := range map[string]follower{"us-2": c.second, "us-3": c.third} {
			at[members.RaftID("us", place)] = place
			node := network.Node(place)
			questions := peer.NewRegistry(func() error { return nil }, nil)
			recall.Register(questions, o.region, o.name, recall.NewMemory(), func(uint64, uint64) (uint64, recall.Log) {
				return 0, recall.Log{Ends: o.ends}
			}, func(context.Context, recall.Question) recall.Part { return recall.Part{Formed: o.formed} })
			if err := node.Serve(map[string]transport.Handler{peer.Service: questions.Serve}); err != nil {
				t.Fatal(err)
			}
			defer node.Close()
		}
		self := members.RaftID("us", "us-1")
		asks := network.Node("us-1")
		defer asks.Close()
		f := New(Config{
			Region: "us", Self: timeline.Member{ID: self, Name: "us-1"}, Disk: recall.Disk{ID: "own"},
			Applied: region.NewApplied(&region.View{}, nil), Logger: slog.New(slog.DiscardHandler),
			Clock: clock.Real, Client: peer.NewClient(asks), Timeout: time.Minute,
		})
		born, ok := f.learn(t.Context(), &Group{
			Ended:  5,
			Leader: func() (id, term uint64) { return self, 2 },
			Members: func() []uint64 {
				return []uint64{self, members.RaftID("us", "us-2"), members.RaftID("us", "us-3")}
			},
			Match: func(uint64) uint64 { return 6 },
			Addr:  func(id uint64) (string, bool) { return at[id], true },
		})
		if ok != (c.want != nil) || !maps.Equal(born.Formed, c.want) {
			t.Errorf("%s: %+v, %t", name, born, ok)
		}
	}
}
