package replication_test

import (
	"errors"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/mimir-kv/mimir/replication"
	"github.com/mimir-kv/mimir/replication/durable"
)

// unsettling is a filesystem on which no name in the data directory becomes durable while there is no room.
type unsettling struct {
	durable.FS
	full *atomic.Bool
}

func (u unsettling) SyncDir(dir string) error {
	if dir == "/data" && u.full.Load() {
		return syscall.ENOSPC
	}
	return u.FS.SyncDir(dir)
}

// TestWhatIsDecidedIsNotAskedAgain: an order forms the region, and there is no room to note that for good. It is not
// said to be refused; and a node that is told then that the region knows it with data ends for good: its disk says that
// it takes part, so that the next start would ask nobody.
func TestWhatIsDecidedIsNotAskedAgain(t *testing.T) {
	var full atomic.Bool
	shaped(t, map[string]int{"us": 3}, func(c *replication.Config) {
		if c.NodeID == "us-1" {
			c.FS = unsettling{c.FS, &full}
		}
	}, func(f *testFleet) {
		f.put("us-1", "c0")
		f.stopAll()
		f.empties("us-1", "us-2")
		f.start("us-1")
		f.start("us-2")
		f.waitLong("us-3", 7*time.Second, "us-1", "us-2")
		full.Store(true)
		if r, err := f.nodes["us-1"].FormRegion(f.t.Context()); !errors.Is(err, replication.ErrUnknownOutcome) ||
			!strings.Contains(err.Error(), "with us-1, us-2 and without us-3") {
			f.t.Fatalf("an order that is carried out later: %+v, %v", r, err)
		}
		f.start("us-3")
		for f.nodes["us-1"].Err() == nil {
			time.Sleep(time.Second)
		}
		f.stop("us-1")
		f.stop("us-2")
		f.stop("us-3") // who knows may be gone
		full.Store(false)
		r, err := replication.NewMultiRegionReplicator(f.configOf("us-1"), &ledger{})
		if err != nil {
			f.t.Fatal(err)
		}
		r.SetTransport(f.port(f.configOf("us-1")))
		if err := r.Start(f.t.Context()); !errors.Is(err, replication.ErrDiskLost) {
			f.t.Errorf("it starts again with %v", err)
		}
		_ = r.Shutdown()
	})
}
