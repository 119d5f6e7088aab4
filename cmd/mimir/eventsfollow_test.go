//go:build unix

package main

import (
	"context"
	"fmt"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/cockroachdb/pebble/v2/vfs"

	"github.com/mimir-kv/mimir/replication"
	"github.com/mimir-kv/mimir/replication/durable/pebblefs"
	"github.com/mimir-kv/mimir/server/admin"
	"github.com/mimir-kv/mimir/server/events"
)

// fleetOfTwo is a replicator of a fleet of this node, and of one that does not answer.
type fleetOfTwo struct {
	admin.Replicator
	url string
}

func (f *fleetOfTwo) Fleet(context.Context) *replication.FleetStatus {
	return &replication.FleetStatus{Fleet: "test", Asked: "us-1", Regions: []replication.RegionStatus{
		{Name: "eu", Nodes: []replication.NodeStatus{{Name: "eu-1", ClientURLs: []string{"http://127.0.0.1:1"}}}},
		{Name: "us", Nodes: []replication.NodeStatus{{Name: "us-1", ClientURLs: []string{f.url}}}},
	}}
}

// TestWhatComesIsFollowed: each event is told once, as it comes, and who does not answer once.
func TestWhatComesIsFollowed(t *testing.T) {
	quiet := slog.New(slog.DiscardHandler)
	log := events.Open(events.Options{FS: pebblefs.New(vfs.NewMem()), Dir: "/", Node: "us-1", Logger: quiet})
	t.Cleanup(func() { log.Close() })
	f := &fleetOfTwo{}
	s := httptest.NewServer(admin.NewHandler(admin.HandlerOptions{
		Replicator: f, Logger: quiet, Events: log, Node: func() admin.Node { return admin.Node{} },
		Guard: func(_ string, h http.Handler) http.Handler { return h },
	}))
	f.url = s.URL
	t.Cleanup(s.Close)
	ctx, cancel := context.WithCancel(t.Context())
	out, errs, done := &output{}, &output{}, make(chan int, 1)
	go func() { done <- run(ctx, nil, []string{"events", "--follow", "--endpoints", s.URL}, out, errs) }()
	for i := range 3 {
		log.Add(replication.Event{Kind: replication.EventStarted, Text: fmt.Sprint("v", i)})
		log.Add(replication.Event{ID: "epoch/1", Kind: replication.EventEpoch, Region: "us", Epoch: 1})
		eventually(t, "it is told", func() bool { return strings.Contains(out.String(), fmt.Sprint("version v", i)) })
	}
	eventually(t, "who does not answer is named", func() bool {
		return strings.Contains(errs.String(), "NO ANSWER: eu-1 (eu)")
	})
	cancel()
	if code := <-done; code != exitDone {
		t.Errorf("ended with %d: %s", code, errs)
	}
	for _, want := range []string{"version v0", "version v1", "version v2", "epoch 1: us is primary"} {
		if n := strings.Count(out.String(), want); n != 1 {
			t.Errorf("%q is told %d times in\n%s", want, n, out)
		}
	}
	if n := strings.Count(errs.String(), "NO ANSWER"); n != 1 {
		t.Errorf("told %d times:\n%s", n, errs)
	}
}

// TestWhatWasToldOfAnotherLogIsNotToldAgain: a node that can use its directory again tells another log, in which what
// it told is too, beside what it never told, since it could not read it.
func TestWhatWasToldOfAnotherLogIsNotToldAgain(t *testing.T) {
	n, began := &eventNode{name: "us-1"}, time.Now()
	record := func(seq uint64, minutes int) events.Record {
		return events.Record{Seq: seq, At: began.Add(time.Duration(minutes) * time.Minute)}
	}
	for _, c := range []struct {
		log        string
		told, want []events.Record
	}{
		{"a", []events.Record{record(1, 5), record(2, 4)}, []events.Record{record(1, 5), record(2, 4)}},
		{"a", []events.Record{record(3, 3)}, []events.Record{record(3, 3)}}, // its clock was set back
		{
			"b", []events.Record{record(1, 0), record(2, 3), record(3, 5), record(4, 6)},
			[]events.Record{record(1, 0), record(4, 6)},
		},
		{"b", []events.Record{record(5, 6)}, []events.Record{record(5, 6)}},
		{"a", []events.Record{record(1, 5), record(4, 8)}, []events.Record{record(4, 8)}},
	} {
		a := eventAnswer{node: n, page: &events.Page{Log: c.log, Events: c.told}}
		if a.take(); !reflect.DeepEqual(a.page.Events, c.want) {
			t.Errorf("of log %s: %v, want %v", c.log, a.page.Events, c.want)
		}
	}
}

// TestWhatANodeToldIsBounded: the oldest of it is forgotten.
func TestWhatANodeToldIsBounded(t *testing.T) {
	var told toldEvents
	page := func(n int) *events.Page {
		return &events.Page{Events: []events.Record{{At: time.Unix(int64(n), 0)}}}
	}
	for n := range 2 * mostTold {
		told.leaveOut(page(n), false)
	}
	if len(told.list) > mostTold || len(told.has) != len(told.list) {
		t.Errorf("%d and %d are remembered", len(told.list), len(told.has))
	}
	for n, want := range map[int]int{0: 1, 2*mostTold - 1: 0} {
		p := page(n)
		if told.leaveOut(p, true); len(p.Events) != want {
			t.Errorf("of event %d %d are told", n, len(p.Events))
		}
	}
}
