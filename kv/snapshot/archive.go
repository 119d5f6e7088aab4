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
	maxArchiveFiles = 1 << 20
	// noteName is a file that comes first and is no part of the checkpoint.
	noteName     = "SNAPSHOT"
	maxNoteBytes = 64 << 10
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

// Write writes the files of the directory dir to w as an archive, with a note of at most 64 KiB for whoever reads it;
// nil is none. A table that is not what Pebble wrote is mvcc.ErrCorrupt, before what rotted of it goes out.
func Write(w io.Writer, fs vfs.FS, dir string, note []byte) error {
	names, err := fs.List(dir)
	if err != nil {
		return err
	}
	sum := &countingHash{Hash: sha256.New()}
	out := io.MultiWriter(w, sum)
	if _, err := io.WriteString(out, archiveMagic); err != nil {
		return err
	}
	if note != nil {
		if _, err := out.Write(append(fileHead(noteName, int64(len(note))), note...)); err != nil {
			return err
		}
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
	if _, err := out.Write(fileHead(name, info.Size())); err != nil {
		return err
	}
	var table *blocks
	if strings.HasSuffix(name, tableSuffix) {
		if table, err = blocksOf(fs, path); err != nil {
			return err
		}
		out = io.MultiWriter(table, out)
	}
	f, err := fs.Open(path, vfs.SequentialReadsOption)
	if err != nil {
		return err
	}
	_, err = io.CopyN(out, f, info.Size())
	if err == nil && table != nil {
		err = table.end()
	}
	return cmp.Or(err, f.Close())
}

func fileHead(name string, size int64) []byte {
	head := binary.LittleEndian.AppendUint16(nil, uint16(len(name)))
	head = binary.LittleEndian.AppendUint64(head, uint64(size))
	return append(head, name...)
}

// Read unpacks an archive into the new directory dir. Any difference from what was written is mvcc.ErrCorrupt. What
// stands behind it is not looked at, though some of it may be consumed: a file may go on with what is not the store's.
func Read(r io.Reader, fs vfs.FS, dir string) error {
	if err := fs.MkdirAll(dir, 0o700); err != nil {
		return err
	}
	_, err := walk(bufio.NewReaderSize(r, 1<<20), func(name string, size int64, content io.Reader) error {
		f, err := fs.Create(fs.PathJoin(dir, name), vfs.WriteCategoryUnspecified)
		if err != nil {
			return err
		}
		_, err = io.CopyN(f, content, size)
		return cmp.Or(err, f.Close())
	})
	return err
}

// Verify reads an archive to its end, and returns the note in it, nil if there is none. Nothing of r beyond it is
// consumed. Any difference from what was written is mvcc.ErrCorrupt.
func Verify(r *bufio.Reader) (note []byte, err error) {
	return walk(r, func(_ string, size int64, content io.Reader) error {
		_, err := io.CopyN(io.Discard, content, size)
		return err
	})
}

// ReadNote returns the note with which an archive begins, nil if it has none, and reads no further. Nothing is known of
// what comes behind it.
func ReadNote(r io.Reader) ([]byte, error) {
	if err := readMagic(r); err != nil {
		return nil, err
	}
	name, size, err := readHead(r)
	if err != nil || name != noteName {
		return nil, err
	}
	if size > maxNoteBytes {
		return nil, fmt.Errorf("%w: note of %d bytes in snapshot", mvcc.ErrCorrupt, size)
	}
	note := make([]byte, size)
	if _, err := io.ReadFull(r, note); err != nil {
		return nil, unread(err)
	}
	return note, nil
}

// walk calls each with every file of the checkpoint in an archive, whose content it has to read, and returns the note.
func walk(r *bufio.Reader, each func(name string, size int64, content io.Reader) error) (note []byte, err error) {
	sum := &countingHash{Hash: sha256.New()}
	in := io.TeeReader(r, sum)
	if err := readMagic(in); err != nil {
		return nil, err
	}
	seen := map[string]bool{}
	for {
		name, size, err := readHead(in)
		if err != nil || name == "" {
			if err == nil {
				err = readEnd(r, in, sum)
			}
			return note, err
		}
		switch {
		case seen[name] || len(seen) == maxArchiveFiles:
			return nil, fmt.Errorf("%w: file %q is the second one of its name in the snapshot, or one too many",
				mvcc.ErrCorrupt, name)
		case name == noteName && size > maxNoteBytes:
			return nil, fmt.Errorf("%w: note of %d bytes in snapshot", mvcc.ErrCorrupt, size)
		case name == noteName:
			note = make([]byte, size)
			_, err = io.ReadFull(in, note)
		default:
			err = each(name, size, in)
		}
		if errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) {
			err = fmt.Errorf("behind %d bytes: %w", sum.n, unread(err))
		}
		if err != nil {
			return nil, err
		}
		seen[name] = true
	}
}

// readMagic reads with what an archive begins.
func readMagic(r io.Reader) error {
	magic := make([]byte, len(archiveMagic))
	n, err := io.ReadFull(r, magic)
	if string(magic[:n]) != archiveMagic[:n] || errors.Is(err, io.EOF) {
		return errors.Join(fmt.Errorf("%w: not a snapshot of this version", mvcc.ErrCorrupt), err)
	}
	if err != nil {
		return unread(err)
	}
	return nil
}

// unread wraps the error of a read. Only an archive that ends too early is not what was written: whoever gives it, a
// disk or a place far away, may fail.
func unread(err error) error {
	if errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) {
		return fmt.Errorf("%w: snapshot cut short: %w", mvcc.ErrCorrupt, err)
	}
	return fmt.Errorf("read snapshot: %w", err)
}

// readHead returns what stands before a file, an empty name behind the last one.
func readHead(in io.Reader) (name string, size int64, err error) {
	var head [8]byte
	if _, err := io.ReadFull(in, head[:2]); err != nil {
		return "", 0, unread(err)
	}
	length := binary.LittleEndian.Uint16(head[:])
	if length == 0 {
		return "", 0, nil
	}
	if length > maxArchiveNames {
		return "", 0, fmt.Errorf("%w: name of %d bytes in snapshot", mvcc.ErrCorrupt, length)
	}
	if _, err := io.ReadFull(in, head[:]); err != nil {
		return "", 0, unread(err)
	}
	size = int64(binary.LittleEndian.Uint64(head[:]))
	text := make([]byte, length)
	if _, err := io.ReadFull(in, text); err != nil {
		return "", 0, unread(err)
	}
	if size < 0 || strings.ContainsAny(string(text), "/\\\x00") || text[0] == '.' {
		return "", 0, fmt.Errorf("%w: file %q of %d bytes in snapshot", mvcc.ErrCorrupt, text, size)
	}
	return string(text), size, nil
}

// readEnd reads what stands behind the last file.
func readEnd(r io.Reader, in io.Reader, sum *countingHash) error {
	filled := make([]byte, sum.padding())
	if _, err := io.ReadFull(in, filled); err != nil {
		return fmt.Errorf("behind %d bytes: %w", sum.n, unread(err))
	}
	var want [sha256.Size]byte
	if _, err := io.ReadFull(r, want[:]); err != nil {
		return fmt.Errorf("behind %d bytes: %w", sum.n, unread(err))
	}
	if string(sum.Sum(nil)) != string(want[:]) {
		return fmt.Errorf("%w: snapshot does not match its SHA-256", mvcc.ErrCorrupt)
	}
	return nil
}
