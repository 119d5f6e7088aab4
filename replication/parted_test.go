package replication_test

import (
	"strings"
	"testing"
	"time"
)

// TestAPrimaryThatWentBackAndWentOnIsFenced: nobody remembers the node's disk, and it has written more since than it
// lost. What the other region holds is not in its history all the same: it takes no more writes and confirms no reads.
func TestAPrimaryThatWentBackAndWentOnIsFenced(t *testing.T) {
	inBubble(t, map[string]int{"us": 1, "eu": 1}, func(f *testFleet) {
		old := f.goesOn("us-1", 5)
		f.kill("us-1")
		f.kill("eu-1")
		f.nodes["us-1"].disk = old
		f.start("us-1")
		for range 20 {
			f.put("us-1", "other")
		}
		f.start("eu-1")
		f.within(time.Minute, "us-1 knows that it parted", func() bool {
			return strings.Contains(f.nodes["us-1"].Health().Problem, "with other contents")
		})
		f.takesNothing("us-1")
		f.takesNothing("eu-1")
		f.goesOnElsewhere(5)
	})
}
