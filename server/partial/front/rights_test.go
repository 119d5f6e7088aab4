package front

import (
	"context"
	"errors"
	"testing"

	pb "go.etcd.io/etcd/api/v3/etcdserverpb"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"github.com/mimir-kv/mimir/etcdapi"
	"github.com/mimir-kv/mimir/etcdapi/etcdapitest"
	"github.com/mimir-kv/mimir/kv/command"
	"github.com/mimir-kv/mimir/replication"
)

// enableUsers has the fleet have users, root and u, who may read /c/, and the partial region hear of that.
func (p *pair) enableUsers() {
	p.t.Helper()
	ctx, admin := p.t.Context(), pb.NewAuthClient(p.full)
	var errs []error
	note := func(_ any, err error) { errs = append(errs, err) }
	note(admin.UserAdd(ctx, &pb.AuthUserAddRequest{Name: "root", Password: "r"}))
	note(admin.RoleAdd(ctx, &pb.AuthRoleAddRequest{Name: "root"}))
	note(admin.UserGrantRole(ctx, &pb.AuthUserGrantRoleRequest{User: "root", Role: "root"}))
	note(admin.UserAdd(ctx, &pb.AuthUserAddRequest{Name: "u", Password: "u"}))
	note(admin.RoleAdd(ctx, &pb.AuthRoleAddRequest{Name: "r"}))
	note(admin.UserGrantRole(ctx, &pb.AuthUserGrantRoleRequest{User: "u", Role: "r"}))
	note(admin.RoleGrantPermission(ctx, &pb.AuthRoleGrantPermissionRequest{Name: "r",
		Perm: permission("/c/", "/c0")}))
	note(admin.AuthEnable(ctx, &pb.AuthEnableRequest{}))
	// What is written has the source say at once what it has.
	write := command.EncodeOwn(command.EncodePut(&pb.PutRequest{Key: []byte("/b/later")}))
	note(p.fleet.Replicator.Propose(ctx, []*replication.Command{{Data: write}}))
	if err := errors.Join(errs...); err != nil {
		p.t.Fatal(err)
	}
	until(p.t, "it hears of users", func() bool { return p.sink.Place.Rights().Enabled })
}

// Once this node has heard of users, a node of the fleet that has not lets nobody read or watch here, nor see how this
// one is.
func TestOlderRightsLetNobodyRead(t *testing.T) {
	behind := etcdapitest.Start(t, etcdapi.Limits{})
	p := startBeside(t, etcdapi.Limits{}, 0, behind.Endpoint)
	p.put(p.full, "/a/x", "a secret")
	p.enableUsers()
	p.cut()
	ctx, cancel := context.WithTimeout(t.Context(), hang)
	defer cancel()
	asked := calls([]byte("/a/x"), nil)
	for what, call := range map[string]func() error{
		"range":           func() error { return asked["range"](ctx, p.conn) },
		"stale range":     func() error { return asked["stale range"](ctx, p.conn) },
		"range in pieces": func() error { return asked["range in pieces"](ctx, p.conn) },
		"watch":           func() error { return asked["watch"](ctx, p.conn) },
		"status": func() error {
			_, err := pb.NewMaintenanceClient(p.conn).Status(ctx, &pb.StatusRequest{})
			return err
		},
		"members": func() error {
			_, err := pb.NewClusterClient(p.conn).MemberList(ctx, &pb.MemberListRequest{})
			return err
		},
	} {
		if err := call(); status.Code(err) != codes.Unavailable {
			t.Errorf("%s: %v", what, err)
		}
	}
}

// What was read here while users or roles were changed is judged anew, and a stream of it is not begun.
func TestWhatIsReadWhileRightsChangeIsJudgedAnew(t *testing.T) {
	p := start(t)
	p.put(p.full, "/a/x", "1")
	f, before := New(p.sink), p.sink.Place.Rights()
	var by []etcdapi.Rights
	answer, err := f.judged(func(r etcdapi.Rights) (any, error) {
		if by = append(by, r); len(by) == 1 {
			p.enableUsers()
		}
		return len(by), nil
	})
	if err != nil || answer != 2 || len(by) != 2 || by[0].Enabled || !by[1].Enabled {
		t.Errorf("%v, %v by %v", answer, err, by)
	}
	stream := &rangeStream{ServerStream: sunk{}, front: f, by: before}
	if err := stream.SendMsg(&pb.RangeStreamResponse{}); !errors.Is(err, errChanged) {
		t.Errorf("the first chunk: %v", err)
	}
	stream.by = p.sink.Place.Rights()
	if err := stream.SendMsg(&pb.RangeStreamResponse{}); err != nil {
		t.Errorf("the first chunk of who was judged by what is known now: %v", err)
	}
}

// sunk is a stream that takes what is sent.
type sunk struct{ grpc.ServerStream }

func (sunk) SendMsg(any) error { return nil }
