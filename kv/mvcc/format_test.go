package mvcc

import (
	"bytes"
	"testing"

	"github.com/cockroachdb/pebble/v2"
)

func FuzzOnDisk(f *testing.F) {
	f.Add(jumped(f, newState(), Jump{}).append(nil))
	f.Add(Alarms{{Kind: 1, Member: 7}, {Kind: 1, Member: 9}}.Append(nil))
	f.Add(appendKeyPrefix(nil, []byte("a\x00b")))
	f.Add((&Version{Create: 1, Number: 2, Lease: 3}).appendHeader(nil))
	f.Add(appendSuffix(nil, Stamp{Main: 5, Sub: 1}, KindPut))
	f.Fuzz(func(t *testing.T, p []byte) {
		if s, err := decodeState(p); err == nil && !bytes.Equal(s.append(nil), p) {
			t.Fatalf("state %x read as %+v", p, s)
		}
		if s, err := decodeAlarms(p); err == nil && !bytes.Equal(s.Append(nil), p) {
			t.Fatalf("alarms %x read as %+v", p, s)
		}
		if at, kind, err := decodeSuffix(p); err == nil && !bytes.Equal(appendSuffix(nil, at, kind), p) {
			t.Fatalf("suffix %x", p)
		}
		if at, err := decodeRevision(p); err == nil && !bytes.Equal(appendRevision(nil, at), p) {
			t.Fatalf("revision %x", p)
		}
		key, err := userKey(p, tableBytes)
		if err == nil && p[0] == tableKeys && !bytes.Equal(appendKeyPrefix(nil, key), p) {
			t.Fatalf("user key %x", p)
		}
		v := Version{Kind: KindPut}
		_ = v.decode(p)
		if n := split(p); n < 0 || n > len(p) {
			t.Fatalf("split %d of %d", n, len(p))
		}
	})
}

func TestComparer(t *testing.T) {
	var prefixes, suffixes [][]byte
	for _, key := range []string{"", "a", "a\x00", "a\x00\x01", "a\x0e", "ab", "\xff", "0123456789abcd\x0e"} {
		prefixes = append(prefixes, appendKeyPrefix(nil, []byte(key)))
	}
	for _, at := range []Stamp{{1, 0}, {1, 1}, {300, 0}, last(7)} {
		suffixes = append(suffixes, appendSuffix(nil, at, KindPut), appendSuffix(nil, at, KindDelete))
	}
	if err := pebble.CheckComparer(Comparer, prefixes, suffixes); err != nil {
		t.Fatal(err)
	}
	for i, a := range prefixes {
		for j, b := range prefixes {
			if i == j || bytes.Compare(a, b) > 0 {
				continue
			}
			for _, s := range suffixes {
				k, next := append(bytes.Clone(a), s...), append(bytes.Clone(b), s...)
				sep := Comparer.Separator(nil, k, next)
				if compareKeys(k, sep) > 0 || compareKeys(sep, next) >= 0 {
					t.Errorf("separator of %x and %x: %x", k, next, sep)
				}
			}
			if up := Comparer.ImmediateSuccessor(nil, a); compareKeys(up, b) > 0 || split(up) != len(up) {
				t.Errorf("successor of %x: %x is above %x", a, up, b)
			}
		}
	}
}
