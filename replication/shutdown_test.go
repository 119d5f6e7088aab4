package replication_test

import (
	"context"
	"errors"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/mimir-kv/mimir/replication"
	"github.com/mimir-kv/mimir/replication/clock"
	"github.com/mimir-kv/mimir/replication/clock/virtual"
	"github.com/mimir-kv/mimir/replication/durable"
	"github.com/mimir-kv/mimir/replication/transport/memory"
)

// counted is a network that counts how often it was closed.
type counted struct {
	replication.Transport
	closed atomic.Int32
}

func (c *counted) Close() error {
	c.closed.Add(1)
	return c.Transport.Close()
}

func TestAShutdownEndsAStartThatWaitsForTheNetwork(t *testing.T) {
	c := alone()
	c.Nodes["us-2"], c.Nodes["us-3"] = "us-2", "us-3"
	r, err := replication.NewRaftReplicator(c, &ledger{})
	if err != nil {
		t.Fatal(err)
	}
	s := stuck{asked: make(chan struct{}, 1)}
	r.SetTransport(s)
	started := make(chan error, 1)
	go func() { started <- r.Start(t.Context()) }()
	<-s.asked // Start waits for the network
	if err := r.Shutdown(); err != nil {
		t.Error(err)
	}
	if err := <-started; !errors.Is(err, replication.ErrClosed) {
		t.Errorf("the start that was ended: %v", err)
	}
}

// slowly is a filesystem on which everything waits until go is closed.
type slowly struct {
	durable.FS
	reached chan struct{}
	proceed chan struct{}
	inside  atomic.Int32
}

func (s *slowly) MkdirAll(dir string) error {
	s.inside.Add(1)
	defer s.inside.Add(-1)
	select {
	case s.reached <- struct{}{}:
	default:
	}
	<-s.proceed
	return s.FS.MkdirAll(dir)
}

// TestAShutdownReturnsWhenNothingUsesTheDiskAnyMore: afterwards storage and disk are the caller's, who may close them.
func TestAShutdownReturnsWhenNothingUsesTheDiskAnyMore(t *testing.T) {
	c := alone()
	disk := &slowly{FS: c.FS, reached: make(chan struct{}, 1), proceed: make(chan struct{})}
	c.FS = disk
	r, err := replication.NewRaftReplicator(c, &ledger{})
	if err != nil {
		t.Fatal(err)
	}
	network := &counted{Transport: memory.NewNetwork(clock.Real, 1).Node("us-1")}
	r.SetTransport(network)
	started := make(chan error, 1)
	go func() { started <- r.Start(t.Context()) }()
	<-disk.reached
	var ends sync.WaitGroup
	for range 2 {
		ends.Go(func() {
			if err := r.Shutdown(); err != nil {
				t.Error(err)
			}
			if disk.inside.Load() != 0 {
				t.Error("shut down, and the start still uses the disk")
			}
		})
	}
	for r.Health().State != replication.StateClosed {
		time.Sleep(time.Millisecond)
	}
	close(disk.proceed)
	ends.Wait()
	if err := <-started; !errors.Is(err, replication.ErrClosed) {
		t.Errorf("the start that was ended: %v", err)
	}
	if n := network.closed.Load(); n != 1 {
		t.Errorf("the transport was closed %d times", n)
	}
}

// TestEveryMethodBesideStartAndShutdown: whatever is called when, nothing races, and nothing is left running.
func TestEveryMethodBesideStartAndShutdown(t *testing.T) {
	for i := range 5 {
		virtual.Test(t, func(t *testing.T) {
			r, err := replication.NewMultiRegionReplicator(alone(), &ledger{})
			if err != nil {
				t.Fatal(err)
			}
			network := memory.NewNetwork(clock.Real, 1)
			var callers sync.WaitGroup
			ctx, cancel := context.WithTimeout(t.Context(), 3*time.Second)
			defer cancel()
			callers.Go(func() { r.SetTransport(network.Node("us-1")) })
			callers.Go(func() {
				for r.Start(ctx) != nil && r.Err() == nil {
					time.Sleep(time.Millisecond)
				}
			})
			for range 2 {
				callers.Go(func() {
					time.Sleep(time.Duration(i) * 400 * time.Millisecond)
					_ = r.Shutdown()
				})
			}
			callers.Go(func() {
				for r.Err() == nil {
					r.Health()
					r.IsLeader()
					r.LeaderAddr()
					r.LeaderID()
					r.IsPrimaryRegion()
					r.Fleet(ctx)
					_ = r.Apply(&replication.Command{Data: []byte("x")}, time.Millisecond)
					time.Sleep(5 * time.Millisecond)
				}
			})
			callers.Go(func() {
				for r.Err() == nil {
					short, done := context.WithTimeout(ctx, 50*time.Millisecond)
					calls(r, short)
					done()
					time.Sleep(5 * time.Millisecond)
				}
			})
			callers.Wait()
			if err := r.Shutdown(); err != nil {
				t.Error(err)
			}
		})
	}
}
