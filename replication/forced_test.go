package replication_test

import (
	"errors"
	"fmt"
	"testing"

	"github.com/mimir-kv/mimir/replication"
)

// TestWhatWasCutNeverComesBack: a region that was away while another lost its tail follows that one when it is primary
// again.
// TestForcedReignsTellTheirPlaces, so that no two of them share a revision, whoever knew of whom: us is gone, eu is
// forced and dies, and ap, which never heard of that, is forced.
func TestForcedReignsTellTheirPlaces(t *testing.T) {
	inBubble(t, map[string]int{"us": 1, "eu": 1, "ap": 1}, func(f *testFleet) {
		f.put("us-1", "c0")
		f.eventually(values(0, 1))
		f.kill("us-1")
		f.kill("ap-1")
		if r, err := f.nodes["eu-1"].FailoverWithin(f.t.Context(), "eu", 9); !errors.Is(err, replication.ErrArgument) {
			t.Errorf("within a bound that nobody knows: %+v, %v", r, err)
		}
		force := func(region string) replication.Reign {
			n := f.nodes[region+"-1"]
			if _, err := n.Failover(f.t.Context(), region, true); err != nil {
				t.Fatal(err)
			}
			reigns := n.ledger.begun()
			return reigns[len(reigns)-1]
		}
		eu := force("eu")
		f.kill("eu-1")
		f.start("ap-1")
		ap := force("ap")
		if eu.Place != 2 || ap.Place != 1 || !eu.Lossy || !ap.Lossy {
			t.Errorf("%+v\n%+v", eu, ap)
		}
	})
}

func TestWhatWasCutNeverComesBack(t *testing.T) {
	inBubble(t, map[string]int{"us": 1, "eu": 1, "ap": 1}, func(f *testFleet) {
		for i := range 10 {
			f.put("us-1", fmt.Sprintf("c%d", i))
		}
		f.eventually(values(0, 10))
		f.cutOff("us", "eu-1", "ap-1")
		for i := range 5 {
			f.put("us-1", fmt.Sprintf("lost%d", i))
		}
		f.kill("us-1")
		f.network.Reconnect("eu-1")
		if _, err := f.nodes["eu-1"].Failover(f.t.Context(), "eu", true); err != nil {
			f.t.Fatal(err)
		}
		for i := 10; i < 20; i++ {
			f.put("eu-1", fmt.Sprintf("c%d", i))
		}
		f.start("us-1")
		if err := f.nodes["us-1"].WaitPosition(f.t.Context(), 20); err != nil {
			f.t.Fatal(err)
		}
		if _, err := f.nodes["us-1"].Switchover(f.t.Context(), "us"); err != nil {
			f.t.Fatal(err)
		}
		f.put("us-1", "c20")
		f.network.Reconnect("ap-1")
		f.eventually(values(0, 21))
	})
}
