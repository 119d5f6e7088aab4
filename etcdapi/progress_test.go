package etcdapi_test

import (
	"testing"
	"time"

	pb "go.etcd.io/etcd/api/v3/etcdserverpb"

	"github.com/mimir-kv/mimir/etcdapi"
	"github.com/mimir-kv/mimir/etcdapi/etcdapitest"
	"github.com/mimir-kv/mimir/replication/clock"
)

// handClock is the machine's clock but for tickers of an hour and more, which tick when the test says so.
type handClock struct {
	clock.Clock
	ticks chan time.Time
}

func (c handClock) NewTicker(d time.Duration) clock.Timer {
	if d < time.Hour {
		return c.Clock.NewTicker(d)
	}
	return handTicker{c.Clock.NewTimer(d), c.ticks}
}

type handTicker struct {
	clock.Timer
	ticks <-chan time.Time
}

func (t handTicker) C() <-chan time.Time { return t.ticks }

// A watch that was quiet since it began is told of its progress one interval later, and one that had an event since the
// last time two.
func TestProgressIsToldAfterOneInterval(t *testing.T) {
	by := handClock{clock.Real, make(chan time.Time)}
	n := etcdapitest.StartWith(t, etcdapi.Options{Clock: by, Limits: etcdapi.Limits{ProgressInterval: time.Hour}})
	s := openWatch(t, n)
	s.create(&pb.WatchCreateRequest{Key: []byte("k"), WatchId: 5, ProgressNotify: true})
	by.ticks <- time.Now()
	if r := s.receive(); r.WatchId != 5 || len(r.Events) != 0 || r.Header.Revision != 1 {
		t.Fatalf("after one interval: %v", r)
	}
	put(t, n, "k", "v")
	if r := s.receive(); len(r.Events) != 1 {
		t.Fatalf("after a put: %v", r)
	}
	by.ticks <- time.Now()
	put(t, n, "k", "w")
	if r := s.receive(); len(r.Events) != 1 {
		t.Fatalf("an interval in which there was an event: %v", r)
	}
	by.ticks <- time.Now()
	by.ticks <- time.Now()
	if r := s.receive(); len(r.Events) != 0 || r.Header.Revision != 3 {
		t.Fatalf("a quiet interval after the last event: %v", r)
	}
}
