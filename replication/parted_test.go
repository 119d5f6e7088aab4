package replication_test

import (
	"context"
	"strings"
	"testing"
	"time"

	"github.com/mimir-kv/mimir/replication"
)

// TestAPrimaryThatWentBackAndWentOnIsFenced: nobody remembers the node's disk, and it has written more since than it
// lost. What the other region holds is not in its history all the same: it takes no more writes and confirms no reads.
func TestAPrimaryThatWentBackAndWentOnIsFenced(t *testing.T) {
	inBubble(t, map[string]int{"us": 1, "eu": 1}, func(f *testFleet) {
		f.put("us-1", "c0")
		f.eventually(values(0, 1))
		old := f.copyOf("us-1")
		for _, v := range values(1, 5) {
			f.put("us-1", v)
		}
		f.eventually(values(0, 5))
		f.kill("us-1")
		f.kill("eu-1")
		f.nodes["us-1"].disk = old
		f.start("us-1")
		for range 20 {
			f.put("us-1", "other")
		}
		f.start("eu-1")
		deadline := time.Now().Add(time.Minute)
		for !strings.Contains(f.nodes["us-1"].Health().Problem, "with other contents") {
			if time.Now().After(deadline) {
				t.Fatalf("us-1 goes on with another history: %q", f.nodes["us-1"].Health().Problem)
			}
			time.Sleep(50 * time.Millisecond)
		}
		ctx, cancel := context.WithTimeout(f.t.Context(), 20*time.Second)
		defer cancel()
		for _, name := range f.names() {
			if _, err := f.nodes[name].Propose(ctx, []*replication.Command{{Data: []byte("x")}}); err == nil {
				t.Errorf("%s acknowledged a write", name)
			}
			if err := f.nodes[name].ReadBarrier(ctx, replication.Linearizable); err == nil {
				t.Errorf("%s confirmed a read", name)
			}
		}
		if _, err := f.nodes["eu-1"].Failover(f.t.Context(), "eu", true); err != nil {
			t.Fatal(err)
		}
		f.put("us-1", "c5")
		f.eventually(values(0, 6))
		if h := f.nodes["us-1"].Health(); !h.Healthy {
			t.Errorf("us-1: %s", h.Problem)
		}
	})
}
