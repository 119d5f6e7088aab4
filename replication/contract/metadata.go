package contract

import (
	"encoding/binary"
	"errors"
	"fmt"

	"github.com/mimir-kv/mimir/replication/internal/checksum"
)

// Metadata is what the library must find again in the storage, saved in the same atomic write as the commands
// (invariant 5). A storage keeps the bytes of MarshalBinary under a key of its own, and may read the exported fields.
type Metadata struct {
	AppliedIndex uint64 // of the last Raft entry applied
	AppliedTerm  uint64
	Epoch        Epoch
	Position     Position
	Chain        Chain
	// Record holds the rest of the library's replicated state, opaque to the storage.
	Record []byte
}

// ErrMetadata says that bytes are not a Metadata, or are damaged.
var ErrMetadata = errors.New("replication: malformed metadata")

const (
	metadataVersion = 1
	metadataFixed   = 1 + 8 + 8 + 8 + 8 + 32
)

// AppendBinary appends the encoding to dst: version, fields in order, record, CRC-32C of all before it.
func (m *Metadata) AppendBinary(dst []byte) ([]byte, error) {
	start := len(dst)
	dst = append(dst, metadataVersion)
	for _, v := range []uint64{m.AppliedIndex, m.AppliedTerm, uint64(m.Epoch), uint64(m.Position)} {
		dst = binary.LittleEndian.AppendUint64(dst, v)
	}
	dst = append(dst, m.Chain[:]...)
	dst = append(dst, m.Record...)
	return binary.LittleEndian.AppendUint32(dst, checksum.Of(dst[start:])), nil
}

// MarshalBinary returns the encoding.
func (m *Metadata) MarshalBinary() ([]byte, error) { return m.AppendBinary(nil) }

// UnmarshalBinary decodes p. Record does not alias p.
func (m *Metadata) UnmarshalBinary(p []byte) error {
	if len(p) < metadataFixed+4 || p[0] != metadataVersion {
		return fmt.Errorf("%w: %d bytes", ErrMetadata, len(p))
	}
	body, sum := p[:len(p)-4], binary.LittleEndian.Uint32(p[len(p)-4:])
	if got := checksum.Of(body); got != sum {
		return fmt.Errorf("%w: checksum %08x, want %08x", ErrMetadata, got, sum)
	}
	m.AppliedIndex = binary.LittleEndian.Uint64(body[1:])
	m.AppliedTerm = binary.LittleEndian.Uint64(body[9:])
	m.Epoch = Epoch(binary.LittleEndian.Uint64(body[17:]))
	m.Position = Position(binary.LittleEndian.Uint64(body[25:]))
	copy(m.Chain[:], body[33:])
	m.Record = append([]byte(nil), body[metadataFixed:]...)
	return nil
}
