package replication_test

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/mimir-kv/mimir/replication"
	"github.com/mimir-kv/mimir/replication/durable"
	"github.com/mimir-kv/mimir/replication/transport"
)

// unsettling is a filesystem on which no name in the data directory becomes durable meanwhile.
type unsettling struct {
	durable.FS
	full *atomic.Bool
	with error
}

func (u unsettling) SyncDir(dir string) error {
	if dir == "/data" && u.full.Load() {
		return u.with
	}
	return u.FS.SyncDir(dir)
}

// leaveToOrder stops us-3, and has us-1 and us-2 wait for it with empty disks.
func (f *testFleet) leaveToOrder() {
	f.t.Helper()
	f.stopAll()
	f.empties("us-1", "us-2")
	f.start("us-1")
	f.start("us-2")
	f.waitLong("us-3", 7*time.Second, "us-1", "us-2")
}

// TestAnOrderThatWasRefusedIsNotCarriedOutByTheNextStart: an order forms the region, and the disk takes the note of it
// and has no room to have it durable.
func TestAnOrderThatWasRefusedIsNotCarriedOutByTheNextStart(t *testing.T) {
	var full atomic.Bool
	shaped(t, map[string]int{"us": 3}, func(c *replication.Config) {
		if c.NodeID == "us-1" {
			c.FS = unsettling{c.FS, &full, syscall.ENOSPC}
		}
	}, func(f *testFleet) {
		f.put("us-1", "c0")
		f.leaveToOrder()
		full.Store(true)
		if r, err := f.nodes["us-1"].FormRegion(f.t.Context()); !errors.Is(err, replication.ErrRejected) ||
			!strings.Contains(err.Error(), "no room") {
			f.t.Fatalf("an order for which there is no room: %+v, %v", r, err)
		}
		full.Store(false)
		f.stop("us-1")
		f.start("us-1")
		f.waitLong("us-3", 7*time.Second, "us-1", "us-2")
		if r, err := f.nodes["us-1"].FormRegion(f.t.Context()); err != nil || len(r.Left) != 1 {
			f.t.Fatalf("an order for which there is room: %+v, %v", r, err)
		}
		f.put("us-2", "c0")
	})
}

// TestAnOrderLeavesNobodyOutWhoIsThere: a node with data that could not be reached when the order came is, soon enough
// for whoever tries again to connect.
func TestAnOrderLeavesNobodyOutWhoIsThere(t *testing.T) {
	inBubble(t, map[string]int{"us": 3}, func(f *testFleet) {
		f.put("us-1", "c0")
		f.leaveToOrder()
		formed := make(chan error, 1)
		go func() {
			_, err := f.nodes["us-1"].FormRegion(f.t.Context())
			formed <- err
		}()
		time.Sleep(7 * time.Second)
		f.start("us-3")
		err := <-formed
		if !errors.Is(err, replication.ErrDiskLost) || !strings.Contains(err.Error(), "node us-3 knows") {
			f.t.Errorf("us-3 came during the order: %v", err)
		}
	})
}

// remembering is a transport that remembers of a peer that it was not reached, and fails at once.
type remembering struct {
	transport.Transport
	peer string
}

func (r remembering) Open(ctx context.Context, addr, service string) (transport.Stream, error) {
	if addr == r.peer && !transport.IsAnew(ctx) {
		return nil, fmt.Errorf("%w: %s, as before", transport.ErrUnreachable, addr)
	}
	return r.Transport.Open(ctx, addr, service)
}

// TestTheFirstDayLeavesNobodyOutByWhatWasBefore: of a fleet that has lost all its disks but one.
func TestTheFirstDayLeavesNobodyOutByWhatWasBefore(t *testing.T) {
	inBubble(t, map[string]int{"us": 3, "eu": 3}, func(f *testFleet) {
		f.put("us-1", "c0")
		f.eventually(values(0, 1))
		f.stopAll()
		f.empties("us-1", "us-2", "eu-1", "eu-2", "eu-3")
		for _, name := range f.regions["eu"] {
			f.network.Cut("us-3", name) // else they hear of its history
			f.start(name)
		}
		f.start("us-3")
		f.through = func(p transport.Transport) transport.Transport { return remembering{p, "us-3"} }
		f.start("us-1")
		f.start("us-2")
		var err error
		f.within(time.Minute, "one of them decides", func() bool {
			err = errors.Join(f.nodes["us-1"].Err(), f.nodes["us-2"].Err())
			return err != nil || f.nodes["us-1"].Health().LeaderRaftID != 0
		})
		if !errors.Is(err, replication.ErrDiskLost) || !strings.Contains(err.Error(), "node us-3 knows") {
			f.t.Errorf("us-3 is there: %v", err)
		}
	})
}

// TestAHistoryElsewhereIsAskedForAnew: a node of another region, of which a majority has lost its disks, knows of it.
func TestAHistoryElsewhereIsAskedForAnew(t *testing.T) {
	inBubble(t, map[string]int{"us": 3, "eu": 3}, func(f *testFleet) {
		f.put("us-1", "c0")
		f.eventually(values(0, 1))
		f.stopAll()
		f.empties("us-1", "us-2", "eu-1", "eu-2")
		f.network.Cut("eu-1", "eu-3") // else they hear of it
		f.network.Cut("eu-2", "eu-3")
		for _, name := range f.regions["eu"] {
			f.start(name)
		}
		f.through = func(p transport.Transport) transport.Transport { return remembering{p, "eu-3"} }
		f.start("us-1")
		f.start("us-2")
		f.waitLong("us-3", 20*time.Second, "us-1", "us-2")
	})
}

// TestWhetherANoteIsGoneIsNotKnownWhereADiskFails: the note of an order may be on the disk, and its removal may not.
func TestWhetherANoteIsGoneIsNotKnownWhereADiskFails(t *testing.T) {
	var fails atomic.Bool
	shaped(t, map[string]int{"us": 3}, func(c *replication.Config) {
		if c.NodeID == "us-1" {
			c.FS = unsettling{c.FS, &fails, syscall.EIO}
		}
	}, func(f *testFleet) {
		f.leaveToOrder()
		fails.Store(true)
		if r, err := f.nodes["us-1"].FormRegion(f.t.Context()); !errors.Is(err, replication.ErrUnknownOutcome) {
			f.t.Errorf("an order of which the disk may or may not say that it was carried out: %+v, %v", r, err)
		}
	})
}
