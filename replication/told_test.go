package replication_test

import (
	"fmt"
	"slices"
	"testing"
	"time"

	"github.com/mimir-kv/mimir/replication"
)

// Who wrote through a node reads that there, stale as he reads, although the leader, which applied it, said so first.
func TestWhoWroteThroughANodeReadsItThere(t *testing.T) {
	inBubble(t, map[string]int{"us": 3}, func(f *testFleet) {
		f.eventually(f.putMany("us-1", "before", 3))
		leader := f.leaderOf("us")
		others := slices.DeleteFunc(slices.Clone(f.regions["us"]), func(name string) bool { return name == leader })
		for i := range 50 {
			node, value := others[i%2], fmt.Sprint("value ", i)
			f.network.SetDelay(leader, node, time.Duration(i%5)*10*time.Millisecond, 20*time.Millisecond)
			f.put(node, value)
			if err := f.nodes[node].ReadBarrier(f.t.Context(), replication.Serializable); err != nil {
				f.t.Fatal(err)
			}
			if !slices.Contains(f.nodes[node].ledger.commands(), value) {
				f.t.Errorf("%s has not applied what it told to be written: %s", node, value)
			}
		}
	})
}
