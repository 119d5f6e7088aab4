package etcdapi_test

import (
	"fmt"
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

// A watch that reads much in which there is nothing for it is told to where it has come, if it asked for that, before
// it has read all of it.
func TestProgressIsToldWhileMuchIsRead(t *testing.T) {
	const each = 10_000
	n := etcdapitest.Start(t, etcdapi.Limits{TxnOps: each})
	kv := pb.NewKVClient(n.Dial(t))
	many := &pb.TxnRequest{}
	for i := range each {
		many.Success = append(many.Success, &pb.RequestOp{Request: &pb.RequestOp_RequestPut{
			RequestPut: &pb.PutRequest{Key: fmt.Append(nil, "other", i)}}})
	}
	for range 4 { // changes all of them twice
		if _, err := kv.Txn(t.Context(), many); err != nil {
			t.Fatal(err)
		}
		if _, err := kv.DeleteRange(t.Context(), &pb.DeleteRangeRequest{Key: []byte("other"),
			RangeEnd: []byte("otherz")}); err != nil {
			t.Fatal(err)
		}
	}
	put(t, n, "k", "v")
	last := n.Store.Revision()
	for _, notify := range []bool{true, false} {
		s := openWatch(t, n)
		s.create(&pb.WatchCreateRequest{Key: []byte("k"), RangeEnd: []byte("l"), StartRevision: 2,
			ProgressNotify: notify})
		told := false
		for r := s.receive(); len(r.Events) == 0; r = s.receive() {
			if told = true; r.Header.Revision < 2 || r.Header.Revision >= last {
				t.Errorf("it is said to be at revision %d of %d", r.Header.Revision, last)
			}
		}
		if told != notify {
			t.Errorf("asked for it %t: told %t", notify, told)
		}
	}
}
