package events

import (
	"bytes"
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"hash/crc32"
	"time"

	"github.com/mimir-kv/mimir/replication"
)

// Record is an event as a node keeps it.
type Record struct {
	Seq uint64 `json:"seq"` // in the log of the node, from 1 on
	// At is when this node wrote it down, by its wall clock.
	At time.Time `json:"at"`
	replication.Event
}

const (
	magic          = "MIMIREV"
	version        = 1
	headerBytes    = 28
	objectHead     = 12
	mostEventBytes = 1 << 20
)

var castagnoli = crc32.MakeTable(crc32.Castagnoli)

// errDamaged says that a file is not what was written, and errCut that it only ends too early.
var (
	errDamaged = errors.New("damaged")
	errCut     = errors.New("cut short")
)

// appendHeader appends the header of a file that begins with the event number first.
func appendHeader(p []byte, identity, first uint64) []byte {
	at := len(p)
	p = append(append(p, magic...), version)
	p = binary.LittleEndian.AppendUint64(p, identity)
	p = binary.LittleEndian.AppendUint64(p, first)
	return binary.LittleEndian.AppendUint32(p, crc32.Checksum(p[at:], castagnoli))
}

func decodeHeader(p []byte) (identity, first uint64, err error) {
	switch {
	case len(p) < headerBytes:
		return 0, 0, fmt.Errorf("%w: %d bytes", errCut, len(p))
	case string(p[:len(magic)]) != magic:
		return 0, 0, fmt.Errorf("%w: it begins with %q", errDamaged, p[:len(magic)])
	case p[len(magic)] != version:
		return 0, 0, fmt.Errorf("%w: format %d, this version knows %d", errDamaged, p[len(magic)], version)
	case crc32.Checksum(p[:headerBytes-4], castagnoli) != binary.LittleEndian.Uint32(p[headerBytes-4:]):
		return 0, 0, fmt.Errorf("%w: the checksum of its header is another", errDamaged)
	}
	return binary.LittleEndian.Uint64(p[8:]), binary.LittleEndian.Uint64(p[16:]), nil
}

// appendRecord appends an event.
func appendRecord(p []byte, r *Record) ([]byte, error) {
	object, err := json.Marshal(r)
	if err != nil {
		return p, err
	}
	if len(object) > mostEventBytes {
		return p, fmt.Errorf("an event of %d bytes, at most %d are possible", len(object), mostEventBytes)
	}
	at := len(p)
	p = binary.LittleEndian.AppendUint32(p, uint32(len(object)))
	p = binary.LittleEndian.AppendUint32(p, crc32.Checksum(p[at:], castagnoli))
	p = binary.LittleEndian.AppendUint32(p, crc32.Checksum(object, castagnoli))
	return append(p, object...), nil
}

// decodeRecords returns the events of a file behind its header, up to where they cannot be read, and why; good is how
// many bytes they take.
func decodeRecords(p []byte, first uint64) (list []Record, good int, err error) {
	for good < len(p) {
		rest := p[good:]
		if len(rest) < objectHead || len(bytes.Trim(rest, "\x00")) == 0 { // a file may have grown before it was written
			return list, good, errCut
		}
		n := int(binary.LittleEndian.Uint32(rest))
		if n > mostEventBytes || crc32.Checksum(rest[:4], castagnoli) != binary.LittleEndian.Uint32(rest[4:]) {
			return list, good, fmt.Errorf("%w: the length of event %d, %d bytes", errDamaged, first, n)
		}
		if len(rest) < objectHead+n {
			return list, good, errCut
		}
		object := rest[objectHead : objectHead+n]
		if crc32.Checksum(object, castagnoli) != binary.LittleEndian.Uint32(rest[8:]) {
			return list, good, fmt.Errorf("%w: the checksum of event %d is another", errDamaged, first)
		}
		var r Record
		if err := json.Unmarshal(object, &r); err != nil {
			return list, good, fmt.Errorf("%w: event %d: %w", errDamaged, first, err)
		}
		if r.Seq != first {
			return list, good, fmt.Errorf("%w: event %d where %d belongs", errDamaged, r.Seq, first)
		}
		list, good, first = append(list, r), good+objectHead+n, first+1
	}
	return list, good, nil
}
