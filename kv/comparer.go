package kv

import (
	"bytes"

	"github.com/cockroachdb/pebble/v2"
)

// comparer orders keys bytewise, and tells Pebble where the version suffix of a key begins, so that Bloom filters cover all
// versions of a key at once and older versions can be stepped over. Only keys made in keys.go may be given to it, as
// bounds and seek targets too. The name is on disk: a change of order or split needs a new one.
var comparer = &pebble.Comparer{
	Name:                 "mimir.kv.1",
	Compare:              bytes.Compare,
	Equal:                bytes.Equal,
	ComparePointSuffixes: bytes.Compare,
	CompareRangeSuffixes: bytes.Compare,
	Split:                split,
	AbbreviatedKey:       pebble.DefaultComparer.AbbreviatedKey,
	FormatKey:            pebble.DefaultComparer.FormatKey,
	Separator:            separator,
	Successor:            func(dst, a []byte) []byte { return append(dst, a...) },
	ImmediateSuccessor:   immediateSuccessor,
}

// split returns the length of a key without its version suffix. A suffix ends with its own length, and nothing else ends
// with that byte.
func split(key []byte) int {
	if n := len(key); n >= suffixBytes && key[n-1] == suffixBytes {
		return n - suffixBytes
	}
	return len(key)
}

// separator finds a short key k with a <= k < b for index blocks. It shortens prefixes only, so that what it returns is
// split rightly.
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

// immediateSuccessor appends the smallest key without suffix above all versions of a, which has none. Such keys end
// with the terminator, and no key has the byte after it in that place.
func immediateSuccessor(dst, a []byte) []byte {
	dst = append(dst, a...)
	dst[len(dst)-1]++
	return dst
}
