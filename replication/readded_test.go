package replication_test

import (
	"strings"
	"testing"
	"time"

	"github.com/mimir-kv/mimir/replication"
	"github.com/mimir-kv/mimir/replication/transport"
)

// A region that is added again, with empty disks, while another one still goes by a roster that has the former region
// of that name: it is not the former one by that, and does not end.
func TestARegionThatIsAddedAgainIsNotTheFormerOne(t *testing.T) {
	cascade(t, func(f *growingFleet) {
		f.knows("eu-1", 1, "ap", "eu", "us")
		f.knows("ap-1", 1, "ap", "eu", "us")
		time.Sleep(2 * time.Second) // us hears that ap knows it
		f.kill("ap-1")
		f.network.Cut("us-1", "eu-1")
		f.network.Cut("us-1", "ap-1")
		f.remove("us-1", replication.RegionRemoval{Region: "ap", Gone: true})
		f.nodes["ap-1"].disk = freshDisk()
		f.start("ap-1")
		time.Sleep(3 * time.Second) // it hears of the roster of eu
		f.network.Heal("us-1", "ap-1")
		time.Sleep(3 * time.Second) // and of that of us
		f.add("us-1", "ap")
		f.network.HealAll()
		f.write("us-1", 3)
		f.everywhere()
		f.follows("ap", "us")
	})
}

// TestWhoIsSaidToBeGoneIsAskedOnceMore: he may be there, and is told; that he could not be reached before says nothing.
func TestWhoIsSaidToBeGoneIsAskedOnceMore(t *testing.T) {
	cascade(t, func(f *growingFleet) {
		f.stop("us-1")
		f.through = func(p transport.Transport) transport.Transport { return remembering{p, "ap-1"} }
		f.start("us-1")
		f.put("us-1", "again")
		c := f.remove("us-1", replication.RegionRemoval{Region: "ap", Gone: true})
		if text := strings.Join(c.Steps, "; "); !strings.Contains(text, "region ap answers, led by ap-1, and is told") {
			f.t.Errorf("ap answers: %s", text)
		}
	})
}
