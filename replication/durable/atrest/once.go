package atrest

import (
	"crypto/aes"
	"crypto/cipher"
	"encoding/binary"
	"errors"
	"fmt"
	"sync"

	"github.com/cockroachdb/pebble/v2/vfs"
)

// errTwice is a mistake of the program: a file that was made by Create is written from front to back. What is to be
// overwritten is opened by OpenReadWrite.
var errTwice = errors.New("a file that is written once would be overwritten")

// once is a file that is written from front to back. A byte of it is the content combined with one of a stream that
// depends on keys and place alone; hence no place may take two contents.
type once struct {
	vfs.File
	block cipher.Block

	mu      sync.Mutex // of writes
	content int64      // written so far
}

func newOnce(f vfs.File, derived []byte) (*once, error) {
	block, err := aes.NewCipher(derived[:keyBytes])
	return &once{File: f, block: block}, err
}

// combine encrypts or decrypts what is at offset.
func (f *once) combine(b []byte, offset int64) {
	var counter [blockBytes]byte
	binary.BigEndian.PutUint64(counter[8:], uint64(offset/blockBytes))
	stream := cipher.NewCTR(f.block, counter[:])
	if skip := offset % blockBytes; skip > 0 {
		var before [blockBytes]byte
		stream.XORKeyStream(before[:skip], before[:skip])
	}
	stream.XORKeyStream(b, b)
}

// ReadAt implements io.ReaderAt.
func (f *once) ReadAt(p []byte, offset int64) (int, error) {
	n, err := f.File.ReadAt(p, pageBytes+offset)
	f.combine(p[:n], offset)
	return n, err
}

// WriteAt implements io.WriterAt.
func (f *once) WriteAt(p []byte, offset int64) (n int, err error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if offset < f.content {
		return 0, fmt.Errorf("offset %d of %d: %w", offset, f.content, errTwice)
	}
	for f.content < offset {
		if _, err := f.writePart(zeros[:min(chunkBytes, offset-f.content)]); err != nil {
			return 0, err
		}
	}
	for n < len(p) && err == nil {
		var m int
		m, err = f.writePart(p[n:min(len(p), n+chunkBytes)])
		n += m
	}
	return n, err
}

// Rewrite writes anew what was written at offset: p holds the same bytes, which stay the same on the disk. It is for
// whoever does not know whether they are there. Nothing else may be written twice.
func (f *once) Rewrite(p []byte, offset int64) (n int, err error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if offset+int64(len(p)) > f.content {
		return 0, fmt.Errorf("%d bytes at offset %d of %d: %w", len(p), offset, f.content, errTwice)
	}
	s := scratch.Get().(*scratchBytes)
	defer scratch.Put(s)
	for n < len(p) && err == nil {
		b := s[:copy(s[:], p[n:])]
		f.combine(b, offset+int64(n))
		var m int
		m, err = f.File.WriteAt(b, pageBytes+offset+int64(n))
		n += m
	}
	return n, err
}

// writePart writes up to chunkBytes at the end.
func (f *once) writePart(p []byte) (int, error) {
	s := scratch.Get().(*scratchBytes)
	defer scratch.Put(s)
	b := s[:copy(s[:], p)]
	f.combine(b, f.content)
	n, err := f.File.WriteAt(b, pageBytes+f.content)
	f.content += int64(n)
	return n, err
}
