package server

import (
	"context"
	"slices"
	"testing"

	pb "go.etcd.io/etcd/api/v3/etcdserverpb"

	"github.com/mimir-kv/mimir/kv/command"
	"github.com/mimir-kv/mimir/replication"
	"github.com/mimir-kv/mimir/server/admin"
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
	eventually(t, "the node was started and leads again", func(context.Context) bool { // told by different goroutines
		list := kinds()
		return count(list, replication.EventLeads) == 2 && count(list, replication.EventStarted) == 2
	})
	if list := kinds(); count(list, replication.EventEpoch) != 1 {
		t.Errorf("%q", list)
	}
}

// Alarms that etcd has not are told by their names.
func TestAlarmsHaveNames(t *testing.T) {
	for kind, want := range map[pb.AlarmType]string{
		pb.AlarmType_NOSPACE: "NOSPACE", command.AlarmFollows: admin.Follows, command.AlarmDiffers: admin.Differs,
		command.AlarmUnsure: admin.Unsure,
	} {
		if got := alarmName(kind.String()); got != want {
			t.Errorf("%d: %q, want %q", kind, got, want)
		}
	}
}
