package checkpoint

import (
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"fmt"
	"math"
	"strings"

	"github.com/mimir-kv/mimir/replication/internal/checksum"
)

// Errors of this package, to compare with errors.Is.
var (
	// ErrCorrupt says that bytes are not what their checksum says. A damaged file of a transfer has been removed.
	ErrCorrupt = errors.New("checkpoint: corrupt")
	// ErrFormat says that a manifest or message cannot be understood, or asks for what is not allowed.
	ErrFormat = errors.New("checkpoint: malformed")
	// ErrVersion says that a manifest was written by a newer version.
	ErrVersion = errors.New("checkpoint: manifest of a newer format version; upgrade this node")
	// ErrIncomplete says that a directory holds no complete checkpoint.
	ErrIncomplete = errors.New("checkpoint: incomplete")
	// ErrReceiver wraps the text of the receiver's failure, at the sender.
	ErrReceiver = errors.New("checkpoint: receiver failed")
	// ErrDoubted says that what the receiver got is not what was summed, or was written: with ErrReceiver, at the
	// sender, whose files may have changed since he summed them.
	ErrDoubted = errors.New("checkpoint: the files are not what they were")
	// ErrUnread says that the sender cannot read its own file.
	ErrUnread = errors.New("checkpoint: a file cannot be read")
	// ErrNoSpace says that the receiver's disk cannot hold the checkpoint.
	ErrNoSpace = errors.New("checkpoint: not enough disk space")
)

// Limits of a manifest.
const (
	MaxFiles     = 1 << 18
	MaxMetaBytes = 16 << 20
	MaxNameBytes = 255
)

// FormatVersion of the manifest. Version 1 is the first.
const FormatVersion = 1

// File is one file of a checkpoint.
type File struct {
	// Name is relative to the directory; slashes separate at most two parts.
	Name  string
	Bytes int64
	Sum   [sha256.Size]byte // SHA-256 of the content
}

// Manifest describes a checkpoint. It is immutable once made.
type Manifest struct {
	// ID names the checkpoint: two with the same ID are the same.
	ID [16]byte
	// Meta is opaque to this package, and travels with the files. At most MaxMetaBytes.
	Meta []byte
	// Files are in strictly ascending order of their names.
	Files []File
}

// Bytes returns the size of all files.
func (m *Manifest) Bytes() int64 {
	var n int64
	for i := range m.Files {
		n += m.Files[i].Bytes
	}
	return n
}

const (
	magic         = "MCKP"
	manifestFixed = 4 + 4 + 16 + 4 + 4
	crcBytes      = 4
)

// AppendBinary appends the encoding to dst. It refuses a manifest that UnmarshalBinary would refuse.
func (m *Manifest) AppendBinary(dst []byte) ([]byte, error) {
	if err := m.validate(); err != nil {
		return nil, err
	}
	start := len(dst)
	dst = append(dst, magic...)
	dst = append(dst, FormatVersion, 0, 0, 0)
	dst = append(dst, m.ID[:]...)
	dst = binary.LittleEndian.AppendUint32(dst, uint32(len(m.Meta)))
	dst = binary.LittleEndian.AppendUint32(dst, uint32(len(m.Files)))
	dst = append(dst, m.Meta...)
	for i := range m.Files {
		f := &m.Files[i]
		dst = binary.LittleEndian.AppendUint16(dst, uint16(len(f.Name)))
		dst = append(dst, f.Name...)
		dst = binary.LittleEndian.AppendUint64(dst, uint64(f.Bytes))
		dst = append(dst, f.Sum[:]...)
	}
	return binary.LittleEndian.AppendUint32(dst, checksum.Of(dst[start:])), nil
}

// MarshalBinary returns the encoding.
func (m *Manifest) MarshalBinary() ([]byte, error) { return m.AppendBinary(nil) }

// UnmarshalBinary decodes p, and keeps nothing of it.
func (m *Manifest) UnmarshalBinary(p []byte) error {
	if len(p) < manifestFixed+crcBytes || string(p[:4]) != magic {
		return fmt.Errorf("%w: manifest of %d bytes", ErrFormat, len(p))
	}
	body := p[:len(p)-crcBytes]
	if got, want := checksum.Of(body), binary.LittleEndian.Uint32(p[len(body):]); got != want {
		return fmt.Errorf("%w: manifest checksum %08x, want %08x", ErrCorrupt, got, want)
	}
	if v := body[4]; v != FormatVersion {
		return fmt.Errorf("%w: version %d, this node knows %d", ErrVersion, v, FormatVersion)
	}
	metaBytes := uint64(binary.LittleEndian.Uint32(body[24:]))
	count := uint64(binary.LittleEndian.Uint32(body[28:]))
	rest := body[manifestFixed:]
	if metaBytes > uint64(len(rest)) || count > MaxFiles {
		return fmt.Errorf("%w: manifest with %d bytes of meta and %d files in %d bytes", ErrFormat, metaBytes, count,
			len(p))
	}
	d := Manifest{ID: [16]byte(body[8:24])}
	if metaBytes > 0 {
		d.Meta = append([]byte(nil), rest[:metaBytes]...)
	}
	var err error
	if d.Files, err = decodeFiles(rest[metaBytes:], int(count)); err != nil {
		return err
	}
	if err := d.validate(); err != nil {
		return err
	}
	*m = d
	return nil
}

func decodeFiles(p []byte, count int) ([]File, error) {
	const fixed = 2 + 8 + sha256.Size
	if count*fixed > len(p) {
		return nil, fmt.Errorf("%w: %d files in %d bytes", ErrFormat, count, len(p))
	}
	files := make([]File, count)
	for i := range files {
		if len(p) < fixed {
			return nil, fmt.Errorf("%w: manifest ends in file %d", ErrFormat, i)
		}
		name := int(binary.LittleEndian.Uint16(p))
		if len(p) < fixed+name {
			return nil, fmt.Errorf("%w: manifest ends in file %d", ErrFormat, i)
		}
		size := binary.LittleEndian.Uint64(p[2+name:])
		if size > math.MaxInt64 {
			return nil, fmt.Errorf("%w: file %d of %d bytes", ErrFormat, i, size)
		}
		files[i] = File{Name: string(p[2 : 2+name]), Bytes: int64(size), Sum: [sha256.Size]byte(p[2+name+8:])}
		p = p[fixed+name:]
	}
	if len(p) != 0 {
		return nil, fmt.Errorf("%w: %d bytes after the last file", ErrFormat, len(p))
	}
	return files, nil
}

func (m *Manifest) validate() error {
	if len(m.Meta) > MaxMetaBytes || len(m.Files) > MaxFiles {
		return fmt.Errorf("%w: %d bytes of meta and %d files; the limits are %d and %d",
			ErrFormat, len(m.Meta), len(m.Files), MaxMetaBytes, MaxFiles)
	}
	var total int64
	names := make(map[string]bool, len(m.Files)) // true: a directory
	for i := range m.Files {
		f := &m.Files[i]
		if err := checkName(f.Name); err != nil {
			return err
		}
		if i > 0 && m.Files[i-1].Name >= f.Name {
			return fmt.Errorf("%w: file %q after %q", ErrFormat, f.Name, m.Files[i-1].Name)
		}
		if f.Bytes < 0 || total > math.MaxInt64-f.Bytes {
			return fmt.Errorf("%w: file %q of %d bytes", ErrFormat, f.Name, f.Bytes)
		}
		total += f.Bytes
		names[f.Name] = false
		if parent, _, nested := strings.Cut(f.Name, "/"); nested {
			if dir, taken := names[parent]; taken && !dir {
				return fmt.Errorf("%w: %q is a file and a directory", ErrFormat, parent)
			}
			names[parent] = true
		}
	}
	return nil
}

// checkName refuses every name that could lead out of the directory, mean something to a filesystem, or hit this
// package's own files.
func checkName(name string) error {
	parts := strings.Split(name, "/")
	if len(name) > MaxNameBytes || len(parts) > 2 {
		return fmt.Errorf("%w: file name %.80q", ErrFormat, name)
	}
	for _, part := range parts {
		if part == "" || part == "." || part == ".." || strings.ContainsFunc(part, forbidden) {
			return fmt.Errorf("%w: file name %q", ErrFormat, name)
		}
	}
	if reserved(parts[0]) {
		return fmt.Errorf("%w: file name %q is reserved", ErrFormat, name)
	}
	return nil
}

func forbidden(r rune) bool { return r < ' ' || r == 0x7f || r == '\\' || r == ':' || r == 0xfffd }
