package overview

import (
	"strings"
	"testing"
	"time"

	"github.com/mimir-kv/mimir/replication/internal/fleet"
	"github.com/mimir-kv/mimir/replication/timeline"
)

// Of a region for which the primary keeps no log the status says what that means, whether the region answers or not.
func TestARegionThatWillBootstrapIsTold(t *testing.T) {
	reign := timeline.Reign{Epoch: 1, First: 1, Primary: "us"}
	us := fleet.Heard{Report: fleet.Report{
		Region: "us", Node: "us-1", Leader: true, Role: timeline.Primary, Claim: reign, Reigns: []timeline.Reign{reign},
		Slots: []timeline.Slot{{Region: "ap", Position: 5}, {Region: "eu", Lost: true}},
	}}
	s := summarize("mimir", "us-1", time.Now(), map[string]*fleet.Region{
		"us": {Name: "us", Nodes: []fleet.Heard{us}}, "eu": {Name: "eu"}, "ap": {Name: "ap"},
	})
	for _, r := range s.Regions {
		if told := strings.Contains(r.Problem, "will bootstrap"); told != (r.Name == "eu") {
			t.Errorf("%s: %q", r.Name, r.Problem)
		}
	}
}
