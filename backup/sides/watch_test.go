package sides

import (
	"fmt"
	"strings"
	"testing"

	pb "go.etcd.io/etcd/api/v3/etcdserverpb"
	"go.etcd.io/etcd/api/v3/mvccpb"
)

// A revision is given out when all of it is there, however it was cut into messages, and before more is read than that.
func TestRevisionsAreWhole(t *testing.T) {
	w := &Watch{}
	for i, m := range []struct {
		cut    bool
		events []int64 // mod revisions
		ready  string  // so many changes of each revision that is whole
	}{
		{true, []int64{5, 5}, ""},
		{true, []int64{5}, ""},
		{true, []int64{5, 6, 7, 7}, "5:4 6:1"},
		{false, []int64{7}, "7:3"},
		{false, []int64{8, 9, 9}, "8:1 9:2"},
		{false, nil, ""}, // of progress
		{true, nil, ""},
		{false, []int64{10}, "10:1"},
	} {
		r := &pb.WatchResponse{Fragment: m.cut}
		for _, at := range m.events {
			r.Events = append(r.Events, &mvccpb.Event{Kv: &mvccpb.KeyValue{Key: []byte("k"), ModRevision: at}})
		}
		if err := w.take(r); err != nil {
			t.Fatal(err)
		}
		var got []string
		for _, whole := range w.ready {
			got = append(got, fmt.Sprintf("%d:%d", whole.Number, len(whole.Events)))
		}
		if w.ready = nil; strings.Join(got, " ") != m.ready {
			t.Errorf("behind message %d: %v, want %s", i, got, m.ready)
		}
	}
}

// What no etcd says ends with an error.
func TestWhatMakesNoSenseIsAnError(t *testing.T) {
	for what, e := range map[string]*mvccpb.Event{"nothing": nil, "no key": {}} {
		if err := (&Watch{}).take(&pb.WatchResponse{Events: []*mvccpb.Event{e}}); err == nil {
			t.Errorf("a change that is %s is taken", what)
		}
	}
}
