package snapshot

import (
	"bufio"
	"cmp"
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"fmt"
	"hash"
	"io"
	"strings"

	"github.com/cockroachdb/pebble/v2/vfs"

	"github.com/mimir-kv/mimir/kv/mvcc"
)

// An archive is: magic; for each file the length of its name (2 bytes), of its content (8 bytes), name and content;
// two zero bytes for the end; zero bytes up to a multiple of 512; the SHA-256 of all that. Numbers are little endian.
const (
	archiveMagic    = "MIMIRKV\x01"
	archiveBlock    = 512
	maxArchiveNames = 255
)

type countingHash struct {
	hash.Hash
	n int64
}

func (c *countingHash) Write(p []byte) (int, error) {
	c.n += int64(len(p))
	return c.Hash.Write(p)
}

// padding returns how many zero bytes complete a block.
func (c *countingHash) padding() int { return int(-c.n & (archiveBlock - 1)) }

// Write writes the files of the directory dir to w as an archive.
func Write(w io.Writer, fs vfs.FS, dir string) error {
	names, err := fs.List(dir)
	if err != nil {
		return err
	}
	sum := &countingHash{Hash: sha256.New()}
	out := io.MultiWriter(w, sum)
	if _, err := io.WriteString(out, archiveMagic); err != nil {
		return err
	}
	for _, name := range names {
		if err := writeFile(out, fs, dir, name); err != nil {
			return fmt.Errorf("%s: %w", name, err)
		}
	}
	if _, err := out.Write([]byte{0, 0}); err != nil {
		return err
	}
	if _, err := out.Write(make([]byte, sum.padding())); err != nil {
		return err
	}
	_, err = w.Write(sum.Sum(nil))
	return err
}

func writeFile(out io.Writer, fs vfs.FS, dir, name string) error {
	path := fs.PathJoin(dir, name)
	info, err := fs.Stat(path)
	if err != nil {
		return err
	}
	if info.IsDir() || len(name) > maxArchiveNames {
		return errors.New("not a file of a checkpoint")
	}
	head := binary.LittleEndian.AppendUint16(nil, uint16(len(name)))
	head = binary.LittleEndian.AppendUint64(head, uint64(info.Size()))
	if _, err := out.Write(append(head, name...)); err != nil {
		return err
	}
	f, err := fs.Open(path, vfs.SequentialReadsOption)
	if err != nil {
		return err
	}
	_, err = io.CopyN(out, f, info.Size())
	return cmp.Or(err, f.Close())
}

// Read unpacks an archive into the new directory dir. Any difference from what was written is mvcc.ErrCorrupt.
func Read(r io.Reader, fs vfs.FS, dir string) error {
	if err := fs.MkdirAll(dir, 0o755); err != nil {
		return err
	}
	buffered := bufio.NewReaderSize(r, 1<<20)
	sum := &countingHash{Hash: sha256.New()}
	in := io.TeeReader(buffered, sum)
	magic := make([]byte, len(archiveMagic))
	if _, err := io.ReadFull(in, magic); err != nil || string(magic) != archiveMagic {
		return errors.Join(fmt.Errorf("%w: not a snapshot of this version", mvcc.ErrCorrupt), err)
	}
	for {
		more, err := readFile(in, fs, dir)
		if err != nil {
			return err
		}
		if !more {
			break
		}
	}
	if _, err := io.CopyN(io.Discard, in, int64(sum.padding())); err != nil {
		return fmt.Errorf("%w: snapshot cut short: %w", mvcc.ErrCorrupt, err)
	}
	var want [sha256.Size]byte
	if _, err := io.ReadFull(buffered, want[:]); err != nil || string(sum.Sum(nil)) != string(want[:]) {
		return errors.Join(fmt.Errorf("%w: snapshot does not match its SHA-256", mvcc.ErrCorrupt), err)
	}
	return nil
}

func readFile(in io.Reader, fs vfs.FS, dir string) (more bool, err error) {
	var head [8]byte
	if _, err := io.ReadFull(in, head[:2]); err != nil {
		return false, fmt.Errorf("%w: snapshot cut short: %w", mvcc.ErrCorrupt, err)
	}
	length := binary.LittleEndian.Uint16(head[:])
	if length == 0 {
		return false, nil
	}
	if _, err := io.ReadFull(in, head[:]); err != nil {
		return false, fmt.Errorf("%w: snapshot cut short: %w", mvcc.ErrCorrupt, err)
	}
	size := int64(binary.LittleEndian.Uint64(head[:]))
	name := make([]byte, length)
	if _, err := io.ReadFull(in, name); err != nil {
		return false, fmt.Errorf("%w: snapshot cut short: %w", mvcc.ErrCorrupt, err)
	}
	if length > maxArchiveNames || size < 0 || strings.ContainsAny(string(name), "/\\\x00") || name[0] == '.' {
		return false, fmt.Errorf("%w: file %q of %d bytes in snapshot", mvcc.ErrCorrupt, name, size)
	}
	f, err := fs.Create(fs.PathJoin(dir, string(name)), vfs.WriteCategoryUnspecified)
	if err != nil {
		return false, err
	}
	if _, err := io.CopyN(f, in, size); err != nil {
		return false, cmp.Or(fmt.Errorf("%w: snapshot cut short: %w", mvcc.ErrCorrupt, err), f.Close())
	}
	return true, f.Close()
}
