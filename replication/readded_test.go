package replication_test

import (
	"testing"
	"time"

	"github.com/mimir-kv/mimir/replication"
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
