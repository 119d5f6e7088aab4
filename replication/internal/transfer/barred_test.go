package transfer

import (
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/mimir-kv/mimir/replication/clock/virtual"
	"github.com/mimir-kv/mimir/replication/contract"
	"github.com/mimir-kv/mimir/replication/internal/checkpoint"
	"github.com/mimir-kv/mimir/replication/transport/memory"
)

// TestWhoIsNotOfTheFleetGetsNoCopy, and none is made for it; nodes of the own region do.
func TestWhoIsNotOfTheFleetGetsNoCopy(t *testing.T) {
	inBubble(t, func(t *testing.T, net *memory.Network) {
		n := start(t, net, "us-1")
		n.begin("us")
		n.put("x")
		n.barred.Store("eu")
		if _, err := n.take(&Request{Region: "eu"}); !errors.Is(err, contract.ErrUnknownRegion) || n.made.Load() != 0 {
			t.Errorf("who is barred: %v, %d copies were made", err, n.made.Load())
		}
		for _, region := range []string{"ap", "us"} {
			if _, err := n.take(&Request{Region: region}); err != nil {
				t.Errorf("%s is given none: %v", region, err)
			}
		}
	})
}

// TestWhoLeavesTheFleetGetsNoMoreOfACopy that it takes, or that is being made for it; and none waits for it.
func TestWhoLeavesTheFleetGetsNoMoreOfACopy(t *testing.T) {
	inBubble(t, func(t *testing.T, net *memory.Network) {
		us, eu := start(t, net, "us-1"), start(t, net, "eu-1")
		us.begin("us")
		us.put(strings.Repeat("x", 3<<20))
		net.SetWindow(1 << 20)
		for _, at := range []checkpoint.Stage{checkpoint.Coming, checkpoint.Preparing} {
			if at == checkpoint.Preparing {
				us.put("more")
				us.reading = checkpoint.Silence / 2
			}
			us.barred.Store("")
			began := time.Now()
			_, _, err := eu.staging.Fetch(t.Context(), "us-1", Request{Region: "eu"}, func(p checkpoint.Progress) {
				if p.Stage == at {
					us.barred.Store("eu")
				}
			})
			if err == nil || !strings.Contains(err.Error(), contract.ErrUnknownRegion.Error()) {
				t.Errorf("at %v it ended with %v", at, err)
			}
			if waited := time.Since(began); waited >= checkpoint.Silence {
				t.Errorf("at %v it ended after %v", at, waited)
			}
			us.tells()
			for len(us.shelf.making) > 0 { // what was begun
				time.Sleep(time.Second)
			}
			virtual.Wait()
			us.shelf.Tidy()
			if left, _ := us.disk.List("/copies"); len(left) > 0 {
				t.Errorf("at %v left %q", at, left)
			}
			if told := us.tells(); len(told) > 0 {
				t.Errorf("at %v log is kept from %v", at, told)
			}
		}
		us.reading = 0
		us.barred.Store("")
		if id, _, err := eu.staging.Fetch(t.Context(), "us-1", Request{Region: "eu"}, nil); err != nil {
			t.Errorf("when it is one of the fleet again: %s, %v", id, err)
		}
	})
}
