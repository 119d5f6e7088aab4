package command

import (
	"encoding/hex"
	"errors"
	"testing"

	pb "go.etcd.io/etcd/api/v3/etcdserverpb"
)

// TestEncodingsOfWhatIsFollowed holds C1 for what comes from an etcd, and what their results say.
func TestEncodingsOfWhatIsFollowed(t *testing.T) {
	txn := EncodeFollowed(300, EncodeTxn(&pb.TxnRequest{Success: []*pb.RequestOp{opPut("k")}}))
	for _, c := range []struct {
		command []byte
		want    string
		after   int64
	}{
		{txn, "14ac0203120512030a016b", 300},
		{EncodeFollowed(1, EncodeLeaseGrant(&pb.LeaseGrantRequest{TTL: 5, ID: 7})), "14010508051007", 1},
		{EncodeFollowed(1, EncodeLeaseRevoke(&pb.LeaseRevokeRequest{ID: 7})), "1401060807", 1},
		{EncodeFollowed(1, EncodeOpening()), "140107080218e807", 1},
	} {
		var r Request
		err := r.Decode(c.command)
		if got := hex.EncodeToString(c.command); err != nil || got != c.want || !r.Followed || !r.Own ||
			r.After != c.after || !NeedsUsers(c.command) {
			t.Errorf("%s, want %s, became %+v, %v", got, c.want, &r, err)
		}
		inner, id, own, err := Unwrap(c.command)
		if err != nil || id != (Identity{}) || !own || string(EncodeFollowed(c.after, inner)) != string(c.command) {
			t.Errorf("%s: in it is %x, %+v, %t, %v", c.want, inner, id, own, err)
		}
		if err := r.Decode(EncodePut(put("k", "v"))); err != nil || r.Followed || r.After != 0 || r.Own {
			t.Errorf("a put behind it is %+v, %v", &r, err)
		}
	}
	var r Request
	for _, p := range []string{"\x14", "\x14\x01", "\x14\x80", "\x14\x01\x14\x01\x03", "\x14\x01\x01\x0a\x01k",
		"\x14\x01\x04", "\x08\x00\x00\x14\x01\x03", "\x14\xff\xff\xff\xff\xff\xff\xff\xff\xff\x01\x03"} {
		if err := r.Decode([]byte(p)); !errors.Is(err, ErrMalformed) {
			t.Errorf("%x: %v", p, err)
		}
		if _, _, _, err := Unwrap([]byte(p)); !errors.Is(err, ErrMalformed) {
			t.Errorf("%x in it: %v", p, err)
		}
	}
	out := NewResults(9)
	out.Done(&pb.TxnResponse{Succeeded: true})
	out.Done(&pb.TxnResponse{})
	out.Refused(ErrFollowsNot)
	for i, want := range []error{nil, ErrParted, ErrFollowsNot} {
		if err := CheckFollowed(txn, out.All()[i]); !errors.Is(err, want) {
			t.Errorf("result %d: %v, want %v", i, err, want)
		}
	}
}
