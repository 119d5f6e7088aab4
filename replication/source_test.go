package replication_test

import (
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/cockroachdb/pebble/v2/vfs"

	"github.com/mimir-kv/mimir/replication"
)

// A secondary that follows a node of the primary region leaves it when that node is cut off from its own region,
// though it still answers.
func TestASecondaryLeavesASourceThatIsCutOffFromItsRegion(t *testing.T) {
	inBubble(t, map[string]int{"us": 3, "eu": 1}, func(f *testFleet) {
		want := f.putMany("us-1", "before", 3)
		f.eventually(want)
		source := f.leaderOf("us")
		var rest []string
		for _, name := range f.regions["us"] {
			if name != source {
				rest = append(rest, name)
				f.network.Cut(source, name)
			}
		}
		f.within(time.Minute, "the others have a leader", func() bool {
			return slices.ContainsFunc(rest, func(name string) bool { return f.nodes[name].IsLeader() })
		})
		want = append(want, f.putMany(rest[0], "after", 5)...)
		f.within(time.Minute, "eu has what was written elsewhere", func() bool {
			lag := f.nodes["eu-1"].Health().Lag
			has := len(f.nodes["eu-1"].ledger.commands())
			if has < len(want) && lag.Commands == 0 && lag.Seconds > 7 && !lag.AtLeast {
				t.Fatalf("eu has %d of %d and says that it is %+v behind", has, len(want), lag)
			}
			return has == len(want)
		})
		f.network.HealAll()
		f.eventually(want)
	})
}

// Where no node of the primary region can read the log that a secondary needs, it takes a copy.
func TestASecondaryTakesACopyWhereTheLogIsDamaged(t *testing.T) {
	shape := func(c *replication.Config) { c.SegmentBytes, c.CompactBytes = 8<<10, 1<<30 }
	shaped(t, map[string]int{"us": 1, "eu": 1}, shape, func(f *testFleet) {
		want := f.putMany("us-1", "before", 3)
		f.eventually(want)
		f.stop("eu-1")
		want = append(want, f.putMany("us-1", "away", 20)...)
		f.stop("us-1") // nothing of its log is in memory when it is back
		want = append(want, f.damageSegment("us-1", 2)...)
		f.start("eu-1")
		f.eventually(want)
	})
}

// damageSegment starts a node, writes so much that nothing of the nth segment of its log is in memory, flips a bit in
// that, and returns what was written.
func (f *testFleet) damageSegment(name string, nth int) (written []string) {
	f.t.Helper()
	f.start(name)
	written = f.putMany(name, "later", 3)
	time.Sleep(time.Second)
	disk := f.nodes[name].disk
	files, err := disk.List("/data/wal")
	if err != nil {
		f.t.Fatal(err)
	}
	slices.Sort(files)
	files = slices.DeleteFunc(files, func(n string) bool { return !strings.HasSuffix(n, ".wal") })
	file, err := disk.OpenReadWrite("/data/wal/"+files[nth-1], vfs.WriteCategoryUnspecified)
	if err != nil {
		f.t.Fatal(err)
	}
	defer file.Close()
	b := make([]byte, 1)
	if _, err := file.ReadAt(b, 4<<10); err != nil {
		f.t.Fatal(err)
	}
	b[0] ^= 1
	if _, err := file.WriteAt(b, 4<<10); err != nil {
		f.t.Fatal(err)
	}
	return written
}
