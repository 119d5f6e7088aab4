package replay

import (
	"context"
	"testing"

	"go.etcd.io/etcd/api/v3/mvccpb"
)

// TestAnExpiryInAStateIsNotDone: a state does not say why keys were deleted. Those that all hung on one lease, and with
// which nothing else was done, may have gone because nobody renewed it at the old primary; what builds on that waits.
func TestAnExpiryInAStateIsNotDone(t *testing.T) {
	const put, del = mvccpb.PUT, mvccpb.DELETE
	event := func(kind mvccpb.Event_EventType, key, value string, rev, lease int64) *mvccpb.Event {
		return &mvccpb.Event{Type: kind, Kv: &mvccpb.KeyValue{
			Key: []byte(key), Value: []byte(value), Version: 1, ModRevision: rev, CreateRevision: rev, Lease: lease,
		}}
	}
	for what, c := range map[string]struct {
		changes    [][]*mvccpb.Event
		want, left string
	}{
		"a key of a lease of the fork, and what took its place": {
			[][]*mvccpb.Event{{event(del, "l", "", 5, 0)}, {event(put, "l", "2", 6, 0)}},
			"conflict conflict", "k=1 l=1 r/1=1",
		},
		"a key that came to the lease later": {
			[][]*mvccpb.Event{{event(put, "m", "1", 5, 9)}, {event(del, "l", "", 6, 0), event(del, "m", "", 6, 0)}},
			"there conflict", "k=1 l=1 r/1=1",
		},
		"with a key of no lease": {
			[][]*mvccpb.Event{{event(del, "l", "", 5, 0), event(del, "k", "", 5, 0)}}, "applied", "r/1=1",
		},
		"with a put": {
			[][]*mvccpb.Event{{event(put, "n", "1", 5, 0), event(del, "l", "", 5, 0)}}, "applied", "k=1 n=1 r/1=1",
		},
	} {
		today := newHistory(t)
		for _, q := range shared {
			today.apply(q)
		}
		fork := today.begin(2, 2)
		tail := func(_ context.Context, visit func(*Command) error) error {
			for _, events := range c.changes {
				one := &Command{Revision: events[0].Kv.ModRevision, Op: OpChanges, Events: events}
				if err := visit(one); err != nil {
					return err
				}
			}
			return nil
		}
		_, entries, err := replayed(t, today, Options{Fork: fork}, tail)
		if got := text(entries); err != nil || got != c.want || today.values() != c.left {
			t.Errorf("%s: %s, %v, %s", what, got, err, today.values())
		}
	}
}
