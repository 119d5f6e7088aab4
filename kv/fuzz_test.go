package kv

import (
	"bytes"
	"strings"
	"testing"

	"github.com/cockroachdb/pebble/v2"
	"github.com/cockroachdb/pebble/v2/vfs"
	pb "go.etcd.io/etcd/api/v3/etcdserverpb"
	"google.golang.org/protobuf/proto"
)

func FuzzDecodeCommand(f *testing.F) {
	f.Add(put("a", "b"))
	f.Add(del("a", "b"))
	f.Add(compact(3))
	f.Add(EncodePut(&pb.PutRequest{Key: []byte("k"), Lease: 5, PrevKv: true, IgnoreValue: true}))
	f.Add([]byte{1, 0x0a, 0xff})
	f.Fuzz(func(t *testing.T, p []byte) {
		var r request
		err := decodeCommand(p, &r)
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
			Key: r.put.Key, Value: r.put.Value, Lease: r.put.Lease, PrevKv: r.put.PrevKv, IgnoreValue: r.put.IgnoreValue, IgnoreLease: r.put.IgnoreLease,
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
	f.Add(encodeResult(&pb.PutResponse{Header: &pb.ResponseHeader{Revision: 7}}))
	f.Fuzz(func(t *testing.T, p []byte) {
		if r, err := DecodePutResult(p); err == nil && r == nil {
			t.Fatal("neither response nor error")
		}
		_, _ = DecodeTxnResult(p)
	})
}

func FuzzOnDisk(f *testing.F) {
	f.Add(newState().jumped().append(nil))
	f.Add(appendKeyPrefix(nil, []byte("a\x00b")))
	f.Add((&version{create: 1, number: 2, lease: 3}).appendHeader(nil))
	f.Add(appendSuffix(nil, stamp{main: 5, sub: 1}, kindPut))
	f.Fuzz(func(t *testing.T, p []byte) {
		if s, err := decodeState(p); err == nil && !bytes.Equal(s.append(nil), p) {
			t.Fatalf("state %x read as %+v", p, s)
		}
		if at, kind, err := decodeSuffix(p); err == nil && !bytes.Equal(appendSuffix(nil, at, kind), p) {
			t.Fatalf("suffix %x", p)
		}
		if at, err := decodeRevision(p); err == nil && !bytes.Equal(appendRevision(nil, at), p) {
			t.Fatalf("revision %x", p)
		}
		if key, err := userKey(p, tableBytes); err == nil && p[0] == tableKeys && !bytes.Equal(appendKeyPrefix(nil, key), p) {
			t.Fatalf("user key %x", p)
		}
		v := version{kind: kindPut}
		_ = v.decode(p)
		if n := split(p); n < 0 || n > len(p) {
			t.Fatalf("split %d of %d", n, len(p))
		}
	})
}

func FuzzReadArchive(f *testing.F) {
	f.Add(archiveMagic)
	f.Add(archiveMagic + "\x01\x00\x03\x00\x00\x00\x00\x00\x00\x00axyz\x00\x00")
	f.Fuzz(func(t *testing.T, p string) {
		fs := vfs.NewMem()
		if err := readArchive(strings.NewReader(p), fs, "dir"); err == nil && !strings.HasPrefix(p, archiveMagic) {
			t.Fatal("accepted")
		}
	})
}

func TestComparer(t *testing.T) {
	var prefixes, suffixes [][]byte
	for _, key := range []string{"", "a", "a\x00", "a\x00\x01", "a\x0e", "ab", "\xff", "0123456789abcd\x0e"} {
		prefixes = append(prefixes, appendKeyPrefix(nil, []byte(key)))
	}
	for _, at := range []stamp{{1, 0}, {1, 1}, {300, 0}, last(7)} {
		suffixes = append(suffixes, appendSuffix(nil, at, kindPut), appendSuffix(nil, at, kindDelete))
	}
	if err := pebble.CheckComparer(comparer, prefixes, suffixes); err != nil {
		t.Fatal(err)
	}
	for i, a := range prefixes {
		for j, b := range prefixes {
			if i == j || bytes.Compare(a, b) > 0 {
				continue
			}
			for _, s := range suffixes {
				k, next := append(bytes.Clone(a), s...), append(bytes.Clone(b), s...)
				sep := comparer.Separator(nil, k, next)
				if compareKeys(k, sep) > 0 || compareKeys(sep, next) >= 0 {
					t.Errorf("separator of %x and %x: %x", k, next, sep)
				}
			}
			if up := comparer.ImmediateSuccessor(nil, a); compareKeys(up, b) > 0 || split(up) != len(up) {
				t.Errorf("successor of %x: %x is above %x", a, up, b)
			}
		}
	}
}
