package backup

import (
	"bufio"
	"cmp"
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"

	"github.com/mimir-kv/mimir/backup/whole"
	"github.com/mimir-kv/mimir/kv/snapshot"
)

// ErrBroken says that a file is no whole snapshot of Mimir.
var ErrBroken = errors.New("not a whole snapshot of mimir")

// Files are: an archive of kv; zeros up to a multiple of blockBytes; the SHA-256 of all before.
const blockBytes = 512

// Snapshot is a file that was found whole. It is not read again before it is used, so it must stay as it is.
type Snapshot struct {
	Path   string
	Bytes  int64
	Digest [sha256.Size]byte // of all of the file before its last 32 bytes, which are equal to it
	Note   snapshot.Note     // zero if the node that sent it was of a version that wrote none
}

// Open is OpenUntil without an end.
func Open(path string) (*Snapshot, error) { return OpenUntil(context.Background(), path) }

// OpenUntil reads all of a file, unless ctx ends, and takes it if it is whole. The error is ErrBroken, or says what
// kept it from being read: [whole.ErrNoFile], one of the filesystem, or of ctx.
func OpenUntil(ctx context.Context, path string) (*Snapshot, error) {
	f, err := whole.Open(ctx, path)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	s, err := Verify(f, f.Bytes)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", path, f.Told(err))
	}
	s.Path = path
	return s, nil
}

// Verify reads a file of so many bytes, wherever it lies, and takes it if it is whole. The error is ErrBroken, or one
// of r; [snapshot.ErrNewer] if another version can tell. What it returns has no Path.
func Verify(r io.Reader, size int64) (*Snapshot, error) {
	if !Fits(size) {
		return nil, fmt.Errorf("%w: %d bytes are not 32 more than a multiple of %d, so that something lacks or is too "+
			"much; save it anew", ErrBroken, size, blockBytes)
	}
	sum := sha256.New()
	in := bufio.NewReaderSize(io.TeeReader(io.LimitReader(r, size-sha256.Size), sum), 1<<20)
	magic, err := in.Peek(len(etcdMagic) + etcdMagicAt)
	if err == nil && string(magic[etcdMagicAt:]) == etcdMagic {
		return nil, fmt.Errorf("%w: it is one of etcd: mimir import takes it", ErrBroken)
	}
	text, err := snapshot.Verify(in)
	if err != nil {
		return nil, broken(err)
	}
	note, err := snapshot.DecodeNote(text)
	if err != nil {
		return nil, broken(err)
	}
	rest, err := io.Copy(zeros{}, in)
	if err != nil {
		return nil, err
	}
	if rest >= blockBytes {
		return nil, fmt.Errorf("%w: %d bytes behind the content", ErrBroken, rest)
	}
	s := &Snapshot{Bytes: size, Digest: [sha256.Size]byte(sum.Sum(nil)), Note: note}
	var want [sha256.Size]byte
	if _, err := io.ReadFull(r, want[:]); err != nil {
		return nil, broken(err)
	}
	if n, err := io.Copy(io.Discard, io.LimitReader(r, 1)); err != nil || n > 0 {
		return nil, cmp.Or(err, fmt.Errorf("%w: more than %d bytes came", ErrBroken, size))
	}
	if s.Digest != want {
		return nil, fmt.Errorf("%w: its SHA-256 is another than the one at its end: it was changed", ErrBroken)
	}
	return s, nil
}

// A file of etcd begins with a page that says so.
const (
	etcdMagicAt = 16
	etcdMagic   = "\xed\xda\x0c\xed"
)

// broken says what an error that came of a content is.
func broken(err error) error {
	if err == nil || whole.Outside(err) || errors.Is(err, snapshot.ErrNewer) {
		return err
	}
	return fmt.Errorf("%w: %w", ErrBroken, err)
}

// zeros is a writer of nothing but zeros.
type zeros struct{}

func (zeros) Write(p []byte) (int, error) {
	for _, b := range p {
		if b != 0 {
			return 0, fmt.Errorf("%w: something else than zeros behind the content", ErrBroken)
		}
	}
	return len(p), nil
}
