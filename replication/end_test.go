package replication

import (
	"context"
	"errors"
	"io"
	"log/slog"
	"runtime"
	"testing"

	"github.com/cockroachdb/pebble/v2/vfs"

	"github.com/mimir-kv/mimir/replication/clock"
	"github.com/mimir-kv/mimir/replication/durable/pebblefs"
	"github.com/mimir-kv/mimir/replication/internal/copies"
	"github.com/mimir-kv/mimir/replication/internal/enginetest"
	"github.com/mimir-kv/mimir/replication/transport/memory"
)

// endless is an engine whose states have no end.
type endless struct {
	*enginetest.Engine
	begun chan struct{}
}

func (e endless) Snapshot() (Snapshot, error) {
	s, err := e.Engine.Snapshot()
	return endlessly{s, e.begun}, err
}

type endlessly struct {
	Snapshot
	begun chan struct{}
}

func (e endlessly) WriteTo(w io.Writer) (n int64, err error) {
	close(e.begun)
	for err == nil {
		_, err = w.Write(nil)
		runtime.Gosched()
	}
	return 0, err
}

// TestAShutdownWaitsForNoWholeState: what is being written of it for others ends.
func TestAShutdownWaitsForNoWholeState(t *testing.T) {
	e := endless{enginetest.Volatile(), make(chan struct{})}
	n, err := newNode(&Config{
		NodeID: "us-1", RegionID: "us", DataDir: "/data", FS: pebblefs.New(vfs.NewMem()), PeerAddr: "us-1",
		Nodes: map[string]string{"us-1": "us-1"}, Logger: slog.New(slog.DiscardHandler),
	}, e, ModeRaft)
	if err != nil {
		t.Fatal(err)
	}
	n.setTransport(memory.NewNetwork(clock.Real, 1).Node("us-1"))
	if err := n.start(t.Context()); err != nil {
		t.Fatal(err)
	}
	written := make(chan error, 1)
	n.life.Go(func(context.Context) {
		held, err := n.applier.Hold("/data/copies/x")
		if err == nil {
			err = held.Write()
		} else {
			close(e.begun)
		}
		written <- err
	})
	<-e.begun
	if err := n.shutdown(); err != nil {
		t.Error(err)
	}
	if err := <-written; !errors.Is(err, copies.ErrReplaced) {
		t.Errorf("written: %v", err)
	}
}
