package kv

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"math"
)

// Tables: the first byte of every key on disk. README.md has the layout.
const (
	tableAttached  byte = 'A' // lease, user key: the key is attached to the lease
	tableLeases    byte = 'E' // lease: its granted time to live
	tableKeys      byte = 'K' // user key, revision: a version
	tableMeta      byte = 'M' // metadata and state
	tableRevisions byte = 'R' // revision: the user key that changed
)

// A user key is escaped (0x00 becomes 0x00 0xff) and ends with 0x00 0x01, which keeps its order and makes no key the
// prefix of another. A version suffix follows: both numbers inverted, so that the newest version comes first, the
// kind, and the length of the suffix. Every other key ends with 0x01, so that it has no suffix.
const (
	escape      byte = 0x00
	escapedZero byte = 0xff
	terminator  byte = 0x01
	suffixBytes      = 8 + 4 + 1 + 1
)

// Kinds of version.
const (
	kindPut    byte = 0
	kindDelete byte = 1
)

var (
	keyMetadata = []byte{tableMeta, 'm', terminator}
	keyState    = []byte{tableMeta, 's', terminator}
)

// stamp is the place of a change in the history: the revision and its number inside it.
type stamp struct {
	main int64
	sub  uint32
}

// last is the newest stamp that a reader at revision rev may see.
func last(rev int64) stamp { return stamp{main: rev, sub: math.MaxUint32} }

func appendEscaped(dst, key []byte) []byte {
	for {
		i := bytes.IndexByte(key, escape)
		if i < 0 {
			return append(append(dst, key...), escape, terminator)
		}
		dst = append(append(dst, key[:i]...), escape, escapedZero)
		key = key[i+1:]
	}
}

// appendUnescaped undoes appendEscaped.
func appendUnescaped(dst, p []byte) ([]byte, error) {
	if n := len(p); n < 2 || p[n-1] != terminator || p[n-2] != escape {
		return nil, fmt.Errorf("%w: key %x without end", ErrCorrupt, p)
	}
	p = p[:len(p)-2]
	for {
		i := bytes.IndexByte(p, escape)
		if i < 0 {
			return append(dst, p...), nil
		}
		if i+1 >= len(p) || p[i+1] != escapedZero {
			return nil, fmt.Errorf("%w: key %x", ErrCorrupt, p)
		}
		dst = append(append(dst, p[:i]...), 0)
		p = p[i+2:]
	}
}

// appendKeyPrefix appends the key that sorts before all versions of a user key.
func appendKeyPrefix(dst, key []byte) []byte {
	return appendEscaped(append(dst, tableKeys), key)
}

// appendSuffix appends a version suffix. As the end of a seek target it finds at or after the version.
func appendSuffix(dst []byte, at stamp, kind byte) []byte {
	dst = binary.BigEndian.AppendUint64(dst, ^uint64(at.main))
	dst = binary.BigEndian.AppendUint32(dst, ^at.sub)
	return append(dst, kind, suffixBytes)
}

func decodeSuffix(p []byte) (at stamp, kind byte, err error) {
	if len(p) != suffixBytes || p[suffixBytes-1] != suffixBytes || p[suffixBytes-2] > kindDelete {
		return stamp{}, 0, fmt.Errorf("%w: version suffix %x", ErrCorrupt, p)
	}
	at = stamp{main: int64(^binary.BigEndian.Uint64(p)), sub: ^binary.BigEndian.Uint32(p[8:])}
	return at, p[suffixBytes-2], nil
}

func appendRevision(dst []byte, at stamp) []byte {
	dst = binary.BigEndian.AppendUint64(append(dst, tableRevisions), uint64(at.main))
	return append(binary.BigEndian.AppendUint32(dst, at.sub), terminator)
}

func decodeRevision(p []byte) (stamp, error) {
	if len(p) != 14 || p[0] != tableRevisions || p[13] != terminator {
		return stamp{}, fmt.Errorf("%w: revision key %x", ErrCorrupt, p)
	}
	return stamp{main: int64(binary.BigEndian.Uint64(p[1:])), sub: binary.BigEndian.Uint32(p[9:])}, nil
}

func appendLease(dst []byte, id int64) []byte {
	return append(binary.BigEndian.AppendUint64(append(dst, tableLeases), uint64(id)), terminator)
}

func decodeLease(p []byte) (int64, error) {
	if len(p) != 10 || p[0] != tableLeases || p[9] != terminator {
		return 0, fmt.Errorf("%w: lease key %x", ErrCorrupt, p)
	}
	return int64(binary.BigEndian.Uint64(p[1:])), nil
}

const attachedPrefixBytes = 1 + 8

func appendAttached(dst []byte, id int64, key []byte) []byte {
	return appendEscaped(binary.BigEndian.AppendUint64(append(dst, tableAttached), uint64(id)), key)
}

// attachedBounds returns the bounds of all keys attached to a lease.
func attachedBounds(id int64) (lower, upper []byte) {
	lower = append(binary.BigEndian.AppendUint64([]byte{tableAttached}, uint64(id)), 0)
	if uint64(id) == math.MaxUint64 {
		return lower, []byte{tableAttached + 1}
	}
	return lower, append(binary.BigEndian.AppendUint64([]byte{tableAttached}, uint64(id)+1), 0)
}

// bounds returns the bounds of all versions of the keys of a span.
func (s span) bounds() (lower, upper []byte) {
	lower = appendKeyPrefix(nil, s.start)
	switch {
	case s.single():
		// The terminator is below every escaped byte, so this is above all versions of the key and below every other key.
		upper = append([]byte(nil), lower...)
		upper[len(upper)-1]++
	case len(s.end) == 0:
		upper = []byte{tableKeys + 1}
	default:
		upper = appendKeyPrefix(nil, s.end)
	}
	return lower, upper
}
