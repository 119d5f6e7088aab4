package main

import (
	"strings"
	"testing"

	"github.com/mimir-kv/mimir/replication"
)

// What is held to a rate is told with the node that holds it, and what was and is not any more is not.
func TestWhatIsHeldToARateIsShown(t *testing.T) {
	f := &fleetReport{Regions: []regionReport{{nodes: []nodeReport{
		{name: "us-1"},
		{name: "us-2", health: &replication.HealthStatus{Held: []replication.HeldStatus{
			{Region: "eu", Of: "copy", BytesPerSecond: 8 << 20, HeldSeconds: 33.2},
			{Region: "eu", Of: "stream", HeldSeconds: 5},
			{Region: "ap", Of: "stream", BytesPerSecond: 64 << 10},
		}}},
	}}}}
	f.tellHeld()
	var out strings.Builder
	f.printHeld(&out)
	const want = "us-2 holds copies to eu to 8.0 MiB/s; something waited for that for 33s since it started\n" +
		"us-2 holds the stream to ap to 64.0 KiB/s; something waited for that for 0s since it started\n"
	if out.String() != want {
		t.Errorf("%swant\n%s", &out, want)
	}
}
