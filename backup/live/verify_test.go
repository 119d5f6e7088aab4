package live

import (
	"context"
	"errors"
	"fmt"
	"testing"

	pb "go.etcd.io/etcd/api/v3/etcdserverpb"
	"go.etcd.io/etcd/api/v3/mvccpb"
	"go.etcd.io/etcd/api/v3/v3rpc/rpctypes"
	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"

	"github.com/mimir-kv/mimir/backup/sides"
)

// A login of before a change of users or roles is no reason to end, and what is refused for what it is is one.
func TestAnOldLoginEndsNothing(t *testing.T) {
	for refusal, final := range map[error]bool{
		rpctypes.ErrGRPCAuthOldRevision: false, rpctypes.ErrGRPCEmptyKey: true, rpctypes.ErrGRPCPermissionDenied: true,
	} {
		if err := fmt.Errorf("revision of the etcd: %w", refusal); isFinal(err) != final {
			t.Errorf("%v: final %t", err, !final)
		}
	}
}

// It is refused twice, one behind the other, where users or roles are changed over and over: that is no reason either.
func TestALoginThatIsOldAgainEndsNothing(t *testing.T) {
	dialed, asked := 0, 0
	dial := func(context.Context) (*grpc.ClientConn, error) {
		dialed++
		return grpc.NewClient("passthrough:nowhere", grpc.WithTransportCredentials(insecure.NewCredentials()),
			grpc.WithUnaryInterceptor(func(context.Context, string, any, any, *grpc.ClientConn, grpc.UnaryInvoker,
				...grpc.CallOption) error {
				if asked++; asked > 1 { // behind the question whether it is there
					return rpctypes.ErrGRPCAuthOldRevision
				}
				return nil
			}))
	}
	s, leave, err := sides.Connect(t.Context(), "the fleet", nil, dial, 1)
	if err != nil {
		t.Fatal(err)
	}
	defer leave()
	if _, err := s.Header(t.Context()); err == nil || isFinal(err) || dialed != 2 || asked != 3 {
		t.Errorf("%v, behind %d logins and %d questions", err, dialed, asked)
	}
}

// A page without keys has no last one.
func TestTheLastKeyOfPages(t *testing.T) {
	one := &pb.RangeResponse{Kvs: []*mvccpb.KeyValue{{Key: []byte("k")}}}
	if key := last(one, one); string(key) != "k" || last(&pb.RangeResponse{}, &pb.RangeResponse{}) != nil {
		t.Errorf("the last key is %q", key)
	}
}

// Behind a revision that nobody has come to nothing is compared, so that nothing is called equal, and no fleet opened.
func TestNothingIsEqualThatWasNotComparedAtAll(t *testing.T) {
	etcd, fleet := writes(t, "the etcd", 0, ""), writes(t, "the fleet", 59, "x")
	for what, o := range map[string]VerifyOptions{
		"behind what nobody has": {Verified: 1 << 40}, "behind the one named": {Revision: 30, Verified: 31},
		"behind it, by ranges": {Verified: 61, Every: 10}, "below zero": {Revision: -5},
		"behind below zero": {Verified: -1},
	} {
		if c, err := Verify(t.Context(), etcd, fleet, o); !errors.Is(err, ErrRevision) {
			t.Errorf("%s: %+v, %v", what, c, err)
		}
	}
	if _, err := Verify(t.Context(), etcd, fleet, VerifyOptions{Verified: 60}); err != nil {
		t.Errorf("nothing was changed since: %v", err)
	}
	from, to := &stub{}, &stub{}
	o := FinishOptions{Fence: true, Verified: 8}
	if _, err := Finish(t.Context(), from.side("the etcd"), to.side("the fleet"), o); !errors.Is(err, ErrRevision) ||
		to.opened || len(from.raised) != 0 {
		t.Errorf("%v; opened %t, the alarm is raised by %d", err, to.opened, from.raised)
	}
}
