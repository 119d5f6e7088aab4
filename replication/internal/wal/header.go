package wal

import (
	"encoding/binary"
	"errors"
	"fmt"

	"go.etcd.io/raft/v3/raftpb"

	"github.com/mimir-kv/mimir/replication/internal/checksum"
)

// ErrVersion means that a segment was written by a newer version of this module: upgrade the node.
var ErrVersion = errors.New("wal: segment of a newer format version")

const (
	headerMagic = "MIMIRWAL"
	// formatVersion is that of header and records. Version 1 is the first.
	formatVersion = 1
	headerBytes   = 128
	// headerIDOffset is where the identity of the log stands.
	headerIDOffset = 104
)

// unknownReach stands for the reach before a segment when no position is known, as after a snapshot was installed.
const unknownReach = ^uint64(0)

// header begins a segment. It is durable before the segment gets its name, and never changes.
type header struct {
	segment   uint64 // its number; never used twice in a directory
	follows   uint64 // the number of the segment before it; zero if the log begins with this one
	sealed    uint64 // where the index record of that segment is, and its entries end
	floor     uint64 // the oldest segment that was part of the log
	prevIndex uint64 // the entry before its first: everything after it in earlier segments is cut
	prevTerm  uint64
	reach     uint64 // the reach of the log before its first entry, or unknownReach
	hardState *raftpb.HardState
	log       logID // since version 1 was extended; former nodes write zeros, and ignore it
}

func (h *header) encode() []byte {
	b := make([]byte, 0, headerBytes)
	b = append(b, headerMagic...)
	b = binary.LittleEndian.AppendUint64(b, formatVersion)
	for _, v := range []uint64{h.segment, h.follows, h.sealed, h.floor, h.prevIndex, h.prevTerm, h.reach} {
		b = binary.LittleEndian.AppendUint64(b, v)
	}
	if h.hardState != nil {
		b = appendHardState(b, h.hardState)
		b = append(b, 1)
	}
	b = append(b, make([]byte, headerIDOffset-len(b))...)
	b = append(b, h.log[:]...)
	b = append(b, make([]byte, headerBytes-4-len(b))...)
	return binary.LittleEndian.AppendUint32(b, checksum.Of(b))
}

// decodeHeader decodes the header of the segment with this number.
func decodeHeader(b []byte, segment uint64) (*header, error) {
	if len(b) < headerBytes || string(b[:8]) != headerMagic {
		return nil, errors.New("no segment header")
	}
	sum := binary.LittleEndian.Uint32(b[headerBytes-4:])
	if sum != checksum.Of(b[:headerBytes-4]) {
		return nil, errors.New("segment header fails its checksum")
	}
	word := func(i int) uint64 { return binary.LittleEndian.Uint64(b[8*i:]) }
	if v := word(1); v != formatVersion {
		return nil, fmt.Errorf("%w: version %d, this node knows %d; upgrade it", ErrVersion, v, formatVersion)
	}
	h := &header{
		segment: word(2), follows: word(3), sealed: word(4), floor: word(5), prevIndex: word(6), prevTerm: word(7),
		reach: word(8), log: logID(b[headerIDOffset : headerIDOffset+len(logID{})]),
	}
	if b[96] == 1 {
		h.hardState = newHardState(word(9), word(10), word(11))
	}
	switch {
	case h.segment != segment:
		return nil, fmt.Errorf("segment header says %d", h.segment)
	case h.floor > h.segment || h.follows >= h.segment || (h.follows == 0) != (h.floor == h.segment):
		return nil, fmt.Errorf("segment header follows %d above floor %d", h.follows, h.floor)
	}
	return h, nil
}
