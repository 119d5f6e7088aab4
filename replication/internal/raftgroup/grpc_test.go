package raftgroup

import (
	"bytes"
	"errors"
	"fmt"
	"net"
	"testing"
	"time"

	"github.com/cockroachdb/pebble/v2/vfs"
	"go.etcd.io/raft/v3/raftpb"

	"github.com/mimir-kv/mimir/replication/durable/pebblefs"
	"github.com/mimir-kv/mimir/replication/internal/wal"
	grpctransport "github.com/mimir-kv/mimir/replication/transport/grpc"
)

// Over the real transport, in real time: three members elect, write, and bring up a fourth by a checkpoint.
func TestOverGRPC(t *testing.T) {
	addrs := map[uint64]string{}
	listeners := map[uint64]net.Listener{}
	for id := uint64(1); id <= 4; id++ {
		l, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			t.Fatal(err)
		}
		listeners[id], addrs[id] = l, l.Addr().String()
	}
	peers := []Peer{{ID: 1}, {ID: 2}, {ID: 3}}
	leads := make(chan *Group, 1000)
	start := func(id uint64) *Group {
		fs := pebblefs.New(vfs.NewMem())
		log, err := wal.Open(wal.Options{FS: fs, Dir: "log", SegmentBytes: 1 << 20, Logger: quiet})
		if err != nil {
			t.Fatal(err)
		}
		var first *raftpb.ConfState
		if id <= 3 {
			first = firstMembers(peers)
		}
		m, err := openMachine(fs, "state", first, newHistory())
		if err != nil {
			t.Fatal(err)
		}
		tr, err := grpctransport.New(grpctransport.Options{
			Listener: listeners[id], FleetID: "test", NodeName: fmt.Sprint(id), Logger: quiet,
		})
		if err != nil {
			t.Fatal(err)
		}
		var g *Group
		g, err = New(Config{
			ID: id, Name: fmt.Sprint(id), GroupID: "test", Peers: peers, Join: id > 3,
			Log: log, Machine: m, FS: fs, StagingDir: "staging",
			Transport: tr, Directory: listed(addrs),
			TickInterval: 20 * time.Millisecond, ElectionTicks: 10, CompactBytes: 64 << 20, Logger: quiet,
			OnLeader: func(uint64) { leads <- g },
		})
		if err != nil {
			t.Fatal(err)
		}
		if err := tr.Serve(g.Services()); err != nil {
			t.Fatal(err)
		}
		g.Start()
		t.Cleanup(func() { g.Stop(); tr.Close(); log.Close() })
		return g
	}
	groups := []*Group{start(1), start(2), start(3), start(4)}
	last, err := filled(t, <-leads)
	for errors.Is(err, ErrNotLeader) { // on a machine that is slow enough another one leads at any time
		last, err = filled(t, <-leads)
	}
	if err != nil {
		t.Fatal(err)
	}
	deadline := time.Now().Add(2 * time.Minute) // under the race detector, beside others, it takes half of one
	for _, g := range groups {
		for g.Applied() <= last {
			if time.Now().After(deadline) {
				t.Fatalf("member %d is at %d, wants more than %d", g.config.ID, g.Applied(), last)
			}
			time.Sleep(time.Millisecond)
		}
		if index, err := g.ReadIndex(t.Context()); err != nil || index < last {
			t.Errorf("read at %d, %v", index, err)
		}
	}
}

// filled writes three times 1 MiB at a leader, makes the fourth a member, and returns the last entry written.
func filled(t *testing.T, l *Group) (last uint64, err error) {
	payload := bytes.Repeat([]byte("x"), 1<<20)
	for range 3 {
		if last, err = l.Propose(t.Context(), l.Status().Term, [][]byte{payload}); err != nil {
			return 0, err
		}
	}
	add := &raftpb.ConfChangeSingle{Type: raftpb.ConfChangeAddLearnerNode.Enum(), NodeId: new(uint64(4))}
	s := l.Status()
	return last, l.ChangeMembers(t.Context(), s.Basis(), &raftpb.ConfChangeV2{Changes: []*raftpb.ConfChangeSingle{add}})
}

// listed is a directory of addresses, without names.
type listed map[uint64]string

func (l listed) Addr(id uint64) (string, bool) { return l[id], true }
func (l listed) Name(uint64) string            { return "" }

func (listed) Failed(uint64, string) {}
func (listed) Removed(uint64) bool   { return false }
