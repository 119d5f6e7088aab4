package atrest

import (
	"io"
	"sync"

	"github.com/cockroachdb/pebble/v2/vfs"
)

// slackBytes is how much longer a file is than its page and its content: as much as the last block may need. It is
// always the same, so that the length of the content follows from that of the file, also after a power cut.
const slackBytes = blockBytes - 1

type scratchBytes = [chunkBytes + 2*blockBytes + slackBytes]byte

var scratch = sync.Pool{New: func() any { return new(scratchBytes) }}

// rewritable is a file that may be overwritten. A block that is written in part is read and written again whole, with
// what it held: gate keeps others from reading it meanwhile, as the system would not.
type rewritable struct {
	vfs.File
	cipher *xts
	gate   *gate
	leave  func() // lets go of the gate

	content int64 // is at least so long; guarded by the gate
}

// ReadAt implements io.ReaderAt.
func (f *rewritable) ReadAt(p []byte, offset int64) (n int, err error) {
	for {
		part := p[n:min(len(p), n+chunkBytes)]
		m, err := f.readPart(part, offset+int64(n))
		if n += m; err != nil || n == len(p) {
			return n, err
		}
	}
}

// readPart reads up to chunkBytes. It asks for slackBytes more than it needs: what it gets of them tells where the
// content ends.
func (f *rewritable) readPart(p []byte, offset int64) (int, error) {
	if len(p) == 0 {
		return 0, nil
	}
	s := scratch.Get().(*scratchBytes)
	defer scratch.Put(s)
	head := int(offset % blockBytes)
	from := offset - int64(head)
	b := s[:head+len(p)+slackBytes]
	f.gate.RLock()
	n, err := f.File.ReadAt(b, pageBytes+from)
	f.gate.RUnlock()
	if err != nil && err != io.EOF {
		return 0, err
	}
	end := n - slackBytes
	if end <= head {
		return 0, io.EOF
	}
	f.cipher.decrypt(b[:up(end)], from)
	if n = copy(p, b[head:end]); n < len(p) {
		return n, io.EOF
	}
	return n, nil
}

// up rounds up to a multiple of blockBytes.
func up[N int | int64](n N) N { return (n + blockBytes - 1) &^ (blockBytes - 1) }

// WriteAt implements io.WriterAt.
func (f *rewritable) WriteAt(p []byte, offset int64) (n int, err error) {
	f.gate.Lock()
	defer f.gate.Unlock()
	if err := f.fill(offset); err != nil {
		return 0, err
	}
	for n < len(p) {
		m, err := f.writePart(p[n:min(len(p), n+chunkBytes)], offset+int64(n))
		if n += m; err != nil {
			return n, err
		}
	}
	return n, nil
}

// measure finds out how long the content is, if it may end before offset.
func (f *rewritable) measure(offset int64) error {
	if offset <= f.content {
		return nil
	}
	info, err := f.File.Stat()
	if err == nil {
		f.content = contentBytes(info.Size(), kindRewritable)
	}
	return err
}

// fill writes the zeros that a reader is to find between the end of the content and offset.
func (f *rewritable) fill(offset int64) error {
	if err := f.measure(offset); err != nil {
		return err
	}
	for f.content < offset {
		if _, err := f.writePart(zeros[:min(chunkBytes, offset-f.content)], f.content); err != nil {
			return err
		}
	}
	return nil
}

// writePart writes up to chunkBytes to where there is content already, or at its end.
func (f *rewritable) writePart(p []byte, offset int64) (int, error) {
	s := scratch.Get().(*scratchBytes)
	defer scratch.Put(s)
	head := int(offset % blockBytes)
	from, end := offset-int64(head), offset+int64(len(p))
	if err := f.measure(end); err != nil {
		return 0, err
	}
	longer := end > f.content
	whole := up(head + len(p))
	b := s[:whole]
	clear(b[head+len(p):])
	if head > 0 {
		if err := f.block(b[:blockBytes], from); err != nil {
			return 0, err
		}
	}
	if last := whole - blockBytes; !longer && end%blockBytes != 0 && (last > 0 || head == 0) {
		if err := f.block(b[last:], from+int64(last)); err != nil {
			return 0, err
		}
	}
	copy(b[head:], p)
	f.cipher.encrypt(b, from)
	if longer { // the slack follows, whose content nobody reads
		b = s[:head+len(p)+slackBytes]
		clear(b[whole:])
	}
	n, err := f.File.WriteAt(b, pageBytes+from)
	if longer {
		n -= slackBytes
	}
	if err == nil {
		f.content = max(f.content, end)
	}
	return min(max(n-head, 0), len(p)), err
}

// block reads the block at offset, of which there is some content.
func (f *rewritable) block(b []byte, offset int64) error {
	if n, err := f.File.ReadAt(b, pageBytes+offset); n < blockBytes {
		return err
	}
	f.cipher.decrypt(b, offset)
	return nil
}

// Close implements io.Closer.
func (f *rewritable) Close() error {
	f.leave()
	return f.File.Close()
}
