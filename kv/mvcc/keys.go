package mvcc

import (
	"encoding/binary"
	"fmt"
	"math"

	"github.com/mimir-kv/mimir/kv/command"
)

// Tables: the first byte of every key on disk. README.md has the layout.
const (
	tableAttached  byte = 'A' // lease, user key: the key is attached to the lease
	tableLeases    byte = 'E' // lease: its granted time to live
	tableAuth      byte = 'I' // kind, name: a record of users and roles
	tableKeys      byte = 'K' // user key, revision: a version
	tableMeta      byte = 'M' // metadata and state
	tableRevisions byte = 'R' // revision: the user key that changed
)

// What precedes a version suffix ends with the sentinel, which keeps the order of user keys. The suffix is both numbers
// inverted, so that the newest version comes first, the kind, and its own length, which no sentinel can be taken for.
const (
	sentinel    byte = 0x00
	suffixBytes      = 8 + 4 + 1 + 1
)

var (
	keyAlarms   = []byte{tableMeta, 'a', sentinel}
	keyMetadata = []byte{tableMeta, 'm', sentinel}
	keyState    = []byte{tableMeta, 's', sentinel}
)

// userKey returns the user key in p, which has no suffix, after what names the table. It aliases p.
func userKey(p []byte, tableBytes int) ([]byte, error) {
	if n := len(p); n <= tableBytes || p[n-1] != sentinel {
		return nil, fmt.Errorf("%w: key %x", ErrCorrupt, p)
	}
	return p[tableBytes : len(p)-1], nil
}

// appendKeyPrefix appends the key that sorts before all versions of a user key.
func appendKeyPrefix(dst, key []byte) []byte {
	return append(append(append(dst, tableKeys), key...), sentinel)
}

// appendSuffix appends a version suffix. As the end of a seek target it finds at or after the version.
func appendSuffix(dst []byte, at Stamp, kind byte) []byte {
	dst = binary.BigEndian.AppendUint64(dst, ^uint64(at.Main))
	dst = binary.BigEndian.AppendUint32(dst, ^at.Sub)
	return append(dst, kind, suffixBytes)
}

func decodeSuffix(p []byte) (at Stamp, kind byte, err error) {
	if len(p) != suffixBytes || p[suffixBytes-1] != suffixBytes || p[suffixBytes-2] > KindDelete {
		return Stamp{}, 0, fmt.Errorf("%w: version suffix %x", ErrCorrupt, p)
	}
	at = Stamp{Main: int64(^binary.BigEndian.Uint64(p)), Sub: ^binary.BigEndian.Uint32(p[8:])}
	return at, p[suffixBytes-2], nil
}

func appendRevision(dst []byte, at Stamp) []byte {
	dst = binary.BigEndian.AppendUint64(append(dst, tableRevisions), uint64(at.Main))
	return append(binary.BigEndian.AppendUint32(dst, at.Sub), sentinel)
}

func decodeRevision(p []byte) (Stamp, error) {
	if len(p) != 14 || p[0] != tableRevisions || p[13] != sentinel {
		return Stamp{}, fmt.Errorf("%w: revision key %x", ErrCorrupt, p)
	}
	return Stamp{Main: int64(binary.BigEndian.Uint64(p[1:])), Sub: binary.BigEndian.Uint32(p[9:])}, nil
}

// leaseEnding stands behind the time to live of a lease whose end has begun. Versions that do not know it do not look.
var leaseEnding = []byte{1}

func appendLease(dst []byte, id int64) []byte {
	return append(binary.BigEndian.AppendUint64(append(dst, tableLeases), uint64(id)), sentinel)
}

func decodeLease(p []byte) (int64, error) {
	if len(p) != 10 || p[0] != tableLeases || p[9] != sentinel {
		return 0, fmt.Errorf("%w: lease key %x", ErrCorrupt, p)
	}
	return int64(binary.BigEndian.Uint64(p[1:])), nil
}

// How many bytes precede the user key.
const (
	tableBytes         = 1
	attachedTableBytes = 1 + 8
)

func appendAttached(dst []byte, id int64, key []byte) []byte {
	dst = binary.BigEndian.AppendUint64(append(dst, tableAttached), uint64(id))
	return append(append(dst, key...), sentinel)
}

const authTableBytes = 1 + 1

func appendAuth(dst []byte, kind byte, name string) []byte {
	return append(append(append(dst, tableAuth, kind), name...), sentinel)
}

// attachedBounds returns the bounds of all keys attached to a lease.
func attachedBounds(id int64) (lower, upper []byte) {
	if lower = appendAttached(nil, id, nil); uint64(id) == math.MaxUint64 {
		return lower, []byte{tableAttached + 1}
	}
	return lower, appendAttached(nil, id+1, nil)
}

// AllBounds returns the bounds of everything.
func AllBounds() (lower, upper []byte) { return []byte{tableAttached}, []byte{tableRevisions + 1} }

// tableBounds bounds the table of versions.
func tableBounds() (lower, upper []byte) { return []byte{tableKeys}, []byte{tableKeys + 1} }

// spanBounds returns the bounds of all versions of the keys of a span.
func spanBounds(s command.Span) (lower, upper []byte) {
	lower = appendKeyPrefix(nil, s.Start)
	switch {
	case s.Single():
		upper = Comparer.ImmediateSuccessor(nil, lower)
	case len(s.End) == 0:
		upper = []byte{tableKeys + 1}
	default:
		upper = appendKeyPrefix(nil, s.End)
	}
	return lower, upper
}
