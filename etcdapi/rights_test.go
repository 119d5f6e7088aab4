package etcdapi_test

import (
	"context"
	"testing"

	pb "go.etcd.io/etcd/api/v3/etcdserverpb"
	"google.golang.org/grpc"
	"google.golang.org/grpc/metadata"

	"github.com/mimir-kv/mimir/etcdapi"
	"github.com/mimir-kv/mimir/kv/mvcc"
)

// Users and roles are older by their revision; of one revision if they are not enabled yet; and behind a failover that
// may have lost writes none of before are newer.
func TestWhichRightsAreOlder(t *testing.T) {
	const far = mvcc.LossyJump // the least by which a failover moves the history on
	for _, c := range []struct {
		r, others etcdapi.Rights
		older     bool
	}{
		{etcdapi.Rights{At: 9, Revision: 3, Enabled: true}, etcdapi.Rights{At: 1, Revision: 4}, true},
		{etcdapi.Rights{At: 1, Revision: 4}, etcdapi.Rights{At: 9, Revision: 3, Enabled: true}, false},
		{etcdapi.Rights{At: 5, Revision: 4}, etcdapi.Rights{At: 5, Revision: 4, Enabled: true}, true},
		{etcdapi.Rights{At: 5, Revision: 4, Enabled: true}, etcdapi.Rights{At: 5, Revision: 4}, false},
		{etcdapi.Rights{At: 5, Revision: 4}, etcdapi.Rights{At: 7, Revision: 4}, false},
		{etcdapi.Rights{At: far, Revision: 1}, etcdapi.Rights{At: 9, Revision: 8, Enabled: true}, false},
		{etcdapi.Rights{At: 9, Revision: 8, Enabled: true}, etcdapi.Rights{At: far, Revision: 1}, true},
	} {
		if older := c.r.OlderThan(c.others); older != c.older {
			t.Errorf("%v are older than %v: %t", c.r, c.others, older)
		}
	}
}

// Who asks for it is told by which users and roles he was judged, also with a refusal.
func TestAnAnswerSaysByWhichRights(t *testing.T) {
	g := guard(t, etcdapi.Options{})
	ask := func(ctx context.Context) (by etcdapi.Rights, told bool, err error) {
		var header metadata.MD
		_, err = g.kv.Range(ctx, &pb.RangeRequest{Key: a, Serializable: true}, grpc.Header(&header))
		by, told = etcdapi.RightsTold(header)
		return by, told, err
	}
	want := etcdapi.RightsOf(g.Store)
	if want.Revision <= 1 || !want.Enabled {
		t.Fatalf("%v", want)
	}
	for who, ctx := range map[string]context.Context{"ann": g.as(t, "ann", "pa55"), "nobody": bounded(t)} {
		by, told, err := ask(metadata.AppendToOutgoingContext(ctx, etcdapi.RightsKey, "true"))
		if !told || by != want || (err == nil) != (who == "ann") {
			t.Errorf("%s is told %t: %v, and %v; want %v", who, told, by, err, want)
		}
		if by, told, _ := ask(ctx); told {
			t.Errorf("%s did not ask, and is told %v", who, by)
		}
	}
}
