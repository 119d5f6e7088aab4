package etcdapi

import (
	"testing"

	pb "go.etcd.io/etcd/api/v3/etcdserverpb"
	"go.etcd.io/etcd/api/v3/mvccpb"
	"google.golang.org/protobuf/proto"
	"pgregory.net/rapid"
)

func TestFragmentsPutTogetherAreTheWhole(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		whole := &pb.WatchResponse{Header: &pb.ResponseHeader{Revision: 9}, WatchId: 3}
		for range rapid.IntRange(0, 20).Draw(t, "events") {
			value := make([]byte, rapid.IntRange(0, 300).Draw(t, "bytes"))
			whole.Events = append(whole.Events, &mvccpb.Event{Kv: &mvccpb.KeyValue{Key: []byte("k"), Value: value}})
		}
		limit := rapid.IntRange(100, 2000).Draw(t, "limit")
		var sent []*pb.WatchResponse
		if err := sendFragments(whole, limit, func(r *pb.WatchResponse) error {
			sent = append(sent, r)
			return nil
		}); err != nil {
			t.Fatal(err)
		}
		together := &pb.WatchResponse{}
		for i, fragment := range sent {
			if fragment.Fragment != (i < len(sent)-1) {
				t.Fatalf("fragment %d of %d is marked %v", i+1, len(sent), fragment.Fragment)
			}
			if size := proto.Size(fragment); size >= limit && len(fragment.Events) > 1 {
				t.Fatalf("fragment of %d bytes, limit %d", size, limit)
			}
			if i < len(sent)-1 {
				fuller := proto.Clone(fragment).(*pb.WatchResponse)
				fuller.Events = append(fuller.Events, sent[i+1].Events[0])
				if size := proto.Size(fuller); size < limit {
					t.Fatalf("a fragment is cut though %d bytes would do, limit %d", size, limit)
				}
			}
			together.Header, together.WatchId = fragment.Header, fragment.WatchId
			together.Events = append(together.Events, fragment.Events...)
		}
		if !proto.Equal(whole, together) {
			t.Fatalf("%d events sent, %d came", len(whole.Events), len(together.Events))
		}
	})
}
