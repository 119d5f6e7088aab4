package stream

import (
	"encoding/binary"
	"fmt"

	"github.com/klauspost/compress/zstd"

	"github.com/mimir-kv/mimir/replication/timeline"
	"github.com/mimir-kv/mimir/replication/transport"
)

// A batch is flags, the source's committed position, the size of the plain body, and the body: each payload behind its
// length, all compressed if the flag says so.
const (
	batchHeadBytes  = 1 + 8 + 4
	batchCompressed = 1

	// compressBytes is the size from which a body is worth compressing.
	compressBytes = 4 << 10
	// poorBatches is how many batches are sent plain after one that did not shrink by an eighth.
	poorBatches = 15
	// maxPlainBytes bounds the plain body of a batch: one message is never larger, compressed or not.
	maxPlainBytes = transport.MaxMessageBytes
)

// packer makes batches, reusing its room. It is not safe for concurrent use.
type packer struct {
	encoder *zstd.Encoder // may be shared
	plain   []byte
	poor    int // batches still to be sent plain
}

// pack returns the message for payloads, which the caller owns.
func (p *packer) pack(payloads [][]byte, committed timeline.Position) []byte {
	size := 0
	for _, payload := range payloads {
		size += 4 + len(payload)
	}
	if size < compressBytes || p.poor > 0 {
		p.poor = max(0, p.poor-1)
		m := beginBatch(make([]byte, 0, headBytes+batchHeadBytes+size+sumBytes), 0, committed, size)
		return finish(appendPayloads(m, payloads))
	}
	p.plain = appendPayloads(p.plain[:0], payloads)
	m := beginBatch(make([]byte, 0, headBytes+batchHeadBytes+size/2+sumBytes), batchCompressed, committed, size)
	m = finish(p.encoder.EncodeAll(p.plain, m))
	if len(m) > size-size/8 {
		p.poor = poorBatches
	}
	if cap(p.plain) > 4*maxBatchBytes { // one huge entry must not be kept for ever
		p.plain = nil
	}
	return m
}

func beginBatch(dst []byte, flags byte, committed timeline.Position, size int) []byte {
	m := append(begin(dst, kindBatch), flags)
	m = binary.LittleEndian.AppendUint64(m, uint64(committed))
	return binary.LittleEndian.AppendUint32(m, uint32(size))
}

func appendPayloads(dst []byte, payloads [][]byte) []byte {
	for _, payload := range payloads {
		dst = binary.LittleEndian.AppendUint32(dst, uint32(len(payload)))
		dst = append(dst, payload...)
	}
	return dst
}

// batchHead returns the source's committed position and what a batch takes when it is unpacked, without unpacking it.
func batchHead(body []byte) (committed timeline.Position, size int, err error) {
	if len(body) < batchHeadBytes {
		return 0, 0, fmt.Errorf("%w: batch of %d bytes", ErrProtocol, len(body))
	}
	plain := binary.LittleEndian.Uint32(body[9:])
	if plain > maxPlainBytes {
		return 0, 0, fmt.Errorf("%w: batch of %d bytes, the limit is %d", ErrProtocol, plain, maxPlainBytes)
	}
	return timeline.Position(binary.LittleEndian.Uint64(body[1:])), int(plain), nil
}

// unpack returns the payloads of a batch, appended to dst. They share memory with body, or with room made for them.
func unpack(decoder *zstd.Decoder, body []byte, dst [][]byte) ([][]byte, error) {
	_, size, err := batchHead(body)
	if err != nil {
		return nil, err
	}
	flags, plain := body[0], body[batchHeadBytes:]
	switch flags {
	case 0:
	case batchCompressed:
		if plain, err = decoder.DecodeAll(plain, make([]byte, 0, size)); err != nil {
			return nil, fmt.Errorf("%w: batch: %w", ErrProtocol, err)
		}
	default:
		return nil, fmt.Errorf("%w: batch with flags %#x", ErrProtocol, flags)
	}
	if len(plain) != size {
		return nil, fmt.Errorf("%w: batch of %d bytes, announced %d", ErrProtocol, len(plain), size)
	}
	for len(plain) > 0 {
		if len(plain) < 4 {
			return nil, fmt.Errorf("%w: batch cut short", ErrProtocol)
		}
		n := binary.LittleEndian.Uint32(plain)
		if uint64(n) > uint64(len(plain)-4) {
			return nil, fmt.Errorf("%w: payload of %d bytes, %d left", ErrProtocol, n, len(plain)-4)
		}
		dst = append(dst, plain[4:4+n:4+n])
		plain = plain[4+n:]
	}
	return dst, nil
}
