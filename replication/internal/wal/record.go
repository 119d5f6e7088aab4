package wal

import (
	"encoding/binary"
	"errors"
	"fmt"
	"slices"

	"go.etcd.io/raft/v3/raftpb"

	"github.com/mimir-kv/mimir/replication/internal/checksum"
)

// recordKind tells what a record holds. The values are on disk: never renumber.
type recordKind byte

const (
	kindEntry     recordKind = 1 // an entry of the Raft log
	kindHardState recordKind = 2 // term, vote, commit
	kindFloor     recordKind = 3 // index is the number of the oldest segment that is still part of the log
	kindIndex     recordKind = 4 // the sparse index of the segment, written when it is sealed
	kindMark      recordKind = 5 // nothing: its synced field proves that everything before it was durable
)

const (
	recordHeaderBytes = 40
	recordAlignment   = 8
	hardStateBytes    = 24
	// maxDataBytes bounds the data of one record, so that no offset ever leaves 32 bits.
	maxDataBytes = 1 << 30
)

// errInvalid says that no record of this segment begins at an offset, or that its data is damaged.
var errInvalid = errors.New("no valid record")

// record is one record of a segment. Its data aliases the buffer it was decoded from.
type record struct {
	kind      recordKind
	entryType raftpb.EntryType
	index     uint64
	term      uint64
	// synced is an offset in this segment up to which everything was durable when the record was written. It tells a
	// tail that a crash tore from damage to what had been safe.
	synced int64
	data   []byte
}

// recordBytes returns what a record with so much data takes in a segment.
func recordBytes(dataBytes int) int64 {
	return (int64(recordHeaderBytes+dataBytes) + recordAlignment - 1) &^ (recordAlignment - 1)
}

// recordSeed makes a checksum depend on the segment and the place in it: bytes of an earlier use of the file, or of
// another place, never validate. The product is a bijection, so that two segments never share the seed of an offset.
func recordSeed(segment uint64, offset int64) uint32 {
	return uint32(segment)*2654435761 ^ uint32(offset)
}

// appendRecord appends the encoding of r to dst, for the given offset of the given segment. See README.md for the
// bytes.
func appendRecord(dst []byte, segment uint64, offset int64, r record) []byte {
	size := int(recordBytes(len(r.data)))
	begin := len(dst)
	dst = slices.Grow(dst, size)[:begin+size]
	b := dst[begin:]
	copy(b[recordHeaderBytes:], r.data)
	clear(b[recordHeaderBytes+len(r.data):])
	binary.LittleEndian.PutUint32(b[4:], checksum.Of(r.data))
	binary.LittleEndian.PutUint32(b[8:], uint32(len(r.data)))
	binary.LittleEndian.PutUint32(b[12:], uint32(r.synced))
	binary.LittleEndian.PutUint64(b[16:], r.index)
	binary.LittleEndian.PutUint64(b[24:], r.term)
	binary.LittleEndian.PutUint64(b[32:], uint64(r.kind)|uint64(byte(r.entryType))<<8)
	binary.LittleEndian.PutUint32(b, checksum.Add(recordSeed(segment, offset), b[4:recordHeaderBytes]))
	return dst
}

// decodeRecordHeader decodes the header at the beginning of b, and returns how many bytes of data follow and their
// checksum. ok is false if no record of this segment begins at this offset.
func decodeRecordHeader(b []byte, segment uint64, offset int64) (r record, dataBytes int, dataSum uint32, ok bool) {
	if len(b) < recordHeaderBytes || b[32] == 0 || recordKind(b[32]) > kindMark {
		return record{}, 0, 0, false
	}
	sum := checksum.Add(recordSeed(segment, offset), b[4:recordHeaderBytes])
	length := binary.LittleEndian.Uint32(b[8:])
	if sum != binary.LittleEndian.Uint32(b) || length > maxDataBytes {
		return record{}, 0, 0, false
	}
	return record{
		kind:      recordKind(b[32]),
		entryType: raftpb.EntryType(b[33]),
		synced:    int64(binary.LittleEndian.Uint32(b[12:])),
		index:     binary.LittleEndian.Uint64(b[16:]),
		term:      binary.LittleEndian.Uint64(b[24:]),
	}, int(length), binary.LittleEndian.Uint32(b[4:]), true
}

// appendHardState appends the data of a hard state record.
func appendHardState(dst []byte, hs *raftpb.HardState) []byte {
	dst = binary.LittleEndian.AppendUint64(dst, hs.GetTerm())
	dst = binary.LittleEndian.AppendUint64(dst, hs.GetVote())
	return binary.LittleEndian.AppendUint64(dst, hs.GetCommit())
}

func decodeHardState(b []byte) (*raftpb.HardState, error) {
	if len(b) != hardStateBytes {
		return nil, fmt.Errorf("hard state of %d bytes", len(b))
	}
	return newHardState(binary.LittleEndian.Uint64(b), binary.LittleEndian.Uint64(b[8:]),
		binary.LittleEndian.Uint64(b[16:])), nil
}

func newHardState(term, vote, commit uint64) *raftpb.HardState {
	return &raftpb.HardState{Term: &term, Vote: &vote, Commit: &commit}
}
