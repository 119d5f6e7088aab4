package replication_test

import (
	"context"
	"strings"
	"testing"
	"time"

	"github.com/mimir-kv/mimir/replication"
)

// TestWhoseStorageHangsLeadsNobody: where the log of the leader goes on and its storage does not, another node leads,
// writes go on at all others, and through the node itself, and it and status say what it is at. It is one of them again
// once it goes on.
func TestWhoseStorageHangsLeadsNobody(t *testing.T) {
	inBubble(t, map[string]int{"us": 3, "eu": 1}, func(f *testFleet) {
		f.put("eu-1", "c0")
		leader := f.nodes["us-1"].Health().LeaderID
		hangs, others := make(chan struct{}), []string{"eu-1"}
		for _, name := range f.regions["us"] {
			if name != leader {
				others = append(others, name)
			}
		}
		f.nodes[leader].ledger.hangs.Store(&hangs)
		defer func() {
			if f.nodes[leader].ledger.hangs.Swap(nil) != nil {
				close(hangs)
			}
		}()
		first := make(chan error, 1) // this one its leader takes, and does not answer
		go func() {
			_, err := f.nodes[leader].Propose(context.WithoutCancel(t.Context()),
				[]*replication.Command{{Data: []byte("c1")}})
			first <- err
		}()
		for deadline := time.Now().Add(time.Minute); f.nodes[others[1]].Health().LeaderID == leader; {
			if time.Now().After(deadline) {
				t.Fatal("it leads")
			}
			time.Sleep(50 * time.Millisecond)
		}
		through := append(others, leader)
		for i, value := range values(2, 13) {
			f.put(through[i%len(through)], value)
		}
		f.fleetSays("eu-1", "us", leader+" applies nothing: it has not finished applying what it is at")
		h := f.nodes[leader].Health()
		if h.Healthy || h.IsLeader || !strings.Contains(h.Problem, "applies nothing: it has not finished") {
			t.Errorf("health %+v", h)
		}
		close(hangs)
		f.nodes[leader].ledger.hangs.Store(nil)
		f.eventually(values(0, 13))
		if err := f.answered(first, "its leader goes on"); err != nil {
			t.Error(err)
		}
	})
}
