package admin

import (
	"fmt"

	pb "go.etcd.io/etcd/api/v3/etcdserverpb"
	"google.golang.org/protobuf/encoding/protojson"
	"google.golang.org/protobuf/proto"

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
	default:
		w.Op = opOfChange(request)
	}
	request.ProtoReflect().SetUnknown(nil)
	if w.Request, err = (protojson.MarshalOptions{UseProtoNames: true}).Marshal(request); err != nil {
		return nil, fmt.Errorf("position %d: %w", p, err)
	}
	return w, nil
}

// changes are the operations that change users and roles.
var changes = map[string]proto.Message{
	"auth-enable":            &pb.AuthEnableRequest{},
	"auth-disable":           &pb.AuthDisableRequest{},
	"user-add":               &pb.AuthUserAddRequest{},
	"user-delete":            &pb.AuthUserDeleteRequest{},
	"user-change-password":   &pb.AuthUserChangePasswordRequest{},
	"user-grant-role":        &pb.AuthUserGrantRoleRequest{},
	"user-revoke-role":       &pb.AuthUserRevokeRoleRequest{},
	"role-add":               &pb.AuthRoleAddRequest{},
	"role-delete":            &pb.AuthRoleDeleteRequest{},
	"role-grant-permission":  &pb.AuthRoleGrantPermissionRequest{},
	"role-revoke-permission": &pb.AuthRoleRevokePermissionRequest{},
}

// ChangeOf returns an empty request of an operation that changes users or roles, nil if op is none.
func ChangeOf(op string) proto.Message {
	if m := changes[op]; m != nil {
		return m.ProtoReflect().New().Interface()
	}
	return nil
}

// opOfChange returns "" if the request changes no users or roles.
func opOfChange(r proto.Message) string {
	for op, m := range changes {
		if m.ProtoReflect().Descriptor() == r.ProtoReflect().Descriptor() {
			return op
		}
	}
	return ""
}
