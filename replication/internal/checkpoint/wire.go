package checkpoint

import (
	"encoding/binary"
	"fmt"

	"github.com/mimir-kv/mimir/replication/internal/checksum"
)

// Kinds of message: the first byte of each. The values are on the wire: never renumber.
const (
	kindManifest byte = 1 // sender: the manifest
	kindWant     byte = 2 // receiver: a list of files, and from where on
	kindChunk    byte = 3 // sender: a run of bytes of one file
	kindDone     byte = 4 // receiver: everything is verified and durable
	kindFailed   byte = 5 // receiver: gave up, and why
	kindWork     byte = 6 // either, if both know it: works, and how far it is
)

const (
	// chunkBytes is the most data of one chunk message.
	chunkBytes  = 512 << 10
	chunkHeader = 1 + 4 + 8 + 4
	wantBytes   = 4 + 8
	maxReason   = 1 << 10
	workBytes   = 1 + 8 + crcBytes
)

// want asks for one file from an offset on.
type want struct {
	file   int
	offset int64
}

// chunk is a run of bytes of one file.
type chunk struct {
	file   int
	offset int64
	data   []byte
}

func encodeWants(ws []want) []byte {
	p := append(make([]byte, 0, 1+wantBytes*len(ws)+crcBytes), kindWant)
	for _, w := range ws {
		p = binary.LittleEndian.AppendUint32(p, uint32(w.file))
		p = binary.LittleEndian.AppendUint64(p, uint64(w.offset))
	}
	return binary.LittleEndian.AppendUint32(p, checksum.Of(p))
}

// decodeWants checks every want against m.
func decodeWants(p []byte, m *Manifest) ([]want, error) {
	if len(p) < 1+crcBytes || p[0] != kindWant || (len(p)-1-crcBytes)%wantBytes != 0 {
		return nil, fmt.Errorf("%w: want of %d bytes", ErrFormat, len(p))
	}
	body := p[:len(p)-crcBytes]
	if got, want := checksum.Of(body), binary.LittleEndian.Uint32(p[len(body):]); got != want {
		return nil, fmt.Errorf("%w: want with checksum %08x, want %08x", ErrCorrupt, got, want)
	}
	ws := make([]want, 0, len(body)/wantBytes)
	for body = body[1:]; len(body) > 0; body = body[wantBytes:] {
		file, offset := binary.LittleEndian.Uint32(body), binary.LittleEndian.Uint64(body[4:])
		if uint64(file) >= uint64(len(m.Files)) || offset > uint64(m.Files[file].Bytes) {
			return nil, fmt.Errorf("%w: file %d of %d wanted from byte %d", ErrFormat, file, len(m.Files), offset)
		}
		ws = append(ws, want{file: int(file), offset: int64(offset)})
	}
	return ws, nil
}

// sealChunk fills in the header of p, whose data begins at chunkHeader.
func sealChunk(p []byte, file int, offset int64) {
	p[0] = kindChunk
	binary.LittleEndian.PutUint32(p[1:], uint32(file))
	binary.LittleEndian.PutUint64(p[5:], uint64(offset))
	binary.LittleEndian.PutUint32(p[13:], chunkSum(p))
}

// chunkSum covers the whole message but the checksum itself.
func chunkSum(p []byte) uint32 {
	return checksum.Add(checksum.Of(p[:13]), p[chunkHeader:])
}

// decodeChunk checks p against the file it must continue: data aliases p.
func decodeChunk(p []byte, m *Manifest) (chunk, error) {
	if len(p) <= chunkHeader || p[0] != kindChunk {
		return chunk{}, fmt.Errorf("%w: chunk of %d bytes", ErrFormat, len(p))
	}
	if got, want := chunkSum(p), binary.LittleEndian.Uint32(p[13:]); got != want {
		return chunk{}, fmt.Errorf("%w: chunk with checksum %08x, want %08x", ErrCorrupt, got, want)
	}
	file, offset := binary.LittleEndian.Uint32(p[1:]), binary.LittleEndian.Uint64(p[5:])
	data := p[chunkHeader:]
	if uint64(file) >= uint64(len(m.Files)) {
		return chunk{}, fmt.Errorf("%w: chunk of file %d of %d", ErrFormat, file, len(m.Files))
	}
	if size := uint64(m.Files[file].Bytes); offset > size || uint64(len(data)) > size-offset {
		return chunk{}, fmt.Errorf("%w: chunk of %d bytes at %d in a file of %d", ErrFormat, len(data), offset, size)
	}
	return chunk{file: int(file), offset: int64(offset), data: data}, nil
}

// encodeWork says that the sender of the message works, and has gone through so many bytes.
func encodeWork(bytes int64) []byte {
	p := append(make([]byte, 0, workBytes), kindWork)
	p = binary.LittleEndian.AppendUint64(p, uint64(bytes))
	return binary.LittleEndian.AppendUint32(p, checksum.Of(p))
}

func decodeWork(p []byte) (bytes int64, err error) {
	if len(p) != workBytes || p[0] != kindWork {
		return 0, fmt.Errorf("%w: word of %d bytes", ErrFormat, len(p))
	}
	body := p[:len(p)-crcBytes]
	if got, want := checksum.Of(body), binary.LittleEndian.Uint32(p[len(body):]); got != want {
		return 0, fmt.Errorf("%w: word with checksum %08x, want %08x", ErrCorrupt, got, want)
	}
	return int64(binary.LittleEndian.Uint64(body[1:])), nil
}
