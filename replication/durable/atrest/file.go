package atrest

import (
	"io"
	"sync"

	"github.com/cockroachdb/pebble/v2/vfs"
)

// chunkBytes is how much is encrypted or decrypted at a time: it stays in the processor's cache.
const chunkBytes = 64 << 10

var zeros [chunkBytes]byte

// content reads and writes what an encrypted file holds, and leaves what it is given to write as it is.
type content interface {
	io.ReaderAt
	io.WriterAt
	io.Closer
}

// file is an encrypted file: one of the filesystem below, and its content.
type file struct {
	below vfs.File
	content
	kind kind

	mu  sync.Mutex // of Read and Write
	pos int64
}

// Read implements vfs.File.
func (f *file) Read(p []byte) (int, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	n, err := f.ReadAt(p, f.pos)
	if f.pos += int64(n); n > 0 && err == io.EOF {
		err = nil
	}
	return n, err
}

// Write implements vfs.File.
func (f *file) Write(p []byte) (int, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	n, err := f.WriteAt(p, f.pos)
	f.pos += int64(n)
	return n, err
}

// Rewrite writes anew what was written at offset, and must be the same: not every file takes anything else.
func (f *file) Rewrite(p []byte, offset int64) (int, error) {
	if c, ok := f.content.(*once); ok {
		return c.Rewrite(p, offset)
	}
	return f.WriteAt(p, offset)
}

// Sync implements vfs.File.
func (f *file) Sync() error { return f.below.Sync() }

// SyncData implements vfs.File.
func (f *file) SyncData() error { return f.below.SyncData() }

// SyncTo implements vfs.File.
func (f *file) SyncTo(length int64) (bool, error) { return f.below.SyncTo(pageBytes + length) }

// Preallocate implements vfs.File.
func (f *file) Preallocate(offset, length int64) error {
	return f.below.Preallocate(pageBytes+offset, length)
}

// Prefetch implements vfs.File.
func (f *file) Prefetch(offset, length int64) error {
	return f.below.Prefetch(pageBytes+offset, length)
}

// Stat implements vfs.File.
func (f *file) Stat() (vfs.FileInfo, error) {
	info, err := f.below.Stat()
	if err != nil {
		return nil, err
	}
	return contentInfo{info, f.kind}, nil
}

// Fd implements vfs.File: there is nothing to be had from the descriptor but ciphertext.
func (f *file) Fd() uintptr { return vfs.InvalidFd }

// contentInfo tells of the content.
type contentInfo struct {
	vfs.FileInfo
	kind kind
}

func (i contentInfo) Size() int64 { return contentBytes(i.FileInfo.Size(), i.kind) }
