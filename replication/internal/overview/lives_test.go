package overview

import (
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/mimir-kv/mimir/replication/contract"
	"github.com/mimir-kv/mimir/replication/internal/fleet"
	"github.com/mimir-kv/mimir/replication/timeline"
)

// formedAnew returns us, of which two nodes lead and follow, and whose third formed the region anew alone, and leads
// that in a later term.
func formedAnew() *fleet.Region {
	r := three("us", 10, 1, 1, 2, 3)
	own, alone := map[uint64]string{1: "a", 2: "b", 3: "c"}, map[uint64]string{3: "d"}
	for i := range r.Nodes {
		r.Nodes[i].Formed = own
	}
	h := &r.Nodes[2]
	h.Formed, h.Leader, h.LeaderID, h.Term, h.Cursor.Position = alone, true, 3, 9, 90
	h.Nodes, h.Members = h.Nodes[2:], []timeline.Member{{ID: 3, Name: "us-3"}}
	return r
}

// TestANodeThatFormedTheRegionAnewIsNotOfIt in the picture: it is said to be wrong, with the way out, and counts
// neither as one of the region's nodes nor as its leader.
func TestANodeThatFormedTheRegionAnewIsNotOfIt(t *testing.T) {
	us := formedAnew()
	us.Separate(nil)
	f, _ := summaryOf(us, three("eu", 10, 1, 1, 2, 3), time.Time{})
	r := f.Regions[1]
	if r.Leader != "us-1" || r.Position != 10 || r.Reachable != 2 || r.Voters != 3 || r.Survivable || !r.LossKnown ||
		!r.LossSurvivable {
		t.Errorf("region %+v", r)
	}
	if !strings.Contains(r.Problem, "WRONG: us-3 is of another life of this region") ||
		!strings.Contains(r.Problem, "it takes writes, which no other node has") ||
		!strings.Contains(r.Problem, "move its data directory away") || strings.Contains(r.Problem, "missing") {
		t.Errorf("problem %q", r.Problem)
	}
	i := slices.IndexFunc(r.Nodes, func(n contract.NodeStatus) bool { return n.Name == "us-3" })
	if n := r.Nodes[i]; !n.OtherLife || n.Reachable || n.Leader {
		t.Errorf("node %+v", n)
	}
	if !slices.Equal(f.TakeWrites, []string{"us"}) || len(f.Warnings) > 0 {
		t.Errorf("take writes %q, warnings %q", f.TakeWrites, f.Warnings)
	}
}

// TestWhoFormedTheRegionAnewIsAskedForNothing: the picture that it makes says that it is not of the region.
func TestWhoFormedTheRegionAnewIsAskedForNothing(t *testing.T) {
	us := formedAnew()
	us.Separate(map[uint64]string{3: "d"})
	f := summarize("mimir", "us-3", time.Time{}, map[string]*fleet.Region{"us": us})
	if r := f.Regions[0]; r.Leader != "us-1" || r.Reachable != 2 {
		t.Errorf("region %+v", r)
	}
	if len(f.Warnings) != 1 || !strings.Contains(f.Warnings[0], "us-3, which was asked, is of another life") {
		t.Errorf("warnings %q", f.Warnings)
	}
}

// TestWhichLifeIsTheRegionsMayBeUnknown: then nobody is shown as its leader, and nothing is said to be survived.
func TestWhichLifeIsTheRegionsMayBeUnknown(t *testing.T) {
	us := formedAnew()
	us.Nodes = slices.Delete(us.Nodes, 1, 2)
	us.Nodes[0].Nodes = us.Nodes[0].Nodes[:1] // the third was removed from it before
	us.Separate(nil)
	f, _ := summaryOf(us, three("eu", 10, 1, 1, 2, 3), time.Time{})
	r := f.Regions[1]
	if r.Leader != "" || r.TakesWrites || r.LossKnown || r.LossSurvivable ||
		!strings.Contains(r.Problem, "different lives of this region (us-1 / us-3)") {
		t.Errorf("region %+v", r)
	}
}
