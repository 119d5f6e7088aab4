package etcdapi_test

import (
	"bytes"
	"context"
	"sync"
	"testing"

	pb "go.etcd.io/etcd/api/v3/etcdserverpb"
	"go.etcd.io/etcd/api/v3/v3rpc/rpctypes"

	"github.com/mimir-kv/mimir/etcdapi"
	"github.com/mimir-kv/mimir/kv/command"
	"github.com/mimir-kv/mimir/replication"
)

// ordered has the node itself do a command.
func (g *guarded) ordered(t *testing.T, c []byte) {
	t.Helper()
	commands := []*replication.Command{{Data: command.EncodeOwn(c)}}
	if _, err := g.Replicator.Propose(t.Context(), commands); err != nil {
		t.Error(err)
	}
}

// Whoever was permitted to read a revision that nobody had written is told nothing of it if he is not any more when it
// comes, in whatever way he reads: neither who lost the right nor who was not asked who he is.
func TestAReadThatWaitedIsJudgedByWhatItWaitedFor(t *testing.T) {
	for who, test := range map[string]struct {
		before func(*testing.T, *guarded) context.Context
		change func(*testing.T, *guarded)
	}{
		"who loses the right": {
			func(t *testing.T, g *guarded) context.Context { return g.as(t, "ann", "pa55") },
			func(t *testing.T, g *guarded) {
				g.own(t, &pb.AuthUserRevokeRoleRequest{Name: "ann", Role: "writer"})
			},
		},
		"who was not asked": {
			func(t *testing.T, g *guarded) context.Context {
				g.own(t, &pb.AuthDisableRequest{})
				return bounded(t)
			},
			func(t *testing.T, g *guarded) {
				key := bytes.Repeat([]byte("k"), command.TokenKeyBytes)
				g.ordered(t, command.EncodeAuthEnable(command.AuthEnable{TokenKey: key}))
			},
		},
	} {
		asked := &pb.RangeRequest{Key: a, RangeEnd: []byte("b"), Serializable: true}
		for way, read := range inEachWay(asked) {
			t.Run(who+", "+way, func(t *testing.T) {
				g := guard(t, etcdapi.Options{})
				ctx := test.before(t, g)
				asked.Revision = g.Store.Revision() + 1
				g.Replicator.AtBarriers(sync.OnceFunc(func() { // it waits, and was judged
					test.change(t, g)
					g.ordered(t, command.EncodePut(&pb.PutRequest{Key: a, Value: []byte("a secret")}))
				}))
				keys, _, err := read(ctx, g.kv)
				if keys > 0 || rpctypes.ErrorDesc(err) != rpctypes.ErrorDesc(rpctypes.ErrGRPCAuthOldRevision) {
					t.Errorf("%d keys are told, and: %v", keys, err)
				}
			})
		}
	}
}
