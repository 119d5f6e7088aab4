package mvcc

import (
	"bytes"

	"github.com/cockroachdb/pebble/v2"
)

// Comparer orders keys bytewise, first without and then by their version suffix, and tells Pebble where that begins,
// so that Bloom filters cover all versions of a key at once and older versions can be stepped over. Only keys made in
// keys.go may be given to it, as bounds and seek targets too. The name is on disk: a change of order or split needs a
// new one.
var Comparer = &pebble.Comparer{
	Name:                 "mimir.kv.1",
	Compare:              compareKeys,
	Equal:                bytes.Equal,
	ComparePointSuffixes: bytes.Compare,
	CompareRangeSuffixes: bytes.Compare,
	Split:                split,
	AbbreviatedKey:       func(key []byte) uint64 { return pebble.DefaultComparer.AbbreviatedKey(key[:split(key)]) },
	FormatKey:            pebble.DefaultComparer.FormatKey,
	Separator:            separator,
	Successor:            func(dst, a []byte) []byte { return append(dst, a...) },
	// A key without suffix ends with the sentinel, the lowest byte, so that nothing fits between it and this.
	ImmediateSuccessor: func(dst, a []byte) []byte { return append(append(dst, a...), sentinel) },
}

// split returns the length of a key without its version suffix. A suffix ends with its own length, and nothing else
// ends with that byte.
func split(key []byte) int {
	if n := len(key); n >= suffixBytes && key[n-1] == suffixBytes {
		return n - suffixBytes
	}
	return len(key)
}

func compareKeys(a, b []byte) int {
	i, j := split(a), split(b)
	if c := bytes.Compare(a[:i], b[:j]); c != 0 {
		return c
	}
	return bytes.Compare(a[i:], b[j:])
}

// separator finds a short key k with a <= k < b for index blocks. It shortens what precedes suffixes only, so that
// what it returns is split rightly.
func separator(dst, a, b []byte) []byte {
	prefix := a[:split(a)]
	if bytes.Equal(prefix, b[:split(b)]) {
		return append(dst, a...)
	}
	start := len(dst)
	dst = pebble.DefaultComparer.Separator(dst, prefix, b[:split(b)])
	if s := dst[start:]; len(s) == 0 || s[len(s)-1] == suffixBytes || bytes.Equal(s, prefix) {
		return append(dst[:start], a...)
	}
	return dst
}
