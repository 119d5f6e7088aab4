package server

import (
	"context"
	"slices"
	"testing"

	"github.com/mimir-kv/mimir/replication"
	"github.com/mimir-kv/mimir/server/events"
)

// TestANodeKeepsItsEvents over a restart, each decision once.
func TestANodeKeepsItsEvents(t *testing.T) {
	c := testConfig(t, "solo")
	kinds := func() (list []replication.EventKind) {
		client := adminClient(t, c, TLS{})
		for after, log := uint64(0), ""; ; {
			page, err := client.Events(t.Context(), events.Question{Log: log, After: after})
			if err != nil { // it is starting
				return nil
			}
			for _, e := range page.Events {
				list = append(list, e.Kind)
			}
			if after, log = page.Last, page.Log; !page.More {
				return list
			}
		}
	}
	count := func(list []replication.EventKind, kind replication.EventKind) (n int) {
		for _, k := range list {
			if k == kind {
				n++
			}
		}
		return n
	}
	stop := runNode(t, c)
	eventually(t, "the first epoch is told", func(context.Context) bool {
		return slices.Contains(kinds(), replication.EventEpoch) && slices.Contains(kinds(), replication.EventLeads)
	})
	if err := stop(); err != nil {
		t.Fatal(err)
	}
	runNode(t, c)
	eventually(t, "the node leads again", func(context.Context) bool {
		return count(kinds(), replication.EventLeads) == 2
	})
	if list := kinds(); count(list, replication.EventEpoch) != 1 || count(list, replication.EventStarted) != 2 {
		t.Errorf("%q", list)
	}
}
