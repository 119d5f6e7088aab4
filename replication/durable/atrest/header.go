package atrest

import (
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"io/fs"

	"github.com/cockroachdb/pebble/v2/vfs"

	"github.com/mimir-kv/mimir/replication/internal/checksum"
)

const (
	// pageBytes is what comes before the content, so that content which shares a page of the disk without encryption
	// shares one with it.
	pageBytes = 4 << 10
	magic     = "MIMIRENC"
	// formatVersion 1 is the first.
	formatVersion = 1
	headerBytes   = 64
)

var (
	// ErrHeader says that a file is encrypted and the header that says how is not what was written.
	ErrHeader = errors.New("the header of an encrypted file is not what was written")
	// ErrVersion says that a newer version of this module encrypted the file.
	ErrVersion = errors.New("encrypted in a newer format; upgrade mimir")
	// ErrKey says that a file is encrypted with a key that is not at hand.
	ErrKey = errors.New("encrypted with a key that is not at hand")
)

// fileID tells the files of one key apart.
type fileID [16]byte

// kind is how a file may be written.
type kind uint64

const (
	// kindOnce is written from front to back, and no byte twice: AES-256 in counter mode.
	kindOnce kind = 1
	// kindRewritable is written anywhere and again: AES-256 in XTS mode.
	kindRewritable kind = 2
)

// header begins an encrypted file. It never changes.
type header struct {
	key  KeyID
	file fileID
	kind kind
}

func (h header) encode() []byte {
	b := make([]byte, 0, headerBytes)
	b = append(b, magic...)
	b = binary.LittleEndian.AppendUint64(b, formatVersion)
	b = append(b, h.key[:]...)
	b = append(b, h.file[:]...)
	b = binary.LittleEndian.AppendUint64(b, uint64(h.kind))
	b = append(b, make([]byte, headerBytes-4-len(magic)-len(b))...)
	b = append(b, magic...)
	return binary.LittleEndian.AppendUint32(b, checksum.Of(b))
}

// decodeHeader returns the header that b begins with; ok is false if there is none, and the file is plain. The magic is
// there twice, and a byte of each may be damaged: so a damaged header is still known for one, and a plain file is not
// taken for one by what its writer's clients have put into it, which is never where a file begins.
func decodeHeader(b []byte) (h header, ok bool, err error) {
	if len(b) < headerBytes {
		return h, false, nil
	}
	b = b[:headerBytes]
	last := headerBytes - 4
	if !isMagic(b) || !isMagic(b[last-len(magic):]) {
		return h, false, nil
	}
	if binary.LittleEndian.Uint32(b[last:]) != checksum.Of(b[:last]) {
		return h, true, ErrHeader
	}
	h.kind = kind(binary.LittleEndian.Uint64(b[40:]))
	if v := binary.LittleEndian.Uint64(b[8:]); v != formatVersion || h.kind != kindOnce && h.kind != kindRewritable {
		return h, true, fmt.Errorf("%w: version %d, kind %d", ErrVersion, v, h.kind)
	}
	copy(h.key[:], b[16:])
	copy(h.file[:], b[24:])
	return h, true, nil
}

// isMagic reports whether b begins with the magic, but for a byte.
func isMagic(b []byte) bool {
	wrong := 0
	for i := range len(magic) {
		if b[i] != magic[i] {
			wrong++
		}
	}
	return wrong <= 1
}

// readHeader reads that of an open file.
func readHeader(f io.ReaderAt, name string) (h header, ok bool, err error) {
	b := make([]byte, headerBytes)
	n, err := f.ReadAt(b, 0)
	if err != nil && err != io.EOF {
		return h, false, err
	}
	if h, ok, err = decodeHeader(b[:n]); errors.Is(err, ErrHeader) {
		return h, ok, fmt.Errorf("%s: %w", name, err) // no fault of the system's
	} else if err != nil {
		return h, ok, &fs.PathError{Op: "open", Path: name, Err: err}
	}
	return h, ok, nil
}

// writeHeader begins an empty file.
func writeHeader(f vfs.File, h header) error {
	page := make([]byte, pageBytes)
	copy(page, h.encode())
	_, err := f.WriteAt(page, 0)
	return err
}

// contentBytes is how long the content of an encrypted file is.
func contentBytes(fileBytes int64, k kind) int64 {
	if k == kindRewritable {
		fileBytes -= slackBytes
	}
	return max(0, fileBytes-pageBytes)
}
