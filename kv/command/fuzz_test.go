package command

import (
	"testing"

	pb "go.etcd.io/etcd/api/v3/etcdserverpb"
	"google.golang.org/protobuf/proto"
)

func FuzzDecodeCommand(f *testing.F) {
	f.Add(EncodePut(&pb.PutRequest{Key: []byte("a"), Value: []byte("b")}))
	f.Add(EncodeDeleteRange(&pb.DeleteRangeRequest{Key: []byte("a"), RangeEnd: []byte("b")}))
	f.Add(EncodeCompaction(&pb.CompactionRequest{Revision: 3}))
	f.Add(EncodePut(&pb.PutRequest{Key: []byte("k"), Lease: 5, PrevKv: true, IgnoreValue: true}))
	f.Add([]byte{1, 0x0a, 0xff})
	f.Add(EncodeAs(alice, EncodeCompaction(&pb.CompactionRequest{Revision: 3})))
	f.Add(EncodeAs(Identity{User: "u", Revision: 1, Basis: Basis{7}, Present: true}, EncodeOpening()))
	f.Add(EncodeOwn(EncodeLeaseExpiry(7, Alone)))
	f.Add(EncodeFollowed(7, EncodeOpening()))
	f.Add(EncodeAuthEnable(AuthEnable{TokenKey: make([]byte, TokenKeyBytes)}))
	f.Add(append([]byte{byte(tagUserAdd)}, "\x0a\x01u"...))
	f.Fuzz(func(t *testing.T, p []byte) {
		var r Request
		err := r.Decode(p)
		if err == nil && r.Own && r.Identity != (Identity{}) {
			t.Fatalf("of %+v, and of the server itself", r.Identity)
		}
		if inner, id, own, bad := Unwrap(p); bad == nil && len(p) > 0 && tag(p[0]) != tagFollowed &&
			isEnvelope(tag(p[0])) {
			again := EncodeAs(id, inner)
			if own {
				again = EncodeOwn(inner)
			}
			if _, other, same, err := Unwrap(again); err != nil || other != id || same != own {
				t.Fatalf("%+v, %t became %+v, %t: %v", id, own, other, same, err)
			}
		}
		if len(p) == 0 || tag(p[0]) != tagPut {
			return
		}
		// The decoder of puts is our own: it must agree with the library wherever that accepts.
		want := new(pb.PutRequest)
		if wantErr := proto.Unmarshal(p[1:], want); wantErr != nil {
			return
		}
		if err != nil {
			t.Fatalf("refused: %v", err)
		}
		got := &pb.PutRequest{
			Key: r.Put.Key, Value: r.Put.Value, Lease: r.Put.Lease, PrevKv: r.Put.PrevKv,
			IgnoreValue: r.Put.IgnoreValue, IgnoreLease: r.Put.IgnoreLease,
		}
		want.ProtoReflect().SetUnknown(nil)
		if !proto.Equal(got, want) {
			t.Fatalf("got %v, want %v", got, want)
		}
	})
}

func FuzzDecodeResult(f *testing.F) {
	f.Add([]byte{0})
	f.Add([]byte{1})
	f.Add(encode(resultOK, &pb.PutResponse{Header: &pb.ResponseHeader{Revision: 7}}))
	f.Fuzz(func(t *testing.T, p []byte) {
		if r, err := DecodePutResult(p); err == nil && r == nil {
			t.Fatal("neither response nor error")
		}
		_, _ = DecodeTxnResult(p)
	})
}
