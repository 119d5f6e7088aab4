package live

import (
	"testing"

	pb "go.etcd.io/etcd/api/v3/etcdserverpb"
	"go.etcd.io/etcd/api/v3/mvccpb"
)

// A page without keys has no last one.
func TestTheLastKeyOfPages(t *testing.T) {
	one := &pb.RangeResponse{Kvs: []*mvccpb.KeyValue{{Key: []byte("k")}}}
	if key := last(one, one); string(key) != "k" || last(&pb.RangeResponse{}, &pb.RangeResponse{}) != nil {
		t.Errorf("the last key is %q", key)
	}
}
