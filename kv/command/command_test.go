package command

import (
	"encoding/hex"
	"errors"
	"fmt"
	"math"
	"testing"

	pb "go.etcd.io/etcd/api/v3/etcdserverpb"
	"google.golang.org/protobuf/proto"
)

// TestEncodings holds C1: these bytes are in logs.
func TestEncodings(t *testing.T) {
	mod := &pb.Compare_ModRevision{ModRevision: 7}
	txn := &pb.TxnRequest{
		Compare: []*pb.Compare{{Key: []byte("k"), Target: pb.Compare_MOD, TargetUnion: mod}},
		Success: []*pb.RequestOp{opPut("k")},
	}
	for _, c := range []struct {
		command []byte
		want    string
		request proto.Message
	}{
		{EncodePut(put("k", "v")), "010a016b120176", put("k", "v")},
		{EncodePut(&pb.PutRequest{Key: []byte("k"), Lease: 5, PrevKv: true, IgnoreValue: true}), "010a016b180520012801",
			nil},
		{EncodeDeleteRange(&pb.DeleteRangeRequest{Key: []byte("a"), RangeEnd: []byte("b")}), "020a0161120162", nil},
		{EncodeTxn(txn), "030a0710021a016b300712051203" + "0a016b", nil},
		{EncodeCompaction(&pb.CompactionRequest{Revision: 300}), "0408ac02", &pb.CompactionRequest{Revision: 300}},
		{EncodeLeaseGrant(&pb.LeaseGrantRequest{TTL: 60, ID: 7}), "05083c1007", &pb.LeaseGrantRequest{TTL: 60, ID: 7}},
		{EncodeLeaseRevoke(&pb.LeaseRevokeRequest{ID: 7}), "060807", &pb.LeaseRevokeRequest{ID: 7}},
		{EncodeLeaseExpiry(7, Alone), "060807c03e01", nil},
		{EncodeLeaseExpiry(7, GoesOn), "060807c03e03", nil},
		{EncodeAlarm(&pb.AlarmRequest{
			Action: pb.AlarmRequest_ACTIVATE, MemberID: 7, Alarm: pb.AlarmType_NOSPACE,
		}), "07080110071801", &pb.AlarmRequest{
			Action: pb.AlarmRequest_ACTIVATE, MemberID: 7, Alarm: pb.AlarmType_NOSPACE,
		}},
	} {
		if got := hex.EncodeToString(c.command); got != c.want {
			t.Errorf("command %s, want %s", got, c.want)
		}
		request, err := Decode(c.command)
		if err != nil {
			t.Errorf("command %s: %v", c.want, err)
		}
		if c.request != nil && !proto.Equal(request, c.request) {
			t.Errorf("command %s: %T %v, want %v", c.want, request, request, c.request)
		}
	}
	for _, malformed := range []string{"", "\x00", "\x08", "\x01\x0a\xff", "\x04\x08"} {
		if _, err := Decode([]byte(malformed)); !errors.Is(err, ErrMalformed) {
			t.Errorf("command %x: %v", malformed, err)
		}
	}
}

// An expiry is known as one, and does to every reader, also one of before, what a revocation does. No client's request
// is taken for one.
func TestAnExpiryIsARevocationWithAMark(t *testing.T) {
	for _, id := range []int64{1, 7, 8000, 1 << 40, math.MaxInt64, -1} {
		asked, expired := EncodeLeaseRevoke(&pb.LeaseRevokeRequest{ID: id}), EncodeLeaseExpiry(id, Alone)
		if IsLeaseExpiry(asked) || !IsLeaseExpiry(expired) {
			t.Errorf("lease %d: %x is an expiry: %t, %x: %t", id, asked, IsLeaseExpiry(asked), expired,
				IsLeaseExpiry(expired))
		}
		var r Request
		if err := r.Decode(expired); err != nil || r.Revoke.GetID() != id {
			t.Errorf("lease %d: %v, %v", id, r.Revoke, err)
		}
		forged := &pb.LeaseRevokeRequest{}
		if err := proto.Unmarshal(expired[1:], forged); err != nil || IsLeaseExpiry(EncodeLeaseRevoke(forged)) {
			t.Errorf("lease %d: a client's request passes for an expiry: %v", id, err)
		}
	}
	if IsLeaseExpiry(nil) || IsLeaseExpiry(EncodePut(put("k", string(Alone.mark())))) {
		t.Error("something else passes for an expiry")
	}
}

// Steps of an end that nodes from before would take for another one are known as such, by whoever writes and whoever
// applies them. Nothing else is.
func TestStepsOfTheEndOfALease(t *testing.T) {
	part := func(s Step) []byte { return EncodeLeaseExpiryPart(7, [][]byte{[]byte("k")}, s) }
	lone := &pb.TxnRequest{Success: []*pb.RequestOp{{Request: &pb.RequestOp_RequestPut{
		RequestPut: put("k", string(Begins.mark())),
	}}}}
	for i, c := range []struct {
		p     []byte
		ends  int64
		step  Step
		needs bool
	}{
		{part(Begins), 7, Begins, true}, {part(GoesOn), 7, GoesOn, true},
		{EncodeLeaseExpiry(7, GoesOn), 7, GoesOn, true},
		{part(Alone), 0, 0, false}, {EncodeLeaseExpiry(7, Alone), 0, 0, false}, {EncodeTxn(lone), 0, 0, false},
		{EncodePut(put("k", string(GoesOn.mark()))), 0, 0, false},
		{append(EncodeLeaseExpiry(7, Alone), Begins.mark()...), 0, 0, false},
	} {
		var r Request
		if err := r.Decode(c.p); err != nil || r.Ends != c.ends || r.Step != c.step || NeedsEnds(c.p) != c.needs {
			t.Errorf("%d: ends %d, step %d, needs %t, %v", i, r.Ends, r.Step, NeedsEnds(c.p), err)
		}
		if err := r.Decode(EncodeAs(Identity{User: "alice"}, c.p)); err != nil || r.Step != 0 || r.Ends != 0 {
			t.Errorf("%d: asked for by a client, step %d of %d, %v", i, r.Step, r.Ends, err)
		}
	}
}

func put(key, value string) *pb.PutRequest {
	return &pb.PutRequest{Key: []byte(key), Value: []byte(value)}
}

func opPut(key string) *pb.RequestOp {
	return &pb.RequestOp{Request: &pb.RequestOp_RequestPut{RequestPut: put(key, "")}}
}

func opDelete(key, end string) *pb.RequestOp {
	q := &pb.DeleteRangeRequest{Key: []byte(key), RangeEnd: []byte(end)}
	return &pb.RequestOp{Request: &pb.RequestOp_RequestDeleteRange{RequestDeleteRange: q}}
}

func opRange(key, end string) *pb.RequestOp {
	q := &pb.RangeRequest{Key: []byte(key), RangeEnd: []byte(end)}
	return &pb.RequestOp{Request: &pb.RequestOp_RequestRange{RequestRange: q}}
}

func opTxn(success, failure []*pb.RequestOp) *pb.RequestOp {
	q := &pb.TxnRequest{Success: success, Failure: failure}
	return &pb.RequestOp{Request: &pb.RequestOp_RequestTxn{RequestTxn: q}}
}

// TestResults holds C1 and C3: the bytes of results, and what comes out of them.
func TestResults(t *testing.T) {
	r := NewResults(2)
	response := &pb.PutResponse{Header: &pb.ResponseHeader{Revision: 300}}
	r.Put(300)
	r.Done(response)
	for i, want := range codes[1:] {
		r.Refused(fmt.Errorf("wrapped: %w", want))
		if !Carries(want) {
			t.Errorf("%v is not carried", want)
		}
		result := r.All()[2+i]
		if len(result) != 1 || int(result[0]) != i+1 {
			t.Errorf("%v is %x", want, result)
		}
		if _, err := DecodeTxnResult(result); !errors.Is(err, want) {
			t.Errorf("%v comes out as %v", want, err)
		}
	}
	for _, result := range r.All()[:2] {
		if got := hex.EncodeToString(result); got != "000a0318ac02" {
			t.Errorf("result %s", got)
		}
		if got, err := DecodePutResult(result); err != nil || !proto.Equal(got, response) {
			t.Errorf("result %v, %v", got, err)
		}
	}
	if Carries(errors.New("of the engine")) || Carries(ErrTooManyOps) {
		t.Error("an error without a code is carried")
	}
	for _, malformed := range []string{"", "\x1d", "\x01\x00", "\x00\x0a\xff"} {
		if got, err := DecodePutResult([]byte(malformed)); !errors.Is(err, ErrMalformed) {
			t.Errorf("result %x: %v, %v", malformed, got, err)
		}
	}
	refused := NewResults(1)
	refused.Refused(ErrTooManyOps)
	if err := Refusal(refused.All()[0]); !errors.Is(err, ErrMalformed) {
		t.Errorf("a refusal without a code comes out as %v", err)
	}
	var nobody *Results
	nobody.Put(1)
	nobody.Done(response)
	nobody.Refused(ErrCompacted)
	if nobody.All() != nil {
		t.Error("nil gathers")
	}
}

// TestNeedsScan goes through what the batch has to be an index for.
func TestNeedsScan(t *testing.T) {
	txn := func(ops ...*pb.RequestOp) []byte { return EncodeTxn(&pb.TxnRequest{Failure: ops}) }
	past := opRange("k", "")
	past.GetRequestRange().Revision = 3
	for _, c := range []struct {
		command []byte
		want    bool
	}{
		{EncodePut(put("k", "v")), false},
		{EncodeDeleteRange(&pb.DeleteRangeRequest{Key: []byte("k")}), false},
		{EncodeDeleteRange(&pb.DeleteRangeRequest{Key: []byte("k"), RangeEnd: []byte("l")}), true},
		{EncodeLeaseRevoke(&pb.LeaseRevokeRequest{ID: 1}), true},
		{EncodeLeaseGrant(&pb.LeaseGrantRequest{ID: 1}), false},
		{txn(opPut("k"), opRange("k", ""), opDelete("l", "")), false},
		{txn(opRange("k", "l")), true},
		{txn(opDelete("k", "l")), true},
		{txn(past), true},
		{txn(opTxn(nil, []*pb.RequestOp{opRange("k", "l")})), true},
		{EncodeTxn(&pb.TxnRequest{Compare: []*pb.Compare{{Key: []byte("k"), RangeEnd: []byte("l")}}}), true},
		{EncodeAs(alice, EncodePut(put("k", "v"))), false},
		{EncodePut(&pb.PutRequest{Key: []byte("k"), Lease: 7}), false},
		{EncodeAs(alice, EncodePut(&pb.PutRequest{Key: []byte("k"), Lease: 7})), true}, // keys of the lease are checked
		{EncodeAs(alice, txn(opTxn(nil, []*pb.RequestOp{opPut("k"), opPutTo("k", 7)}))), true},
		{EncodeAs(alice, txn(opPut("k"))), false},
	} {
		var r Request
		if err := r.Decode(c.command); err != nil {
			t.Fatal(err)
		}
		if r.NeedsScan() != c.want {
			t.Errorf("command %x: %t", c.command, r.NeedsScan())
		}
	}
}
