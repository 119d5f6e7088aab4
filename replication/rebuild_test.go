package replication_test

import (
	"errors"
	"testing"
	"time"

	"github.com/mimir-kv/mimir/replication"
	"github.com/mimir-kv/mimir/replication/durable"
	"github.com/mimir-kv/mimir/replication/durable/pebblefs"
)

// TestAShutdownWaitsForARebuild: from then on the storage and the data directory are the caller's, and nobody else's
// before.
func TestAShutdownWaitsForARebuild(t *testing.T) {
	inBubble(t, map[string]int{"us": 3}, func(f *testFleet) {
		f.put("us-1", "c0")
		f.eventually(values(0, 1))
		name := f.followersOf("us")[0]
		n := f.nodes[name]
		reached, goes := make(chan struct{}), make(chan struct{})
		waits := func() {
			close(reached)
			<-goes
		}
		n.ledger.replace.Store(&waits)
		rebuilt, ended := make(chan error, 1), make(chan error, 1)
		go func() {
			_, err := n.Rebuild(f.t.Context())
			rebuilt <- err
		}()
		<-reached
		go func() { ended <- n.Shutdown() }()
		<-n.Stopped()
		time.Sleep(time.Minute)
		if len(ended) > 0 {
			t.Error("it is shut down, and its storage is given another content")
		}
		fs, lock := pebblefs.New(n.disk), "/data/LOCK"
		if _, err := fs.Lock(lock); !errors.Is(err, durable.ErrLocked) {
			t.Errorf("the directory is in use, and the lock of it: %v", err)
		}
		close(goes)
		if err := <-ended; err != nil {
			t.Error(err)
		}
		if err := <-rebuilt; err != nil && !errors.Is(err, replication.ErrClosed) {
			t.Errorf("rebuilt: %v", err)
		}
		if held, err := fs.Lock(lock); err != nil || held.Close() != nil {
			t.Errorf("the lock outlives its node: %v", err)
		}
		f.start(name)
		f.put(name, "c1")
		f.eventually(values(0, 2))
	})
}

// TestAnErrorOfTheStorageEndsTheNode, also where nobody waits for what it was asked: here for a checkpoint to go back
// to.
func TestAnErrorOfTheStorageEndsTheNode(t *testing.T) {
	inBubble(t, map[string]int{"us": 3, "eu": 1}, func(f *testFleet) {
		f.stopAll() // they had no files
		f.files = true
		for _, n := range f.nodes {
			n.disk = freshDisk()
		}
		f.startAll()
		leader := f.leaderOf("us")
		n, broken := f.nodes[f.followersOf("us")[0]], errors.New("input/output error")
		n.ledger.broken.Store(&broken)
		f.put(leader, "c0")
		f.until("the node ends", func() bool { return n.Err() != nil })
		if err := n.Err(); !errors.Is(err, replication.ErrStopped) || !errors.Is(err, broken) {
			t.Errorf("it ended with %v", err)
		}
		f.until("its directory is free, and nobody has shut it down", func() bool {
			held, err := pebblefs.New(n.disk).Lock("/data/LOCK")
			return err == nil && held.Close() == nil
		})
	})
}
