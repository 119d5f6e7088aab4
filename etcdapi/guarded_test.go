package etcdapi_test

import (
	"context"
	"errors"
	"testing"

	"go.etcd.io/etcd/api/v3/authpb"
	pb "go.etcd.io/etcd/api/v3/etcdserverpb"
	"google.golang.org/grpc"
	"google.golang.org/grpc/metadata"

	"github.com/mimir-kv/mimir/etcdapi"
	"github.com/mimir-kv/mimir/etcdapi/etcdapitest"
)

// guarded is a node with authentication: root, and ann, who may read and write what begins with "a", and may read what
// begins with "r".
type guarded struct {
	*etcdapitest.Node
	connection *grpc.ClientConn
	auth       pb.AuthClient
	kv         pb.KVClient
}

func guard(t *testing.T, o etcdapi.Options) *guarded {
	t.Helper()
	n := etcdapitest.StartWith(t, o)
	g := &guarded{Node: n, connection: n.Dial(t)}
	g.auth, g.kv = pb.NewAuthClient(g.connection), pb.NewKVClient(g.connection)
	ctx := bounded(t)
	must := func(err error) {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
	}
	for user, password := range map[string]string{"root": "r00t", "ann": "pa55"} {
		_, err := g.auth.UserAdd(ctx, &pb.AuthUserAddRequest{Name: user, Password: password})
		must(err)
	}
	_, err := g.auth.RoleAdd(ctx, &pb.AuthRoleAddRequest{Name: "writer"})
	must(err)
	for key, kind := range map[string]authpb.Permission_Type{"a": authpb.READWRITE, "r": authpb.READ} {
		_, err = g.auth.RoleGrantPermission(ctx, &pb.AuthRoleGrantPermissionRequest{Name: "writer",
			Perm: &authpb.Permission{PermType: kind, Key: []byte(key), RangeEnd: []byte{key[0] + 1}}})
		must(err)
	}
	_, err = g.auth.UserGrantRole(ctx, &pb.AuthUserGrantRoleRequest{User: "ann", Role: "writer"})
	must(err)
	_, err = g.auth.UserGrantRole(ctx, &pb.AuthUserGrantRoleRequest{User: "root", Role: "root"})
	must(err)
	for _, key := range []string{"a", "r", "z"} {
		_, err = g.kv.Put(ctx, &pb.PutRequest{Key: []byte(key)})
		must(err)
	}
	_, err = g.auth.AuthEnable(ctx, &pb.AuthEnableRequest{})
	must(err)
	return g
}

// as returns a context with a token of a user.
func (g *guarded) as(t *testing.T, user, password string) context.Context {
	t.Helper()
	ctx := bounded(t)
	r, err := g.auth.Authenticate(ctx, &pb.AuthenticateRequest{Name: user, Password: password})
	if err != nil {
		t.Fatalf("%s: %v", user, err)
	}
	return metadata.AppendToOutgoingContext(ctx, "token", r.Token)
}

// watchOf creates a watch.
func watchOf(key string) call {
	return func(ctx context.Context, c *grpc.ClientConn) error {
		ctx, cancel := context.WithCancel(ctx)
		defer cancel()
		stream, err := pb.NewWatchClient(c).Watch(ctx)
		if err != nil {
			return err
		}
		err = stream.Send(&pb.WatchRequest{RequestUnion: &pb.WatchRequest_CreateRequest{
			CreateRequest: &pb.WatchCreateRequest{Key: []byte(key)}}})
		if err != nil {
			return err
		}
		r, err := stream.Recv()
		if err == nil && r.Canceled {
			return errors.New(r.CancelReason)
		}
		return err
	}
}
