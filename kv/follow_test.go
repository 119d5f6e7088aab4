package kv

import (
	"errors"
	"testing"

	"github.com/cockroachdb/pebble/v2/vfs"
	pb "go.etcd.io/etcd/api/v3/etcdserverpb"

	"github.com/mimir-kv/mimir/kv/command"
	"github.com/mimir-kv/mimir/kv/mvcc"
	"github.com/mimir-kv/mimir/replication"
)

// following returns a store that follows an etcd from revision 2 on.
func following(t *testing.T, disk vfs.FS) *node {
	s, err := Open(Options{FS: disk, Dir: "store"})
	if err != nil {
		t.Fatal(err)
	}
	l, err := NewLoader(s)
	if err != nil {
		t.Fatal(err)
	}
	err = errors.Join(l.Follow(), l.Lease(5, 60),
		l.Version([]byte("k"), &mvcc.Version{Stamp: mvcc.Stamp{Main: 2}, Create: 2, Number: 1, Lease: 5}),
		l.Finish(2, -1, &replication.Metadata{AppliedIndex: 2, Position: 2}), l.Close(), s.Close())
	if err != nil {
		t.Fatal(err)
	}
	n := openNode(t, disk)
	n.metadata = replication.Metadata{AppliedIndex: 2, Position: 2}
	return n
}

// A content that follows an etcd takes what comes from there, each in its turn, and nothing else that changes it; it
// does so until it is opened, also after a restart and in a copy.
func TestWhatFollowsAnEtcdTakesNothingElse(t *testing.T) {
	disk := vfs.NewMem()
	n := following(t, disk)
	done := func(what string, want error, revision int64, c []byte) {
		t.Helper()
		result := n.apply(c)[0]
		err := command.CheckFollowed(command.EncodeFollowed(1, command.EncodeOpening()), result)
		if want == nil && (err != nil || result[0] != 0) || want != nil && !errors.Is(err, want) ||
			n.Revision() != revision {
			t.Errorf("%s: %v at revision %d, want %v at %d", what, err, n.Revision(), want, revision)
		}
	}
	txn := func(key string, lease int64) []byte {
		return command.EncodeTxn(&pb.TxnRequest{Success: []*pb.RequestOp{{Request: &pb.RequestOp_RequestPut{
			RequestPut: &pb.PutRequest{Key: []byte(key), Lease: lease}}}}})
	}
	gone := command.EncodeTxn(&pb.TxnRequest{Success: []*pb.RequestOp{{Request: &pb.RequestOp_RequestDeleteRange{
		RequestDeleteRange: &pb.DeleteRangeRequest{Key: []byte("k")}}}}})
	grant := func(ttl int64) []byte {
		return command.EncodeLeaseGrant(&pb.LeaseGrantRequest{ID: 5, TTL: ttl})
	}
	revoke := command.EncodeLeaseRevoke(&pb.LeaseRevokeRequest{ID: 5})
	disarm := &pb.AlarmRequest{Action: pb.AlarmRequest_DEACTIVATE, Alarm: command.AlarmFollows}
	fromThere := command.EncodeFollowed
	check := func() {
		for what, c := range map[string][]byte{
			"put": put("k", "v"), "txn": txn("k", 0), "grant": grant(9), "revoke": revoke,
			"expiry":           command.EncodeLeaseExpiry(5, command.Alone),
			"the server's own": command.EncodeOwn(put("k", "v")), "users": command.EncodeAuthEnable(command.AuthEnable{
				TokenKey: make([]byte, command.TokenKeyBytes)}),
		} {
			done(what, command.ErrFollows, n.Revision(), c)
		}
		done("opened by a client", nil, n.Revision(), command.EncodeAlarm(disarm))
		if !Follows(n.Store) || len(n.Alarms()) != 0 {
			t.Errorf("follows: %t, alarms: %v", Follows(n.Store), n.Alarms())
		}
	}
	check()
	done("too early", command.ErrParted, 2, fromThere(3, txn("k", 0)))
	done("in turn", nil, 3, fromThere(2, txn("l", 5)))
	done("twice", command.ErrParted, 3, fromThere(2, txn("l", 5)))
	done("compaction", nil, 3, command.EncodeCompaction(&pb.CompactionRequest{Revision: 2}))
	done("another time", nil, 3, fromThere(3, grant(90)))
	done("a lease with keys", command.ErrParted, 3, fromThere(3, revoke))
	done("a key", nil, 4, fromThere(3, gone))
	done("another key", nil, 5, fromThere(4, txn("l", 0)))
	if ttl, keys, ok := n.Lease(5); ttl != 90 || len(keys) != 0 || !ok {
		t.Errorf("the lease has %d s and %q, %t", ttl, keys, ok)
	}
	if err := errors.Join(n.Sync(), n.Close()); err != nil {
		t.Fatal(err)
	}
	at := n.metadata
	n = openNode(t, disk)
	n.metadata = at
	check()
	done("a lease without", nil, 5, fromThere(5, revoke))
	done("opened too early", command.ErrParted, 5, fromThere(4, command.EncodeOpening()))
	done("opened", nil, 5, fromThere(5, command.EncodeOpening()))
	done("what comes late", command.ErrFollowsNot, 5, fromThere(5, txn("k", 0)))
	done("put", nil, 6, put("k", "v"))
	if Follows(n.Store) {
		t.Error("it follows on")
	}
}
