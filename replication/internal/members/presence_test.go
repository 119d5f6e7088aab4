package members

import (
	"context"
	"maps"
	"testing"

	"github.com/mimir-kv/mimir/replication/clock"
	"github.com/mimir-kv/mimir/replication/internal/peer"
	"github.com/mimir-kv/mimir/replication/internal/region"
	"github.com/mimir-kv/mimir/replication/timeline"
	"github.com/mimir-kv/mimir/replication/transport"
	"github.com/mimir-kv/mimir/replication/transport/memory"
)

// lives notes who said how the region was formed.
type lives map[uint64]string

func (l lives) Waits() bool                  { return false }
func (l lives) Born() map[uint64]string      { return map[uint64]string{1: "a", 2: "b"} }
func (l lives) Alike(map[uint64]string) bool { return true }
func (l lives) Answered(member uint64, formed map[string]map[uint64]string) {
	for _, disks := range formed {
		l[member] = disks[member]
	}
}

// TestAMemberSpeaksForItselfAlone: who answers at its address, and is another one, does not say of which life of the
// region the member is, nor of which the one is in whose name it answers, which is somewhere else.
func TestAMemberSpeaksForItselfAlone(t *testing.T) {
	for name, answers := range map[string]uint64{"itself": 2, "another one": 3} {
		network := memory.NewNetwork(clock.Real, 1)
		there := network.Node("us-2")
		questions := peer.NewRegistry(func() error { return nil }, nil)
		peer.Handle(questions, askPresent, peer.NamedRegion, func(context.Context, Presence) (Presented, error) {
			return Presented{Self: timeline.Member{ID: answers}, Formed: map[uint64]string{answers: "d"}}, nil
		})
		if err := there.Serve(map[string]transport.Handler{peer.Service: questions.Serve}); err != nil {
			t.Fatal(err)
		}
		r := testRegistrar(&group{}, &controls{})
		r.config.Client = peer.NewClient(network.Node("us-1"))
		heard := lives{}
		r.config.Life = heard
		r.config.Directory.Tell(timeline.Member{ID: 2, PeerAddr: "us-2", Starts: 1})
		r.presentTo(t.Context(), 2, r.presence(0))
		want := lives{2: "d"}
		if answers != 2 {
			want = lives{}
		}
		if !maps.Equal(heard, want) {
			t.Errorf("%s answers: noted %v, want %v", name, heard, want)
		}
		there.Close()
	}
}

// places notes who said how the region was formed at which address.
type places map[string]map[uint64]string

func (p places) Waits() bool                         { return false }
func (p places) Born() map[uint64]string             { return map[uint64]string{1: "a", 2: "b"} }
func (p places) Alike(formed map[uint64]string) bool { return formed[2] != "d" }
func (p places) Answered(_ uint64, formed map[string]map[uint64]string) {
	maps.Copy(p, formed)
}

// TestAMemberIsAskedWhereverItMayBe: where it was is one of another life of its region, and what is said of it is what
// both say.
func TestAMemberIsAskedWhereverItMayBe(t *testing.T) {
	network := memory.NewNetwork(clock.Real, 1)
	for addr, disk := range map[string]string{"us-2": "d", "elsewhere": "b"} {
		there := network.Node(addr)
		questions := peer.NewRegistry(func() error { return nil }, nil)
		peer.Handle(questions, askPresent, peer.NamedRegion, func(context.Context, Presence) (Presented, error) {
			return Presented{Self: timeline.Member{ID: 2}, Formed: map[uint64]string{2: disk}}, nil
		})
		if err := there.Serve(map[string]transport.Handler{peer.Service: questions.Serve}); err != nil {
			t.Fatal(err)
		}
		defer there.Close()
	}
	r := testRegistrar(&group{}, &controls{})
	r.config.Client = peer.NewClient(network.Node("us-1"))
	heard := places{}
	r.config.Life = heard
	r.config.Directory = NewDirectory("us", 1, nil, region.NewApplied(&region.View{State: timeline.State{Region: "us",
		Members: []timeline.Member{{ID: 2, Name: "us-2", PeerAddr: "us-2", Starts: 3}}}}, never{}), nil)
	r.config.Directory.Tell(timeline.Member{ID: 2, PeerAddr: "elsewhere", Starts: 4})
	r.presentTo(t.Context(), 2, r.presence(0))
	if len(heard) != 2 || heard["us-2"][2] != "d" || heard["elsewhere"][2] != "b" {
		t.Errorf("noted %v", heard)
	}
}
