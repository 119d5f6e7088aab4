package peers

import (
	"encoding/binary"
	"fmt"

	"github.com/mimir-kv/mimir/replication/internal/checksum"
)

// formatVersion is the version of everything that members of a group send each other. 1: the first.
const formatVersion = 1

// envelopeBytes is what stands before the body: the version and the checksum. README.md of raftgroup has the tables.
const envelopeBytes = 1 + 4

// NewEnvelope returns the head of an envelope, to which a body of about bodyBytes is appended; Seal completes it.
func NewEnvelope(bodyBytes int) []byte {
	return append(make([]byte, 0, envelopeBytes+bodyBytes), formatVersion, 0, 0, 0, 0)
}

// Seal writes the checksum of the body into the envelope p, in place, and returns p. Nothing may be appended after it.
func Seal(p []byte) []byte {
	binary.LittleEndian.PutUint32(p[1:], checksum.Of(p[envelopeBytes:]))
	return p
}

// Unseal returns the body of an envelope, which aliases p; ErrFormat if it is of another version or damaged.
func Unseal(p []byte) ([]byte, error) {
	switch {
	case len(p) < envelopeBytes:
		return nil, fmt.Errorf("%w: %d bytes", ErrFormat, len(p))
	case p[0] != formatVersion:
		return nil, fmt.Errorf("%w: version %d, this node knows %d", ErrFormat, p[0], formatVersion)
	}
	body, want := p[envelopeBytes:], binary.LittleEndian.Uint32(p[1:])
	if got := checksum.Of(body); got != want {
		return nil, fmt.Errorf("%w: checksum %08x, want %08x", ErrFormat, got, want)
	}
	return body, nil
}
