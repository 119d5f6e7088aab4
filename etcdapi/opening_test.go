package etcdapi_test

import (
	"errors"
	"fmt"
	"strings"
	"testing"

	"github.com/cockroachdb/pebble/v2/vfs"
	pb "go.etcd.io/etcd/api/v3/etcdserverpb"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"github.com/mimir-kv/mimir/etcdapi"
	"github.com/mimir-kv/mimir/etcdapi/etcdapitest"
	"github.com/mimir-kv/mimir/etcdapi/follow"
	"github.com/mimir-kv/mimir/kv"
	"github.com/mimir-kv/mimir/kv/command"
	"github.com/mimir-kv/mimir/replication"
)

// following starts a node of a fleet that follows an etcd from revision 2 on.
func following(t *testing.T, o etcdapi.Options) *etcdapitest.Node {
	t.Helper()
	disk := vfs.NewMem()
	s, err := kv.Open(kv.Options{FS: disk, Dir: etcdapitest.StoreDir})
	if err != nil {
		t.Fatal(err)
	}
	l, err := kv.NewLoader(s)
	if err != nil {
		t.Fatal(err)
	}
	err = errors.Join(l.Follow(), l.Finish(2, -1, &replication.Metadata{AppliedIndex: 2, Position: 2}), l.Close(),
		s.Close())
	if err != nil {
		t.Fatal(err)
	}
	return etcdapitest.StartOn(t, disk, o)
}

// What a fleet has of the etcd that it follows waits for no other region; it is opened to clients once all of it is
// where durability.prefixes and durability.default demand, and stays as it was where that cannot be had.
func TestWhatFollowsIsOpenedOnceItIsInOtherRegions(t *testing.T) {
	for name, rules := range map[string]etcdapi.DurabilityRules{
		"by prefix":  {Prefixes: map[string]etcdapi.Durability{"/pay/": regionsBeside(t, 1)}},
		"by default": {Default: regionsBeside(t, 1)},
	} {
		t.Run(name, func(t *testing.T) {
			n := following(t, etcdapi.Options{Limits: etcdapi.Limits{Durability: rules}})
			alone := following(t, etcdapi.Options{Limits: etcdapi.Limits{Durability: rules}})
			etcdapitest.Beside(n.Replicator, "eu")
			etcdapitest.Shorten(n.Replicator,
				fmt.Errorf("%w: position 7 is in 1 of 2 regions: us", replication.ErrUnderReplicated))
			put := command.EncodeTxn(&pb.TxnRequest{Success: []*pb.RequestOp{{Request: &pb.RequestOp_RequestPut{
				RequestPut: &pb.PutRequest{Key: []byte("/pay/1")}}}}})
			apply := func(n *etcdapitest.Node, c []byte) error {
				node, state, err := follow.Open(bounded(t), n.Dial(t))
				if err != nil {
					return err
				}
				_, err = node.Apply(follow.AppendCommand(nil, command.EncodeFollowed(state.Revision, c)))
				return err
			}
			refused := func(n *etcdapitest.Node, text string) {
				t.Helper()
				err := apply(n, command.EncodeOpening())
				if s := status.Convert(err); s.Code() != codes.FailedPrecondition ||
					!strings.Contains(s.Message(), text) || !kv.Follows(n.Store) {
					t.Errorf("opened: %v; it follows: %v; want %q", err, kv.Follows(n.Store), text)
				}
			}
			refused(alone, "the fleet has 0 regions beside the primary")
			if err := apply(n, put); err != nil || n.Store.Revision() != 3 {
				t.Errorf("what follows waits for the other region: %v, at revision %d", err, n.Store.Revision())
			}
			refused(n, "the fleet follows as before: what it has of the etcd is not known in time to be durable as "+
				"asked for (regions=1): position 7 is in 1 of 2 regions: us")
			etcdapitest.Shorten(n.Replicator, fmt.Errorf("%w: on purpose", replication.ErrUnknownOutcome))
			refused(n, "the fleet follows as before: it is not known whether")
			etcdapitest.Shorten(n.Replicator, nil)
			if err := apply(n, command.EncodeOpening()); err != nil || kv.Follows(n.Store) {
				t.Errorf("not opened: %v", err)
			}
		})
	}
}
