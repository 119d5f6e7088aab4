package replication_test

import (
	"context"
	"sync/atomic"
	"testing"
	"time"

	"github.com/mimir-kv/mimir/replication"
)

// Where the loop of a leader stands still, as it does while it reads the log from a disk that hangs, whoever asks for
// the health of the node, or for its leader, does not wait for it.
func TestHealthDoesNotWaitForALoopThatStandsStill(t *testing.T) {
	type hang struct{ inside, until chan struct{} } // made in the bubble
	var hung atomic.Pointer[hang]
	var leader atomic.Pointer[string]
	shape := func(c *replication.Config) {
		c.Differs = func(uint64) bool { // the loop asks it
			if h := hung.Load(); h != nil && *leader.Load() == c.NodeID {
				select {
				case h.inside <- struct{}{}:
				default:
				}
				<-h.until
			}
			return false
		}
	}
	shaped(t, map[string]int{"us": 3}, shape, func(f *testFleet) {
		f.put("us-1", "c0")
		name := f.nodes["us-1"].Health().LeaderID
		h, n := &hang{make(chan struct{}, 1), make(chan struct{})}, f.nodes[name]
		leader.Store(&name)
		hung.Store(h)
		<-h.inside
		done := make(chan *replication.HealthStatus, 1)
		go func() {
			ctx, cancel := context.WithTimeout(f.t.Context(), time.Second)
			defer cancel()
			_ = n.WaitForLeader(ctx)
			_, _ = n.Members(ctx)
			_, _ = n.LeaderID(), n.LeaderAddr()
			done <- n.Health()
		}()
		select {
		case h := <-done:
			if h.State != replication.StateReady || h.NodeID != name {
				f.t.Errorf("%+v", h)
			}
		case <-time.After(time.Minute):
			f.t.Error("Health waits")
		}
		hung.Store(nil)
		close(h.until)
		f.put("us-1", "c1")
	})
}
