package etcdapi_test

import (
	"context"
	"errors"
	"io"
	"testing"

	pb "go.etcd.io/etcd/api/v3/etcdserverpb"
	"google.golang.org/grpc"
	"google.golang.org/grpc/status"

	"github.com/mimir-kv/mimir/etcdapi"
)

// call is a request of any service.
type call func(ctx context.Context, c *grpc.ClientConn) error

func of[C, Q, R any](
	client func(grpc.ClientConnInterface) C, method func(C, context.Context, Q, ...grpc.CallOption) (R, error), q Q,
) call {
	return func(ctx context.Context, c *grpc.ClientConn) error {
		r, err := method(client(c), ctx, q)
		if stream, ok := any(r).(grpc.ClientStream); ok && err == nil {
			return drain(stream)
		}
		return err
	}
}

// drain reads a stream to its end.
func drain(stream grpc.ClientStream) error {
	for {
		if err := stream.RecvMsg(new(pb.StatusRequest)); errors.Is(err, io.EOF) {
			return nil
		} else if err != nil {
			return err
		}
	}
}

// gate is a request and what each asker is told: nobody, ann and root. Empty: it is done.
type gate struct {
	call
	nobody, ann, root string
}

const (
	empty  = "etcdserver: user name is empty"
	denied = "etcdserver: permission denied"
)

func forRoot(c call) gate     { return gate{c, empty, denied, ""} }
func forSomebody(c call) gate { return gate{c, empty, "", ""} }
func forAll(c call) gate      { return gate{c, "", "", ""} }

// rootFails is forRoot of a request that would do something, if it made sense.
func rootFails(c call, root string) gate { return gate{c, empty, denied, root} }

var a, r, z, all = []byte("a"), []byte("r"), []byte("z"), []byte{0}

func onPut(key []byte) []*pb.RequestOp {
	return []*pb.RequestOp{{Request: &pb.RequestOp_RequestPut{RequestPut: &pb.PutRequest{Key: key}}}}
}

func onRange(key []byte, serializable bool) []*pb.RequestOp {
	return []*pb.RequestOp{{Request: &pb.RequestOp_RequestRange{
		RequestRange: &pb.RangeRequest{Key: key, Serializable: serializable}}}}
}

func onTxn(r *pb.TxnRequest) []*pb.RequestOp {
	return []*pb.RequestOp{{Request: &pb.RequestOp_RequestTxn{RequestTxn: r}}}
}

func onDelete(r *pb.DeleteRangeRequest) []*pb.RequestOp {
	return []*pb.RequestOp{{Request: &pb.RequestOp_RequestDeleteRange{RequestDeleteRange: r}}}
}

func rangeOf(r *pb.RangeRequest) call        { return of(pb.NewKVClient, pb.KVClient.Range, r) }
func putOf(r *pb.PutRequest) call            { return of(pb.NewKVClient, pb.KVClient.Put, r) }
func deleteOf(r *pb.DeleteRangeRequest) call { return of(pb.NewKVClient, pb.KVClient.DeleteRange, r) }
func txnOf(r *pb.TxnRequest) call            { return of(pb.NewKVClient, pb.KVClient.Txn, r) }

var keyGates = map[string]gate{
	"range":                        forSomebody(rangeOf(&pb.RangeRequest{Key: a})),
	"range serializable":           forSomebody(rangeOf(&pb.RangeRequest{Key: a, Serializable: true})),
	"range of others":              forRoot(rangeOf(&pb.RangeRequest{Key: z})),
	"range of others serializable": forRoot(rangeOf(&pb.RangeRequest{Key: z, Serializable: true})),
	"count of others":              forRoot(rangeOf(&pb.RangeRequest{Key: z, CountOnly: true})),
	"range of more":                forRoot(rangeOf(&pb.RangeRequest{Key: a, RangeEnd: []byte("c")})),
	"range of all":                 forRoot(rangeOf(&pb.RangeRequest{Key: all, RangeEnd: all})),
	"stream": forSomebody(of(pb.NewKVClient, pb.KVClient.RangeStream,
		&pb.RangeRequest{Key: a, RangeEnd: []byte("b")})),
	"stream of others":                  forRoot(of(pb.NewKVClient, pb.KVClient.RangeStream, &pb.RangeRequest{Key: z})),
	"put":                               forSomebody(putOf(&pb.PutRequest{Key: a, PrevKv: true})),
	"put what is read":                  forRoot(putOf(&pb.PutRequest{Key: r})),
	"put of others":                     forRoot(putOf(&pb.PutRequest{Key: z})),
	"put to the lease of others":        forRoot(putOf(&pb.PutRequest{Key: a, Lease: 7})),
	"delete":                            forSomebody(deleteOf(&pb.DeleteRangeRequest{Key: []byte("aa"), PrevKv: true})),
	"delete of others":                  forRoot(deleteOf(&pb.DeleteRangeRequest{Key: []byte("zz")})),
	"delete of all":                     forRoot(deleteOf(&pb.DeleteRangeRequest{Key: []byte("zz"), RangeEnd: all})),
	"transaction":                       forSomebody(txnOf(&pb.TxnRequest{Success: onPut(a)})),
	"transaction that reads":            forSomebody(txnOf(&pb.TxnRequest{Success: onRange(a, false)})),
	"transaction that reads others":     forRoot(txnOf(&pb.TxnRequest{Success: onRange(z, true)})),
	"transaction that would put others": forRoot(txnOf(&pb.TxnRequest{Success: onPut(a), Failure: onPut(z)})),
	"transaction that compares others": forRoot(txnOf(&pb.TxnRequest{Success: onPut(a),
		Compare: []*pb.Compare{{Key: z, TargetUnion: &pb.Compare_Version{Version: 9}}}})),
	"transaction that deletes others": forRoot(txnOf(&pb.TxnRequest{
		Success: onDelete(&pb.DeleteRangeRequest{Key: []byte("zz")})})),
	"transaction that tells what it deletes": forRoot(txnOf(&pb.TxnRequest{
		Success: onDelete(&pb.DeleteRangeRequest{Key: []byte("zz"), PrevKv: true})})),
	"transaction in a transaction": forRoot(txnOf(&pb.TxnRequest{
		Success: onTxn(&pb.TxnRequest{Failure: onRange(z, false)})})),
	"compact": forRoot(of(pb.NewKVClient, pb.KVClient.Compact, &pb.CompactionRequest{Revision: 2})),

	"grant": forSomebody(of(pb.NewLeaseClient, pb.LeaseClient.LeaseGrant, &pb.LeaseGrantRequest{TTL: 100})),
	"keys of a lease": forRoot(of(pb.NewLeaseClient, pb.LeaseClient.LeaseTimeToLive,
		&pb.LeaseTimeToLiveRequest{ID: 7, Keys: true})),
	"time of a lease": forSomebody(of(pb.NewLeaseClient, pb.LeaseClient.LeaseTimeToLive,
		&pb.LeaseTimeToLiveRequest{ID: 7})),
	"leases":     forRoot(of(pb.NewLeaseClient, pb.LeaseClient.LeaseLeases, &pb.LeaseLeasesRequest{})),
	"keep alive": forRoot(keepAlive),
	"revoke":     forRoot(of(pb.NewLeaseClient, pb.LeaseClient.LeaseRevoke, &pb.LeaseRevokeRequest{ID: 8})),
}

// keepAlive renews the lease 7.
func keepAlive(ctx context.Context, c *grpc.ClientConn) error {
	stream, err := pb.NewLeaseClient(c).LeaseKeepAlive(ctx)
	if err != nil {
		return err
	}
	if err := stream.Send(&pb.LeaseKeepAliveRequest{ID: 7}); err != nil {
		return err
	}
	_, err = stream.Recv()
	return err
}

const (
	noMember = "etcdserver: member not found"
	badURLs  = "etcdserver: given member URLs are invalid"
	noUser   = "etcdserver: user name not found"
	noRole   = "etcdserver: role name not found"
)

var otherGates = map[string]gate{
	"status": forSomebody(of(pb.NewMaintenanceClient, pb.MaintenanceClient.Status, &pb.StatusRequest{})),
	"alarms": forSomebody(of(pb.NewMaintenanceClient, pb.MaintenanceClient.Alarm, &pb.AlarmRequest{})),
	"disarm": forRoot(of(pb.NewMaintenanceClient, pb.MaintenanceClient.Alarm,
		&pb.AlarmRequest{Action: pb.AlarmRequest_DEACTIVATE, Alarm: pb.AlarmType_NOSPACE})),
	"defragment": forRoot(of(pb.NewMaintenanceClient, pb.MaintenanceClient.Defragment,
		&pb.DefragmentRequest{})),
	"hash":               forRoot(of(pb.NewMaintenanceClient, pb.MaintenanceClient.Hash, &pb.HashRequest{})),
	"hash of a revision": forRoot(of(pb.NewMaintenanceClient, pb.MaintenanceClient.HashKV, &pb.HashKVRequest{})),
	"snapshot":           forRoot(of(pb.NewMaintenanceClient, pb.MaintenanceClient.Snapshot, &pb.SnapshotRequest{})),
	"move the leader": rootFails(of(pb.NewMaintenanceClient, pb.MaintenanceClient.MoveLeader,
		&pb.MoveLeaderRequest{TargetID: 9}), "etcdserver: bad leader transferee"),
	"downgrade": rootFails(of(pb.NewMaintenanceClient, pb.MaintenanceClient.Downgrade, &pb.DowngradeRequest{}),
		"etcdserver: wrong downgrade target version format"),
	"cancel a downgrade": forRoot(of(pb.NewMaintenanceClient, pb.MaintenanceClient.Downgrade,
		&pb.DowngradeRequest{Action: pb.DowngradeRequest_CANCEL})),

	"members": forSomebody(of(pb.NewClusterClient, pb.ClusterClient.MemberList,
		&pb.MemberListRequest{Linearizable: true})),
	"add a member": rootFails(of(pb.NewClusterClient, pb.ClusterClient.MemberAdd, &pb.MemberAddRequest{}), badURLs),
	"remove a member": rootFails(of(pb.NewClusterClient, pb.ClusterClient.MemberRemove,
		&pb.MemberRemoveRequest{ID: 9}), noMember),
	"promote a member": rootFails(of(pb.NewClusterClient, pb.ClusterClient.MemberPromote,
		&pb.MemberPromoteRequest{ID: 9}), noMember),
	"update a member": rootFails(of(pb.NewClusterClient, pb.ClusterClient.MemberUpdate,
		&pb.MemberUpdateRequest{}), badURLs),

	"auth status": forAll(of(pb.NewAuthClient, pb.AuthClient.AuthStatus, &pb.AuthStatusRequest{})),
	"add a user": rootFails(of(pb.NewAuthClient, pb.AuthClient.UserAdd,
		&pb.AuthUserAddRequest{Name: "ann", Password: "p"}), "etcdserver: user name already exists"),
	"oneself":      forSomebody(of(pb.NewAuthClient, pb.AuthClient.UserGet, &pb.AuthUserGetRequest{Name: "ann"})),
	"another user": forRoot(of(pb.NewAuthClient, pb.AuthClient.UserGet, &pb.AuthUserGetRequest{Name: "root"})),
	"users":        forRoot(of(pb.NewAuthClient, pb.AuthClient.UserList, &pb.AuthUserListRequest{})),
	"delete a user": rootFails(of(pb.NewAuthClient, pb.AuthClient.UserDelete,
		&pb.AuthUserDeleteRequest{Name: "bob"}), noUser),
	"change a password": rootFails(of(pb.NewAuthClient, pb.AuthClient.UserChangePassword,
		&pb.AuthUserChangePasswordRequest{Name: "bob", Password: "p"}), noUser),
	"grant a role": rootFails(of(pb.NewAuthClient, pb.AuthClient.UserGrantRole,
		&pb.AuthUserGrantRoleRequest{User: "ann", Role: "none"}), noRole),
	"revoke a role": rootFails(of(pb.NewAuthClient, pb.AuthClient.UserRevokeRole,
		&pb.AuthUserRevokeRoleRequest{Name: "ann", Role: "none"}), "etcdserver: role is not granted to the user"),
	"add a role": rootFails(of(pb.NewAuthClient, pb.AuthClient.RoleAdd,
		&pb.AuthRoleAddRequest{Name: "writer"}), "etcdserver: role name already exists"),
	"own role": forSomebody(of(pb.NewAuthClient, pb.AuthClient.RoleGet, &pb.AuthRoleGetRequest{Role: "writer"})),
	"another role": rootFails(of(pb.NewAuthClient, pb.AuthClient.RoleGet,
		&pb.AuthRoleGetRequest{Role: "none"}), noRole),
	"roles": forRoot(of(pb.NewAuthClient, pb.AuthClient.RoleList, &pb.AuthRoleListRequest{})),
	"delete a role": rootFails(of(pb.NewAuthClient, pb.AuthClient.RoleDelete,
		&pb.AuthRoleDeleteRequest{Role: "none"}), noRole),
	"grant a permission": rootFails(of(pb.NewAuthClient, pb.AuthClient.RoleGrantPermission,
		&pb.AuthRoleGrantPermissionRequest{Name: "writer"}), "etcdserver: permission not given"),
	"revoke a permission": rootFails(of(pb.NewAuthClient, pb.AuthClient.RoleRevokePermission,
		&pb.AuthRoleRevokePermissionRequest{Role: "none"}), noRole),
}

// Each method is for those for whom it is in etcd: the text of the refusal is etcd's too.
func TestEachMethodAsksForARight(t *testing.T) {
	g := guard(t, etcdapi.Options{})
	root, ann := g.as(t, "root", "r00t"), g.as(t, "ann", "pa55")
	leases := pb.NewLeaseClient(g.connection)
	for _, id := range []int64{7, 8} {
		if _, err := leases.LeaseGrant(root, &pb.LeaseGrantRequest{ID: id, TTL: 1000}); err != nil {
			t.Fatal(err)
		}
		if _, err := g.kv.Put(root, &pb.PutRequest{Key: []byte{'z', byte(id)}, Lease: id}); err != nil {
			t.Fatal(err)
		}
	}
	for _, gates := range []map[string]gate{keyGates, otherGates} {
		for name, one := range gates {
			for _, asker := range []struct {
				name string
				ctx  context.Context
				want string
			}{{"nobody", bounded(t), one.nobody}, {"ann", ann, one.ann}, {"root", root, one.root}} {
				err := one.call(asker.ctx, g.connection)
				if text := status.Convert(err).Message(); text != asker.want {
					t.Errorf("%s: %s is told %q, want %q", name, asker.name, text, asker.want)
				}
			}
		}
	}
	enable := of(pb.NewAuthClient, pb.AuthClient.AuthEnable, &pb.AuthEnableRequest{})
	disable := of(pb.NewAuthClient, pb.AuthClient.AuthDisable, &pb.AuthDisableRequest{})
	for who, ctx := range map[string]context.Context{empty: bounded(t), denied: ann} {
		if err := enable(ctx, g.connection); told(err) != who {
			t.Errorf("authentication is enabled again by somebody who is not root: %v", err)
		}
		if err := disable(ctx, g.connection); told(err) != who {
			t.Errorf("authentication is disabled by somebody who is not root: %v", err)
		}
	}
	if err := enable(root, g.connection); err != nil { // which ends all tokens
		t.Error(err)
	}
	if err := disable(g.as(t, "root", "r00t"), g.connection); err != nil {
		t.Error(err)
	}
	if _, err := g.kv.Put(bounded(t), &pb.PutRequest{Key: z}); err != nil {
		t.Errorf("disabled, and: %v", err)
	}
}
