package etcd

import (
	"encoding/binary"
	"errors"
	"fmt"
	"math"

	"google.golang.org/protobuf/encoding/protowire"

	"github.com/mimir-kv/mimir/kv/mvcc"
)

// ErrBroken says that a file is no whole snapshot of etcd.
var ErrBroken = errors.New("not a whole snapshot of etcd")

// Buckets of an etcd, and keys in some of them.
const (
	bucketAlarm     = "alarm"
	bucketAuth      = "auth"
	bucketAuthRoles = "authRoles"
	bucketAuthUsers = "authUsers"
	bucketCluster   = "cluster"
	bucketKey       = "key"
	bucketLease     = "lease"
	bucketMembers   = "members"
	bucketRemoved   = "members_removed"
	bucketMeta      = "meta"

	authEnabled     = "authEnabled"
	authRevision    = "authRevision"
	scheduled       = "scheduledCompactRev"
	finished        = "finishedCompactRev"
	consistentIndex = "consistent_index"
	term            = "term"
)

// The key of a change is its revision (8 bytes), '_', its number in the revision (8), and 't' if it deleted the key.
// Numbers are big endian.
const (
	revisionBytes = 8 + 1 + 8
	tombstone     = 't'
)

func encodeRevision(at mvcc.Stamp, deleted bool) []byte {
	p := append(binary.BigEndian.AppendUint64(nil, uint64(at.Main)), '_')
	if p = binary.BigEndian.AppendUint64(p, uint64(at.Sub)); deleted {
		p = append(p, tombstone)
	}
	return p
}

func decodeRevision(p []byte) (at mvcc.Stamp, deleted bool, err error) {
	deleted = len(p) == revisionBytes+1 && p[revisionBytes] == tombstone
	if !deleted && len(p) != revisionBytes || p[8] != '_' {
		return at, false, fmt.Errorf("%w: revision %x", ErrBroken, p)
	}
	main, sub := binary.BigEndian.Uint64(p), binary.BigEndian.Uint64(p[9:])
	if main > math.MaxInt64 || sub > math.MaxUint32 {
		return at, false, fmt.Errorf("%w: revision %x", ErrBroken, p)
	}
	return mvcc.Stamp{Main: int64(main), Sub: uint32(sub)}, deleted, nil
}

// A lease is a message of which the fields 1 and 2 are its number and its time to live in seconds.

func encodeLease(id, ttl int64) []byte {
	p := protowire.AppendTag(nil, 1, protowire.VarintType)
	p = protowire.AppendVarint(p, uint64(id))
	p = protowire.AppendTag(p, 2, protowire.VarintType)
	return protowire.AppendVarint(p, uint64(ttl))
}

func decodeLease(p []byte) (id, ttl int64, err error) {
	for len(p) > 0 {
		number, kind, n := protowire.ConsumeTag(p)
		if n < 0 {
			return 0, 0, fmt.Errorf("%w: lease: %w", ErrBroken, protowire.ParseError(n))
		}
		p = p[n:]
		if kind == protowire.VarintType && (number == 1 || number == 2) {
			v, n := protowire.ConsumeVarint(p)
			if n < 0 {
				return 0, 0, fmt.Errorf("%w: lease: %w", ErrBroken, protowire.ParseError(n))
			}
			if p = p[n:]; number == 1 {
				id = int64(v)
			} else {
				ttl = int64(v)
			}
			continue
		}
		if n = protowire.ConsumeFieldValue(number, kind, p); n < 0 {
			return 0, 0, fmt.Errorf("%w: lease: %w", ErrBroken, protowire.ParseError(n))
		}
		p = p[n:]
	}
	return id, ttl, nil
}
