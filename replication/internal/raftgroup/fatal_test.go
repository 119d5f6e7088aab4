package raftgroup

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/cockroachdb/pebble/v2/vfs"
	"github.com/cockroachdb/pebble/v2/vfs/errorfs"

	"github.com/mimir-kv/mimir/replication/clock/virtual"
	"github.com/mimir-kv/mimir/replication/internal/raftgroup/peers"
	"github.com/mimir-kv/mimir/replication/internal/raftgroup/snapshots"
	"github.com/mimir-kv/mimir/replication/internal/wal"
	"github.com/mimir-kv/mimir/replication/transport"
)

// A machine that fails stops its node, says why, and leaves the others alone.
func TestMachineFailureStopsTheNode(t *testing.T) {
	virtual.Test(t, func(t *testing.T) {
		c := newCluster(t, 3).startAll()
		defer c.close()
		broken := errors.New("engine on fire")
		m := c.members[c.leader().id]
		m.machine.mu.Lock()
		m.machine.fail = broken
		m.machine.mu.Unlock()
		if _, err := m.group.Propose(t.Context(), m.group.Status().Term, [][]byte{[]byte("x")}); err != nil {
			t.Fatal(err)
		}
		if err := <-m.fatal; !errors.Is(err, broken) || !errors.Is(err, ErrMachine) {
			t.Errorf("stopped because of %v", err)
		}
		if _, err := m.group.ReadIndex(t.Context()); !errors.Is(err, ErrStopped) || !errors.Is(err, broken) {
			t.Errorf("read of a failed node: %v", err)
		}
		c.end(m)
		c.write("y")
	})
}

// A log that cannot be written stops the node before anything that was to be in it is acknowledged.
func TestLogFailureStopsTheNode(t *testing.T) {
	virtual.Test(t, func(t *testing.T) {
		c := newCluster(t, 1)
		defer c.close()
		var full atomic.Bool
		c.wrap = func(fs vfs.FS) vfs.FS {
			return errorfs.Wrap(fs, errorfs.InjectorFunc(func(op errorfs.Op) error {
				if full.Load() && op.Kind.ReadOrWrite() == errorfs.OpIsWrite && strings.HasPrefix(op.Path, "log") {
					return errors.New("no space left")
				}
				return nil
			}))
		}
		m := c.start(1)
		c.write("x")
		before := m.group.Applied()
		full.Store(true)
		// The commit index of what was written before may be on its way to the log still, and stop the group first.
		_, err := m.group.Propose(t.Context(), m.group.Status().Term, [][]byte{[]byte("y")})
		if err != nil && !errors.Is(err, ErrStopped) {
			t.Fatal(err)
		}
		if err := <-m.fatal; !errors.Is(err, wal.ErrFailed) {
			t.Errorf("stopped because of %v", err)
		}
		if m.group.Applied() != before {
			t.Errorf("applied %d, was %d", m.group.Applied(), before)
		}
		c.end(m)
	})
}

// Members of another group, or of none, are turned away.
func TestStrangersAreRefused(t *testing.T) {
	virtual.Test(t, func(t *testing.T) {
		c := newCluster(t, 1).startAll()
		defer c.close()
		stranger := c.net.Node("stranger")
		defer stranger.Close()
		for _, service := range []string{peers.Service, snapshots.Service, snapshots.ServiceElder} {
			for _, first := range [][]byte{
				peers.Hello{Group: "other", From: 2, To: 1}.Encode(),
				peers.Hello{Group: "test", From: 2, To: 3}.Encode(),
				[]byte("GET / HTTP/1.1"),
				{},
			} {
				s, err := stranger.Open(t.Context(), "n1", service)
				if err == nil {
					err = s.Send(first)
				}
				if err == nil {
					_, err = s.Recv()
				}
				if !errors.Is(err, transport.ErrRemote) {
					t.Errorf("%s after %q: %v", service, first, err)
				}
			}
		}
	})
}

// OnLeader comes after everything that the log held before the term, and OnFollower after it when leadership goes.
func TestLeadershipIsToldInOrder(t *testing.T) {
	virtual.Test(t, func(t *testing.T) {
		c := newCluster(t, 3)
		var mu sync.Mutex
		events := map[uint64][]string{}
		note := func(id uint64, event string) {
			mu.Lock()
			defer mu.Unlock()
			events[id] = append(events[id], event)
		}
		c.tune = func(config *Config) {
			id, m, inner := config.ID, config.Machine.(*machine), config.OnLeader
			config.OnLeader = func(term uint64) {
				if m.lastTerm() != term {
					t.Errorf("member %d leads term %d and has applied term %d", id, term, m.lastTerm())
				}
				note(id, fmt.Sprint("leads ", term))
				inner(term)
			}
			config.OnFollower = func(term, leader uint64) {
				if leader == id {
					t.Errorf("member %d steps down for itself", id)
				}
				note(id, "steps down")
			}
		}
		c.startAll()
		for range 4 {
			l := c.leader()
			c.write("x")
			ctx, cancel := context.WithCancel(t.Context())
			if err := l.group.TransferLeader(ctx, l.id%3+1); err != nil {
				t.Error(err)
			}
			cancel()
		}
		c.leader()
		c.close()
		total := 0
		for id, told := range events {
			for i, event := range told {
				if leads := strings.HasPrefix(event, "leads"); leads {
					total++
					if i+1 < len(told) && told[i+1] != "steps down" {
						t.Errorf("member %d was told %v", id, told)
					}
				}
			}
		}
		if total != 5 {
			t.Errorf("told %v", events)
		}
	})
}
