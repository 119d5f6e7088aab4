package admin

import (
	"fmt"

	pb "go.etcd.io/etcd/api/v3/etcdserverpb"
	"google.golang.org/protobuf/encoding/protojson"

	"github.com/mimir-kv/mimir/kv/command"
	"github.com/mimir-kv/mimir/replication"
)

// describe makes a command readable.
func describe(e replication.Epoch, p replication.Position, data []byte) (*Write, error) {
	request, err := command.Decode(data)
	if err != nil {
		return nil, fmt.Errorf("position %d: %w", p, err)
	}
	w := &Write{Epoch: e, Position: p}
	switch request.(type) {
	case *pb.PutRequest:
		w.Op = "put"
	case *pb.DeleteRangeRequest:
		w.Op = "delete-range"
	case *pb.TxnRequest:
		w.Op = "txn"
		if command.IsLeaseExpiry(data) {
			w.Op = "lease-expiry-part"
		}
	case *pb.CompactionRequest:
		w.Op = "compact"
	case *pb.LeaseGrantRequest:
		w.Op = "lease-grant"
	case *pb.LeaseRevokeRequest:
		w.Op = "lease-revoke"
		if command.IsLeaseExpiry(data) {
			w.Op = "lease-expiry"
		}
	case *pb.AlarmRequest:
		w.Op = "alarm"
	}
	request.ProtoReflect().SetUnknown(nil)
	if w.Request, err = (protojson.MarshalOptions{UseProtoNames: true}).Marshal(request); err != nil {
		return nil, fmt.Errorf("position %d: %w", p, err)
	}
	return w, nil
}
