package overview

import (
	"testing"
	"time"

	"github.com/mimir-kv/mimir/replication/contract"
	"github.com/mimir-kv/mimir/replication/internal/fleet"
)

// Staging is as far as the voters are that take the copy from the leader; what else comes to a node is another matter.
func TestHowFarABootstrapIsAllItsNodesTell(t *testing.T) {
	us, eu := three("us", 10, 1, 1, 2, 3), three("eu", 0, 1, 1, 2, 3)
	if _, r := summaryOf(eu, us, time.Time{}); r.Bootstrap != nil {
		t.Errorf("a region that follows bootstraps: %+v", r.Bootstrap)
	}
	eu.Nodes[0].PeerAddr = "eu-1:2380"
	said := &contract.Bootstrap{Source: "us", Have: 1, Needed: 2}
	said.Phase = contract.BootstrapStaging
	eu.Nodes[0].Following = &fleet.Following{Source: "us", Bootstrap: said}
	takes := func(from string, done int64) *contract.Transfer {
		return &contract.Transfer{
			Phase: contract.BootstrapFetching, From: from, DoneBytes: new(done), TotalBytes: new(int64(100)),
		}
	}
	region := func() contract.RegionStatus {
		both := map[string]*fleet.Region{"us": us, "eu": eu}
		for _, r := range summarize("mimir", "us-1", time.Time{}, both).Regions {
			if r.Name == "eu" {
				return r
			}
		}
		return contract.RegionStatus{}
	}
	eu.Nodes[1].Transfer = takes("eu-3:2380", 90)
	b := region().Bootstrap
	if b == nil || b.Phase != contract.BootstrapStaging || b.Source != "us" || b.DoneBytes != nil {
		t.Errorf("nobody takes the leader's copy, and it is at %+v", b)
	}
	eu.Nodes[2].Transfer = takes("eu-1:2380", 40)
	if b := region().Bootstrap; b.DoneBytes == nil || *b.DoneBytes != 40 {
		t.Errorf("the third has 40 bytes: %+v", b)
	}
	if n := region().Nodes[1]; n.Name != "eu-2" || n.Transfer == nil || *n.Transfer.DoneBytes != 90 {
		t.Errorf("the second takes 90 bytes from elsewhere: %+v", n)
	}
	if said.DoneBytes != nil {
		t.Error("what the leader said was changed")
	}
}
